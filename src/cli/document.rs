//! YAML that remembers its lines, so that a message about a field can name the line that it stands on.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    lines: BTreeMap<String, u64>,
}

impl Document {
    /// The line of the field at `path` (`spec.ports[0].port`), or of what comes nearest above it; lines count from 1.
    #[must_use]
    pub fn line(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            let Some(end) = path.rfind(['.', '[']) else { return self.lines.get("").copied().unwrap_or(1) };
            path = &path[..end];
        }
    }

    /// The text at a JSON pointer, empty where there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Every document in `text` that is not empty.
///
/// # Errors
/// When the text is not YAML; the message names line and column.
pub fn read(text: &str) -> Result<Vec<Document>, serde_saphyr::Error> {
    let options = serde_saphyr::options! { with_snippet: false };
    let trees: Vec<Spanned<Tree>> = serde_saphyr::from_multiple_with_options(text, options)?;
    let documents = trees.into_iter().filter(|tree| tree.value != Tree::Scalar(Value::Null));
    Ok(documents
        .map(|tree| {
            let mut lines = BTreeMap::from([(String::new(), tree.referenced.line())]);
            let value = plain(tree.value, "", &mut lines);
            Document { value, lines }
        })
        .collect())
}

/// YAML with the line of each node.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Scalar(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

/// The value without its lines; these go to `lines`, by path.
fn plain(tree: Tree, path: &str, lines: &mut BTreeMap<String, u64>) -> Value {
    match tree {
        Tree::Scalar(value) => value,
        Tree::List(items) => {
            let item = |(index, item): (usize, Spanned<Tree>)| {
                let path = format!("{path}[{index}]");
                lines.insert(path.clone(), item.referenced.line());
                plain(item.value, &path, lines)
            };
            items.into_iter().enumerate().map(item).collect()
        }
        Tree::Map(fields) => {
            let field = |(name, field): (Spanned<String>, Spanned<Tree>)| {
                let path = if path.is_empty() { name.value.clone() } else { format!("{path}.{}", name.value) };
                lines.insert(path.clone(), name.referenced.line());
                (name.value, plain(field.value, &path, lines))
            };
            Value::Object(fields.into_iter().map(field).collect::<Map<_, _>>())
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                // JSON knows neither infinity nor NaN; as text they are refused where a number is wanted.
                Ok(Tree::Scalar(Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar(Value::Null))
            }

            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
                Tree::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
                let mut map = Vec::new();
                while let Some(field) = fields.next_entry()? {
                    map.push(field);
                }
                Ok(Tree::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_knows_its_line() {
        let documents = read("# a comment\na: 1\nb:\n  c:\n  - {d: \"2\"}\n  - d: yes it is\n---\n---\ne: [true, null, 1.5]\n").unwrap();
        assert_eq!(documents.len(), 2, "an empty document is none");
        assert_eq!(documents[0].value, json!({"a": 1, "b": {"c": [{"d": "2"}, {"d": "yes it is"}]}}));
        assert_eq!(documents[1].value, json!({"e": [true, null, 1.5]}));
        let lines = [("a", 2), ("b", 3), ("b.c", 4), ("b.c[0].d", 5), ("b.c[1].d", 6), ("b.c[1].missing", 6), ("missing", 2)];
        for (path, line) in lines {
            assert_eq!(documents[0].line(path), line, "{path}");
        }
        assert_eq!(documents[1].line("e"), 9);
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_line() {
        for (text, line) in [("a: [1\nb: 2\n", 2), ("a: 1\na: 2\n", 2)] {
            let error = read(text).unwrap_err();
            assert_eq!(error.location().map(|location| location.line()), Some(line), "{text:?}: {error}");
        }
    }
}
