//! A value by its path.
use super::Typing;
use super::at::At;
use super::found::Matches;
use super::helm::follow;
use crate::yaml::Stream;

/// A path.
pub(super) struct Path(String);
impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.into()))
    }
}

pub(super) fn find(
    stream: &Stream,
    path: &Path,
    value: &str,
    typing: Typing,
    _namespace: Option<&str>,
    _add: bool,
) -> Result<Matches, String> {
    let mut matches = Matches::default();
    for root in At::roots(stream) {
        if let Some(at) = follow(&root, &path.0) {
            matches.set(&path.0, &at, value.into(), typing);
        }
    }
    Ok(matches)
}
