//! Another service that has to be there first, at a version.

use super::Standing;
use crate::api::status::ProductionServiceStatus;
use crate::decide::snapshot::Snapshot;

/// What is seen of another `ProductionService` of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Image of its stable revision, if it has one.
    pub stable_image: Option<String>,
}

impl Neighbour {
    /// What its status shows.
    #[must_use]
    pub fn of(status: Option<&ProductionServiceStatus>) -> Self {
        Self { stable_image: status.and_then(|status| status.stable.as_ref()).and_then(|stable| stable.image.clone()) }
    }
}

/// Whether it is there.
pub fn standing(service: &str, at_least: Option<&str>, snapshot: &Snapshot) -> Standing {
    let wanted = at_least.map_or_else(String::new, |version| format!(" {version} or newer"));
    let waits = |found: &str| Standing::Waiting(format!("needs {service}{wanted} to be stable; {found}"));
    let Some(neighbour) = snapshot.around.neighbours.get(service) else { return waits("there is no such ProductionService") };
    let Some(image) = &neighbour.stable_image else { return waits("it has no stable revision yet") };
    let Some(at_least) = at_least else { return Standing::Open(format!("{service} is stable with {image}")) };
    match (Version::of(tag(image)), Version::of(at_least)) {
        (Some(found), Some(least)) if found >= least => Standing::Open(format!("{service} is stable with {image}")),
        (Some(_), _) => waits(&format!("it is stable with {image}")),
        (None, _) => waits(&format!("the tag of its stable image, {image}, is no version")),
    }
}

/// The tag of an image; empty if it has none.
fn tag(image: &str) -> &str {
    let named = image.split('@').next().unwrap_or_default();
    let last = named.rsplit('/').next().unwrap_or_default();
    last.split_once(':').map_or("", |(_, tag)| tag)
}

/// Numbers with dots; a release is above its own pre-releases.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: Vec<u64>,
    released: bool,
}

impl Version {
    fn of(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let mut numbers: Vec<u64> = numbers.trim_end_matches('.').split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        let rest = rest.trim_start_matches(['-', '.', '_']).to_ascii_lowercase();
        let before = ["alpha", "beta", "rc", "pre", "dev", "snapshot", "nightly"].iter().any(|word| rest.starts_with(word));
        Some(Self { numbers, released: !before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let cases = [
            ("the same", "shop:2.3", "2.3", true),
            ("a missing number is 0", "shop:2.3", "2.3.0", true),
            ("numbers, not letters", "shop:2.10", "2.9", true),
            ("older", "shop:2.2.9", "2.3", false),
            ("with a v", "registry:5000/shop:v2.4", "2.3", true),
            ("a variant of the image", "shop:2.3-alpine", "2.3", true),
            ("a pre-release is not the release", "shop:2.3.0-rc1", "2.3", false),
            ("a pre-release of a later one is later", "shop:2.4-beta.1", "2.3", true),
            ("with a digest", "shop:2.3@sha256:0123", "2.3", true),
        ];
        for (why, image, least, expected) in cases {
            assert_eq!(Version::of(tag(image)) >= Version::of(least), expected, "{why}");
        }
        for image in ["shop", "registry:5000/shop", "shop:latest", "shop@sha256:0123"] {
            assert_eq!(Version::of(tag(image)), None, "{image}");
        }
    }
}
