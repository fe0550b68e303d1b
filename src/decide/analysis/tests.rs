//! The worked examples (§15) and the properties (§16).

mod examples;
mod properties;
mod rollouts;
