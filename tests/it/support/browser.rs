//! A page as Chromium shows it: the document after its scripts have run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{WorkDir, tool};

/// An element's start tag; values are as the document has them, without entities.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The text up to the next tag.
    pub(crate) text: String,
}

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) html: String,
    tags: Vec<Tag>,
}

impl Document {
    /// Opens a file without network, in a profile of its own.
    pub(crate) fn open(work: &WorkDir, page: &Path) -> Self {
        let profile = work.path("browser");
        fs::create_dir_all(&profile).unwrap();
        let html = tool(
            Command::new("timeout")
                .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu"])
                .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
                .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
                .arg(format!("--user-data-dir={}", profile.display()))
                .args(["--window-size=1400,900", "--virtual-time-budget=5000", "--dump-dom"])
                .arg(format!("file://{}", page.display()))
                .env("HOME", &profile)
                .env("XDG_RUNTIME_DIR", &profile),
        );
        let tags = tags(&html);
        Self { html, tags }
    }

    /// The elements that have all of these classes.
    pub(crate) fn with_classes(&self, classes: &str) -> Vec<&Tag> {
        let has = |tag: &&Tag| {
            let all = tag.attribute("class");
            classes.split(' ').all(|class| all.split(' ').any(|other| other == class))
        };
        self.tags.iter().filter(has).collect()
    }

    /// The elements with this name.
    pub(crate) fn named(&self, name: &str) -> Vec<&Tag> {
        self.tags.iter().filter(|tag| tag.name == name).collect()
    }

    /// The element with this id.
    pub(crate) fn id(&self, id: &str) -> &Tag {
        let found = self.tags.iter().find(|tag| tag.attribute("id") == id);
        found.unwrap_or_else(|| panic!("no element has the id {id}: {}", self.html))
    }
}

impl Tag {
    /// The value of an attribute; empty without one.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// The start tags of a serialised document (HTML, §13.3): every value is in double quotes.
fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once('<') {
        rest = after;
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let end = rest.find([' ', '>']).unwrap();
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut attributes = BTreeMap::new();
        while let Some(after) = rest.strip_prefix(' ') {
            let end = after.find(['=', ' ', '>']).unwrap();
            let key = after[..end].to_owned();
            rest = &after[end..];
            let mut value = "";
            if let Some(quoted) = rest.strip_prefix("=\"") {
                (value, rest) = quoted.split_once('"').unwrap();
            }
            attributes.insert(key, unescape(value));
        }
        rest = rest.strip_prefix('>').unwrap();
        // What is in these is no markup.
        let end = match name.as_str() {
            "script" | "style" => rest.find(&format!("</{name}>")).unwrap(),
            _ => rest.find('<').unwrap_or(rest.len()),
        };
        let text = match name.as_str() {
            "script" | "style" => rest[..end].to_owned(),
            _ => unescape(&rest[..end]),
        };
        rest = &rest[end..];
        tags.push(Tag { name, attributes, text });
    }
    tags
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&")
}
