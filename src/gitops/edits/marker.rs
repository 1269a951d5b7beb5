//! Markers: comments that say which image belongs into the value in front of them.
//!
//! Two forms are known, and a marker may ask for a part of the image only:
//!
//! ```yaml
//! image: registry.example/app:1.0  # {"$imagepolicy": "flux-system:app"}
//! tag: "1.0"                       # yado: app:tag
//! ```
//!
//! The value is the scalar that ends in front of the comment, on its line. A file that is no YAML,
//! such as a Go template, is taken by its lines; there only a value that stands alone behind a
//! `:`, `=`, `-` or space is changed, and none with a template in it. A marker is consent, so
//! all places of one name are changed without `--all`.

use std::collections::HashMap;
use std::ops::Range;

use super::Wanted;
use super::at::At;
use crate::yaml::{Content, Stream, Style};

/// A marker in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// What it is called: `namespace:policy`, or a name.
    pub(super) policy: String,
    /// Which part it asks for.
    pub(super) part: Part,
    /// The bytes of the comment.
    pub(super) comment: Range<usize>,
}

/// What a marker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of the image.
    Image,
    /// Its name.
    Name,
    /// Its tag.
    Tag,
    /// Its digest.
    Digest,
}

impl Marker {
    /// Reads a comment, without its `#`.
    fn parse(comment: &str, span: Range<usize>) -> Option<Self> {
        let comment = comment.trim();
        let text = match comment.strip_prefix("yado:") {
            Some(name) => name.trim().to_owned(),
            None if comment.starts_with('{') => {
                let value: serde_json::Value = serde_json::from_str(comment).ok()?;
                value.get("$imagepolicy")?.as_str()?.to_owned()
            }
            None => return None,
        };
        let (policy, part) = match text.rsplit_once(':') {
            Some((policy, "name")) => (policy, Part::Name),
            Some((policy, "tag")) => (policy, Part::Tag),
            Some((policy, "digest")) => (policy, Part::Digest),
            _ => (text.as_str(), Part::Image),
        };
        let policy = policy.to_owned();
        let named = !policy.is_empty() && !policy.contains(char::is_whitespace);
        named.then_some(Self { policy, part, comment: span })
    }

    /// The text that it asks for, over an old one.
    pub(super) fn text(&self, wanted: &Wanted, old: &str) -> Result<String, String> {
        let part = match self.part {
            Part::Image => return wanted.over(old),
            Part::Name => wanted.name().map(str::to_owned),
            Part::Tag => wanted.tag().map(str::to_owned),
            Part::Digest => wanted.digest().map(ToString::to_string),
        };
        part.ok_or_else(|| format!("the image has no {}, which {self} asks for", self.part))
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Name => "name",
            Self::Tag => "tag",
            Self::Digest => "digest",
        })
    }
}

impl Marker {
    /// Where the value ends that it is about: in front of the comment, with blanks between, and a
    /// comma in a flow collection.
    pub(super) fn end_of_value(&self, text: &str) -> usize {
        text[..self.comment.start].trim_end_matches([' ', '\t', ',']).len()
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "marker {}", self.policy)?;
        if self.part == Part::Image { Ok(()) } else { write!(f, ":{}", self.part) }
    }
}

/// The markers of a file that was understood.
pub(super) fn in_yaml(stream: &Stream) -> Vec<Marker> {
    let comments = stream.comments.iter();
    comments.filter_map(|comment| Marker::parse(&comment.text, comment.span.clone())).collect()
}

/// The scalars that a marker may be about, by where they end.
pub(super) fn scalars(stream: &Stream) -> HashMap<usize, At<'_>> {
    let mut found = HashMap::new();
    for root in At::roots(stream) {
        root.walk(&mut |at| {
            let single = matches!(
                at.node.content,
                Content::Scalar {
                    style: Style::Plain | Style::SingleQuoted | Style::DoubleQuoted,
                    ..
                }
            );
            if single && !at.node.span.is_empty() {
                found.insert(at.node.span.end, at.clone());
            }
        });
    }
    found
}

