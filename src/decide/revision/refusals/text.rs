//! Rules for texts that Kubernetes has and a schema's map keys cannot have.

use super::Findings;

/// Prefixes of labels and annotations that plimsoll, Kubernetes and delivery tools use themselves.
const RESERVED: [&str; 4] = ["plimsoll.dev/", "app.kubernetes.io/", "kubernetes.io/", "argocd.argoproj.io/"];
/// Longest name of an environment variable; the copy's key must stay below Kubernetes' 253.
pub const LONGEST_NAME: usize = 200;

/// Whether the text is the name of an environment variable that every shell can use.
pub fn is_variable(name: &str) -> bool {
    let inside = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    name.len() <= LONGEST_NAME && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && name.chars().all(inside)
}

/// What is wrong with an absolute path, if anything.
pub fn wrong_path(path: &str) -> Option<&'static str> {
    let parts = || path.split('/').skip(1);
    match path {
        _ if !path.starts_with('/') => Some("is not absolute; begin with a slash"),
        _ if path.contains(':') => Some("has a colon, which Kubernetes does not allow; rename it"),
        _ if path.len() > 512 => Some("is longer than 512 characters; shorten it"),
        _ if parts().any(|part| part == "..") => Some("has a \"..\"; write where it leads"),
        _ if parts().any(|part| part.is_empty() || part == ".") => {
            Some("has an empty part; write no slash at the end, and single ones between")
        }
        _ => None,
    }
}

/// The key of a label or annotation: an optional DNS name and a slash, then at most 63 letters, digits, `-`, `_` and `.`.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let dns = |text: &str| {
        let label = |part: &str| {
            !part.is_empty()
                && ends_alphanumeric(part)
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        text.len() <= 253 && text.split('.').all(label)
    };
    !name.is_empty() && is_value(name) && prefix.is_none_or(dns)
}

/// The value of a label: at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, or nothing.
fn is_value(value: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    value.len() <= 63 && value.bytes().all(inside) && ends_alphanumeric(value)
}

fn ends_alphanumeric(text: &str) -> bool {
    let alphanumeric = |character: char| character.is_ascii_alphanumeric();
    text.is_empty() || text.starts_with(alphanumeric) && text.ends_with(alphanumeric)
}

/// Checks the key of a label or annotation.
pub fn key(path: &str, key: &str, findings: &mut Findings) {
    if !is_key(key) {
        let rule = "a key is at most 63 letters, digits, '-', '_' and '.', with a DNS name and a slash before it if need be";
        findings.add("InvalidLabel", path, format!("{key:?} is no valid key; {rule}"));
    }
}

/// Checks a label.
pub fn label(path: &str, name: &str, value: &str, findings: &mut Findings) {
    key(path, name, findings);
    if !is_value(value) {
        let rule = "a label's value is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
        findings.add("InvalidLabel", format!("{path}.{name}"), format!("{value:?} cannot be a label; {rule}"));
    }
}

/// Checks that a key is not one of those that tools use themselves.
pub fn free(path: &str, key: &str, findings: &mut Findings) {
    if let Some(prefix) = RESERVED.iter().find(|prefix| key.starts_with(**prefix)) {
        findings.add("InvalidLabel", path, format!("{key:?}: keys under {prefix} are taken; use a prefix of your own"));
    }
}
