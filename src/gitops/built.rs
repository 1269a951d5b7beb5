//! What a build left for the steps after it: a digest, and perhaps the image's names. Pure.
//!
//! Read are the JSON that `yado build --metadata-file` writes (docker's keys), and a file that
//! holds a digest alone, or a reference with one, as other builders write it.

use serde_json::Value;

use crate::image::{Digest, Reference};

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its names, as they were given to the build.
    pub names: Vec<String>,
}

/// Why a text does not say what was built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BuiltError {
    /// It is JSON without a digest.
    #[error("there is no \"containerimage.digest\" in it")]
    NoDigest,
    /// It is something else.
    #[error("expected a digest, an image with one, or what `build --metadata-file` writes")]
    Unknown,
}

impl Built {
    /// Reads what a build wrote.
    pub fn parse(text: &str) -> Result<Self, BuiltError> {
        let text = text.trim();
        if let Ok(digest) = text.parse() {
            return Ok(Self { digest, names: Vec::new() });
        }
        if text.starts_with('{') {
            let json: Value = serde_json::from_str(text).map_err(|_| BuiltError::Unknown)?;
            let field = |name: &str| json.get(name).and_then(Value::as_str).map(str::trim);
            let digest = field("containerimage.digest").and_then(|text| text.parse().ok());
            let names = field("image.name").unwrap_or_default().split(',').map(str::trim);
            let names = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
            return Ok(Self { digest: digest.ok_or(BuiltError::NoDigest)?, names });
        }
        let reference: Reference = text.parse().map_err(|_| BuiltError::Unknown)?;
        let digest = reference.digest().ok_or(BuiltError::Unknown)?.clone();
        let name = text.split('@').next().unwrap_or(text).to_owned();
        Ok(Self { digest, names: vec![name] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_builders_write() {
        let digest = Digest::of(b"x");
        let plain = digest.to_string();
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let json = format!(
            "{{\"containerimage.digest\": \"{plain}\", \"image.name\": \"r/a:1,r/a:2\", \"x\": 1}}"
        );
        for (text, expected) in [
            (plain.clone(), Ok(names(&[]))),
            (format!(" {plain}\n"), Ok(names(&[]))),
            (json, Ok(names(&["r/a:1", "r/a:2"]))),
            (format!("r.io/a:1@{plain}\n"), Ok(names(&["r.io/a:1"]))),
            (format!("r.io/a@{plain}"), Ok(names(&["r.io/a"]))),
            ("{}".to_owned(), Err(BuiltError::NoDigest)),
            ("r.io/a:1".to_owned(), Err(BuiltError::Unknown)),
            (String::new(), Err(BuiltError::Unknown)),
            ("{".to_owned(), Err(BuiltError::Unknown)),
        ] {
            let expected = expected.map(|names| Built { digest: digest.clone(), names });
            assert_eq!(Built::parse(&text), expected, "{text}");
        }
    }
}
