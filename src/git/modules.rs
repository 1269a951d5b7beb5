//! `.gitmodules`: which repository a submodule is of (gitmodules(5), in the form of git-config(1)).
//! Pure.

use std::collections::BTreeMap;

use super::url::Remote;

/// What `.gitmodules` says of a submodule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, which is often its path.
    pub(super) name: String,
    /// Where its repository is, perhaps relative to this one.
    pub(super) url: Option<String>,
    /// Whether it is never to be fetched (`update = none`).
    pub(super) skipped: bool,
}

/// Reads `.gitmodules`: submodules by their paths. `Err` names the line that cannot be read.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Module>, usize> {
    let mut modules: BTreeMap<String, (Option<String>, Module)> = BTreeMap::new();
    let mut section: Option<String> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut rest = line.trim();
        if let Some(header) = rest.strip_prefix('[') {
            let (name, after) = read_header(header).ok_or(number + 1)?;
            section = name;
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
        let Some(name) = &section else { continue };
        let (path, module) = modules.entry(name.clone()).or_default();
        module.name.clone_from(name);
        match key.to_ascii_lowercase().as_str() {
            "path" => *path = Some(value.trim_end_matches('/').to_owned()),
            "url" => module.url = Some(value),
            "update" => module.skipped = value == "none",
            _ => {}
        }
    }
    let by_path = modules.into_values().filter_map(|(path, module)| Some((path?, module)));
    Ok(by_path.collect())
}

/// Reads what follows `[`: the name of a submodule, if it is a section of one, and the rest.
fn read_header(text: &str) -> Option<(Option<String>, &str)> {
    let Some(quote) = text.find('"').filter(|quote| !text[..*quote].contains(']')) else {
        let (_, rest) = text.split_once(']')?;
        return Some((None, rest));
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
    let ours = text[..quote].trim().eq_ignore_ascii_case("submodule");
    Some((ours.then_some(name), rest))
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

/// Where a submodule's repository is. `Err` says why not.
pub(super) fn locate(remote: &Remote, url: &str) -> Result<Remote, String> {
    if url.contains(char::is_control) {
        return Err("its URL holds control characters".to_owned());
    }
    if url.starts_with("./") || url.starts_with("../") {
        return remote.join(url).ok_or_else(|| format!("{url:?} leads out of {remote}"));
    }
    Remote::parse(url).map_err(|error| error.to_string())?.ok_or_else(|| {
        let shown = url.rsplit('@').next().unwrap_or_default();
        format!("{shown:?} is no https, http, git or ssh URL")
    })
}

/// Whether a name may be that of a directory below `.git/modules`.
pub(super) fn good_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('/')
        && name.split(['/', '\\']).all(|part| !matches!(part, "" | "." | ".."))
        && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_gitmodules() {
        let text = "# comment\n[submodule \"lib/a\"]\n\tpath = lib/a/ ; where\n\turl = ../a.git\n\
                    [core]\n\tpath = no\n\
                    [SubModule \"b \\\"x\\\"\"] path = \"with space \"\n URL=https://h/b.git#c\n\
                    update = none\n[submodule \"no-path\"]\nurl = x\n\
                    [submodule \"c\"]\npath = c\nurl = \"https://h/\\\n  c.git\"\nshallow\n";
        let modules = parse(text).unwrap();
        let shown: Vec<_> = modules
            .iter()
            .map(|(path, m)| (path.as_str(), m.name.as_str(), m.url.as_deref(), m.skipped))
            .collect();
        assert_eq!(
            shown,
            [
                ("c", "c", Some("https://h/  c.git"), false),
                ("lib/a", "lib/a", Some("../a.git"), false),
                ("with space ", "b \"x\"", Some("https://h/b.git"), true),
            ],
        );
        for (text, line) in [("[submodule \"a\n", 1), ("\n[submodule \"a\"]\npath = \"x\n", 3)] {
            assert_eq!(parse(text), Err(line), "{text:?}");
        }
    }

    #[test]
    fn locates_repositories_and_refuses_paths_of_this_machine() {
        let remote = Remote::parse("https://h/a/b.git").unwrap().unwrap();
        for (url, expected) in [
            ("../c", Some("https://h/a/c")),
            ("https://o/c.git", Some("https://o/c.git")),
            ("git@h:c", Some("git@h:c")),
            ("/srv/c.git", None),
            ("file:///srv/c.git", None),
            ("--upload-pack=x", None),
            ("../../../c", None),
        ] {
            let found = locate(&remote, url).ok().map(|r| r.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
        let remote = Remote::parse("git://h/a/b").unwrap().unwrap();
        for url in ["../c\nHELO", "git://h/c\nHELO", "git://h/c%0aHELO"] {
            let refused = locate(&remote, url).unwrap_err();
            assert!(refused.contains("control characters"), "{url}: {refused}");
        }
        for (name, good) in
            [("a/b", true), ("a..b", true), ("../a", false), ("a/../b", false), ("", false)]
        {
            assert_eq!(good_name(name), good, "{name}");
        }
    }
}
