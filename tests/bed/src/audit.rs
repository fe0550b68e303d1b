//! Reading the API server's audit log: who asked for what, how often.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The user as the server knows it, as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The program's own word for itself.
    pub user_agent: String,
    /// get, list, watch, create, update, patch, delete …
    pub verb: String,
    /// The resource, with its subresource after a slash; empty for paths such as `/readyz`.
    pub resource: String,
    /// The namespace; empty where there is none.
    pub namespace: String,
    /// The object's name; empty where there is none.
    pub name: String,
    /// The path and the query.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When the request came in, as RFC 3339 with microseconds.
    pub received: String,
}

/// A place in the audit log, from which on requests are read.
pub struct Audit {
    path: PathBuf,
    offset: u64,
}

impl Audit {
    /// Everything since the API server started.
    #[must_use]
    pub fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0 }
    }

    /// Only what is asked from now on.
    ///
    /// # Errors
    /// When the log cannot be looked at.
    pub fn from_now(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(Self { path: path.to_owned(), offset: metadata.len() })
    }

    /// The requests since the last call, oldest first. A watch is one request, counted when it starts.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        let problem = || format!("cannot read {}", self.path.display());
        let mut file = File::open(&self.path).with_context(problem)?;
        file.seek(SeekFrom::Start(self.offset)).with_context(problem)?;
        let mut reader = BufReader::new(file);
        let mut requests = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            let length = reader.read_line(&mut line).with_context(problem)?;
            // A line without its end is still being written.
            if !line.ends_with('\n') {
                return Ok(requests);
            }
            self.offset += length as u64;
            requests.extend(request(&line));
        }
    }
}

/// How often each (user, verb, resource) occurs.
#[must_use]
pub fn count(requests: &[Request]) -> BTreeMap<(String, String, String), usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        let key = (request.user.clone(), request.verb.clone(), request.resource.clone());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn request(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let verb = text("/verb");
    let counted = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    if text("/stage") != counted {
        return None;
    }
    let mut resource = text("/objectRef/resource");
    if let Some(subresource) = event.pointer("/objectRef/subresource").and_then(Value::as_str) {
        resource = format!("{resource}/{subresource}");
    }
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
    Some(Request {
        user: text("/user/username"),
        user_agent: text("/userAgent"),
        verb,
        resource,
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        uri: text("/requestURI"),
        code: u16::try_from(code).unwrap_or_default(),
        received: text("/requestReceivedTimestamp"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_counts_once_and_a_cut_line_waits() {
        let path = std::env::temp_dir().join(format!("plimsoll-bed-audit-{}", std::process::id()));
        let event = |verb: &str, stage: &str| {
            format!(
                r#"{{"stage":"{stage}","verb":"{verb}","user":{{"username":"u"}},"objectRef":{{"resource":"pods","subresource":"log"}},"responseStatus":{{"code":200}}}}"#
            )
        };
        let whole = [event("watch", "ResponseStarted"), event("watch", "ResponseComplete"), event("get", "ResponseComplete")];
        std::fs::write(&path, format!("{}\n{}", whole.join("\n"), "\n{\"stage\":")).unwrap();
        let mut audit = Audit::from_start(&path);
        let requests = audit.read().unwrap();
        assert_eq!(requests.iter().map(|request| request.verb.as_str()).collect::<Vec<_>>(), ["watch", "get"]);
        assert_eq!(requests[0].resource, "pods/log");
        assert_eq!(count(&requests).len(), 2);
        assert!(audit.read().unwrap().is_empty());
        std::fs::remove_file(&path).unwrap();
    }
}
