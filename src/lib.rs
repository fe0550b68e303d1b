//! plimsoll.
pub mod api;
