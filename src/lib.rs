//! plimsoll turns one `ProductionService` into everything an app in production needs, and rolls new versions out by evidence.
//!
//! ```text
//! observe (I/O) ─► Snapshot ─► due(snapshot, now) ─► measure (I/O) ─► decide(snapshot, measurements, now) ─► Decision ─► apply (I/O)
//! ```
//! - [`api`]: every type that appears in YAML; no behaviour.
//! - [`decide`]: the pure core: arguments in, values out.
//! - [`controller`]: the shell: watches, queue, HTTP, writes.
//! - [`cli`]: one file per subcommand.
//!
//! Arrows: `api ← decide ← {controller, sim} ← cli ← main`; `controller` and `sim` never meet. A test holds them.

pub mod api;
pub mod cli;
pub mod controller;
pub mod decide;
pub mod sim;
