//! The operator.
pub mod decide;
