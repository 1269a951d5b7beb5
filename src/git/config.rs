//! Files in the form of git-config(1), as they stand in a repository: `config`, `.gitmodules`,
//! `.lfsconfig`. Pure.

use super::id::ObjectFormat;

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The section, in small letters.
    pub(super) section: String,
    /// What stands in quotes behind it.
    pub(super) subsection: Option<String>,
    /// The key, in small letters.
    pub(super) key: String,
    pub(super) text: String,
}

/// Reads a file. `Err` names the line that cannot be read.
pub(super) fn parse(text: &str) -> Result<Vec<Value>, usize> {
    let mut values = Vec::new();
    let mut section = (String::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut rest = line.trim();
        if let Some(header) = rest.strip_prefix('[') {
            let (found, after) = read_header(header).ok_or(number + 1)?;
            section = found;
            rest = after.trim_start();
        }
        if rest.is_empty() || rest.starts_with(['#', ';']) {
            continue;
        }
        let (key, mut value) = match rest.split_once('=') {
            Some((key, value)) => (key.trim(), value.to_owned()),
            None => (rest, "true".to_owned()),
        };
        // A backslash at the end of a line goes on in the next.
        while value.ends_with('\\') && !value.ends_with("\\\\") {
            value.pop();
            let Some((_, more)) = lines.next() else { break };
            value.push_str(more);
        }
        let value = read_value(&value).ok_or(number + 1)?;
        let (section, subsection) = section.clone();
        let key = key.to_ascii_lowercase();
        values.push(Value { section, subsection, key, text: value });
    }
    Ok(values)
}

/// The hash that a repository's configuration names; an error is about what cannot be read here.
pub(super) fn object_format(config: &[Value]) -> Result<ObjectFormat, String> {
    let mut format = ObjectFormat::Sha1;
    for Value { key, text, .. } in config.iter().filter(|value| value.section == "extensions") {
        match (key.as_str(), text.to_ascii_lowercase().as_str()) {
            ("objectformat", "sha1") => format = ObjectFormat::Sha1,
            ("objectformat", "sha256") => format = ObjectFormat::Sha256,
            ("objectformat", _) => return Err(format!("its objects are named by {text}")),
            ("refstorage", other) if other != "files" => {
                return Err(format!("its references are kept as {text}, not as files"));
            }
            _ => {}
        }
    }
    Ok(format)
}

/// Reads what follows `[`: the section with its subsection, and the rest.
fn read_header(text: &str) -> Option<((String, Option<String>), &str)> {
    let Some(quote) = text.find('"').filter(|quote| !text[..*quote].contains(']')) else {
        let (name, rest) = text.split_once(']')?;
        return Some(((name.trim().to_ascii_lowercase(), None), rest));
    };
    let mut name = String::new();
    let mut letters = text[quote + 1..].char_indices();
    let end = loop {
        match letters.next()? {
            (_, '\\') => name.push(letters.next()?.1),
            (at, '"') => break quote + 1 + at + 1,
            (_, letter) => name.push(letter),
        }
    };
    let rest = text[end..].trim_start().strip_prefix(']')?;
    Some(((text[..quote].trim().to_ascii_lowercase(), Some(name)), rest))
}

/// A value without quotes, escapes and comment.
fn read_value(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut quoted = false;
    // Blanks at the end count only within quotes.
    let mut kept = 0;
    let mut letters = text.trim_start().chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            '\\' => value.push(match letters.next()? {
                'n' => '\n',
                't' => '\t',
                'b' => '\u{8}',
                other @ ('"' | '\\') => other,
                _ => return None,
            }),
            other => value.push(other),
        }
        if quoted || !letter.is_whitespace() {
            kept = value.len();
        }
    }
    value.truncate(kept);
    (!quoted).then_some(value)
}
