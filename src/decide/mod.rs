//! Pure decisions: arguments in, values out.
pub mod analysis;
