//! The one integration binary: two cores link it once.

mod architecture;
mod crd;
mod scenarios;
