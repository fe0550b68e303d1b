//! The worked examples (§15) and the properties (§16).

mod examples;
mod foresight;
mod memory;
mod one_pod;
mod outages;
mod properties;
mod rollouts;
mod saturation;
mod world;