/// The markers of a file that is taken by its lines.
pub(super) fn in_lines(text: &str) -> Vec<Marker> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        // The last comment sign that begins a marker: values may contain one too.
        let signs =
            content.match_indices('#').filter(|(at, _)| content[..*at].ends_with([' ', '\t']));
        found.extend(
            signs
                .filter_map(|(at, _)| {
                    Marker::parse(&content[at + 1..], start + at..start + content.len())
                })
                .next_back(),
        );
        start += line.len();
    }
    found
}

/// A value on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Its bytes, without quotes.
    pub(super) span: Range<usize>,
    /// Its quote, if it has one.
    pub(super) quote: Option<char>,
}

/// The value in front of a marker; an error is a sentence about it.
pub(super) fn value(text: &str, marker: &Marker) -> Result<Value, String> {
    let start = text[..marker.comment.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..marker.comment.start].trim_end();
    let alone =
        |at: usize| line[..at].trim_end().is_empty() || line[..at].ends_with([' ', '\t', '=']);
    let none = || Err("there is no value in front of the marker".to_owned());
    let (span, quote) = match line.chars().last() {
        None => return none(),
        Some(quote @ ('"' | '\'')) => {
            let inner = &line[..line.len() - 1];
            let Some(open) = inner.rfind(quote).filter(|open| alone(*open)) else { return none() };
            (open + 1..inner.len(), Some(quote))
        }
        Some(_) => {
            let begin = line.rfind([' ', '\t', '=']).map_or(0, |at| at + 1);
            (begin..line.len(), None)
        }
    };
    let old = &line[span.clone()];
    if line.contains("{{") && (old.contains("{{") || old.contains("}}") || line.ends_with("}}")) {
        return Err("the value in front of the marker is a template".into());
    }
    if old.is_empty() && quote.is_none()
        || old.ends_with([':', ',', '{', '}', '[', ']'])
        || old == "-"
    {
        return none();
    }
    if old.contains(['\\', '"', '\'']) {
        return Err("the value in front of the marker has quotes or escapes in it".into());
    }
    Ok(Value { span: start + span.start..start + span.end, quote })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_their_parts() {
        for (comment, expected) in [
            (r#" {"$imagepolicy": "ns:app"}"#, Some(("ns:app", Part::Image))),
            (r#"{"$imagepolicy": "ns:app:tag"}"#, Some(("ns:app", Part::Tag))),
            (r#"{"$imagepolicy": "ns:app:name"}"#, Some(("ns:app", Part::Name))),
            (" yado: app:digest ", Some(("app", Part::Digest))),
            ("yado:app", Some(("app", Part::Image))),
            ("yado: app is here", None),
            ("yado:", None),
            (r#"{"$imagepolicy": 1}"#, None),
            ("{", None),
            ("other", None),
        ] {
            let marker = Marker::parse(comment, 0..0);
            let found = marker.as_ref().map(|m| (m.policy.as_str(), m.part));
            assert_eq!(found, expected, "{comment}");
        }
    }

    #[test]
    fn finds_the_value_on_a_line() {
        for (line, expected) in [
            ("  image: a:1 # yado: x", Ok("a:1")),
            ("  image: \"a:1\"   # yado: x", Ok("a:1")),
            ("- 'a:1' # yado: x", Ok("a:1")),
            ("- a:1 # yado: x", Ok("a:1")),
            ("{{ if x }} image: a:1 # yado: x", Ok("a:1")),
            ("IMAGE=a:1 # yado: x", Ok("a:1")),
            ("image = \"a:1\" # yado: x", Ok("a:1")),
            ("image: \"\" # yado: x", Ok("")),
            ("image: # yado: x", Err("there is no value in front of the marker")),
            (" # yado: x", Err("there is no value in front of the marker")),
            ("image: {{ .x }} # yado: x", Err("the value in front of the marker is a template")),
            (
                "image: \"{{ .x }}:1\" # yado: x",
                Err("the value in front of the marker is a template"),
            ),
            ("a: {b: c} # yado: x", Err("there is no value in front of the marker")),
            ("a: b\"c\" # yado: x", Err("there is no value in front of the marker")),
        ] {
            let text = format!("first\n{line}\nlast\n");
            let markers = in_lines(&text);
            assert_eq!(markers.len(), 1, "{line}");
            let found = value(&text, &markers[0]).map(|value| text[value.span].to_owned());
            assert_eq!(found.as_deref(), expected.map_err(str::to_owned).as_deref(), "{line}");
        }
    }
}
