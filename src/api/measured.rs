//! What was found in a revision's metrics, as status keeps it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found in a revision's metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// The convention that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub convention: Option<String>,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub missing: Option<String>,
}
