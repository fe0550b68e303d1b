//! The one integration binary: two cores link it once.

mod architecture;
mod cli;
mod crd;
mod scenarios;
