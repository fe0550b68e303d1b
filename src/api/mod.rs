//! Every type that appears in YAML. No behaviour lives here: a type says what may be written, `decide::plan` says what it means.
//!
//! Ground rules of the schema: camelCase, one-of as an externally tagged enum, no defaults in the schema (they would be written
//! into every stored object and could never change), a limit on every string, list and map, and a sentence on every field, because
//! `kubectl explain productionservice` is the manual.

pub mod analysis;
pub mod analysis_state;
pub mod config;
pub mod control;
pub mod crd;
pub mod expose;
pub mod gate_status;
pub mod gates;
pub mod health;
pub mod measured;
pub mod network;
pub mod objective;
pub mod pod;
pub mod resilience;
pub mod rollout;
mod rules;
pub mod scaling;
pub mod scheduling;
pub mod service;
pub mod status;
pub mod values;
pub mod volume;

pub use service::{ProductionService, ProductionServiceSpec};
pub use status::ProductionServiceStatus;
