//! Kubeconfig files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::certificates::Identity;

/// How a client proves who it is.
pub enum Credential<'a> {
    /// By a client certificate.
    Certificate(&'a Identity),
    /// By a bearer token.
    Token(&'a str),
}

/// Writes a kubeconfig with one cluster, one user and one context, all called `plimsoll-bed`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, server: &str, authority: &Path, credential: &Credential<'_>) -> Result<()> {
    let user: Value = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate": identity.certificate,
            "client-key": identity.key,
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    let name = "plimsoll-bed";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    });
    // JSON is YAML: every reader of kubeconfigs takes it.
    fs::write(path, format!("{config:#}")).with_context(|| format!("cannot write {}", path.display()))
}
