//! The one integration binary: two cores link it once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod architecture;
mod cli;
mod crd;
mod invariants;
mod planted;
mod scenarios;
