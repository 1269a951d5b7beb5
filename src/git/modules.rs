//! `.gitmodules`: which repository a submodule is of (gitmodules(5), in the form of git-config(1)).
//! Pure.

use std::collections::BTreeMap;

use super::config::{self, Value};
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
    for Value { section, subsection, key, text: value } in config::parse(text)? {
        let Some(name) = subsection.filter(|_| section == "submodule") else { continue };
        let (path, module) = modules.entry(name.clone()).or_default();
        module.name = name;
        match key.as_str() {
            "path" => *path = Some(value.trim_end_matches('/').to_owned()),
            "url" => module.url = Some(value),
            "update" => module.skipped = value == "none",
            _ => {}
        }
    }
    let by_path = modules.into_values().filter_map(|(path, module)| Some((path?, module)));
    Ok(by_path.collect())
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
