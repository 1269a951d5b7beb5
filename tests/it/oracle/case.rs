//! A case: one text file of sections, as `testdata/build/README.md` describes it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::archive;

/// A case of the corpus.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// `topic/name`.
    pub(super) name: String,
    file: PathBuf,
    /// What is before the first section.
    head: String,
    sections: Vec<Section>,
}

/// A part of a case: the text below `-- TITLE --`.
#[derive(Clone, Debug)]
struct Section {
    title: String,
    body: String,
}

/// What buildah makes of a case that it does not build as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deviation {
    /// Its image differs in these paths and configuration keys.
    Differs(Vec<String>),
    /// It fails.
    Cannot,
    /// It builds what must fail.
    Accepts,
    /// It does not do the same each time, so there is nothing to compare.
    Varies,
}

impl Case {
    /// The cases of a folder, by name.
    pub(super) fn of(topic: &str) -> Vec<Self> {
        let folder = super::corpus().join(topic);
        let entries = fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("read {}: {e}", folder.display()))
            .map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = entries.collect();
        files.sort();
        files.into_iter().map(|file| Self::read(topic, file)).collect()
    }

    fn read(topic: &str, file: PathBuf) -> Self {
        assert!(file.extension().is_some_and(|e| e == "case"), "{} is no case", file.display());
        let text = fs::read_to_string(&file).unwrap();
        let name = format!("{topic}/{}", file.file_stem().unwrap().to_str().unwrap());
        let mut head = String::new();
        let mut sections: Vec<Section> = Vec::new();
        for line in text.split_inclusive('\n') {
            let title = line.trim_end().strip_prefix("-- ").and_then(|l| l.strip_suffix(" --"));
            match (title, sections.last_mut()) {
                (Some(title), _) => {
                    sections.push(Section { title: title.to_owned(), body: String::new() });
                }
                (None, Some(section)) => section.body.push_str(line),
                (None, None) => head.push_str(line),
            }
        }
        assert!(head.starts_with("# "), "{name} does not begin with what it shows");
        let case = Self { name, file, head, sections };
        case.check();
        case
    }

    /// A title that nobody reads is a mistake, not a section.
    fn check(&self) {
        const TITLES: &[&str] = &[
            "Dockerfile",
            "Dockerfile quoted",
            "Dockerfile.dockerignore",
            "base.Dockerfile",
            "flags",
            "buildah flags",
            "env",
            "needs",
            "pending",
            "error",
            "tree",
            "config",
            "buildah",
            "buildkit",
        ];
        let name = &self.name;
        for (index, Section { title, .. }) in self.sections.iter().enumerate() {
            let known = TITLES.contains(&title.as_str())
                || ["context/", "outside/", "served/"].iter().any(|at| title.starts_with(at));
            assert!(known, "{name}: what is the section {title:?}?");
            let again = self.sections[..index].iter().any(|section| section.title == *title);
            assert!(!again, "{name}: {title} is there twice");
        }
        if let Some(needs) = self.section("needs") {
            assert_eq!(needs.trim(), "several ids", "{name}: needs");
        }
    }

    /// The body of a section.
    pub(super) fn section(&self, title: &str) -> Option<&str> {
        self.sections.iter().find(|s| s.title == title).map(|s| s.body.as_str())
    }

    /// Its first sentence: what it shows.
    pub(super) fn shows(&self) -> String {
        let lines = self.head.lines().map(|line| line.trim_start_matches('#').trim());
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The texts that the failure must contain, if it must fail.
    pub(super) fn error(&self) -> Option<Vec<&str>> {
        Some(self.section("error")?.lines().filter(|line| !line.is_empty()).collect())
    }

    /// What buildah makes of it, if not the same, and why.
    pub(super) fn deviation(&self) -> Option<(Deviation, String)> {
        let text = self.section("buildah")?.split_whitespace().collect::<Vec<_>>().join(" ");
        let (kind, reason) = text
            .split_once(": ")
            .unwrap_or_else(|| panic!("{}: {text:?} gives no reason", self.name));
        let kind = match kind {
            "cannot" => Deviation::Cannot,
            "accepts" => Deviation::Accepts,
            "varies" => Deviation::Varies,
            _ => {
                let subjects = kind.strip_prefix("differs in ").unwrap_or_else(|| {
                    panic!("{}: {kind:?} is not cannot, accepts, varies or differs in", self.name)
                });
                Deviation::Differs(subjects.split(", ").map(str::to_owned).collect())
            }
        };
        Some((kind, reason.to_owned()))
    }

    /// Why it does not expect what BuildKit makes of it, if so.
    pub(super) fn own_rule(&self) -> Option<String> {
        Some(self.section("buildkit")?.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The flags for a builder: one on each line, its value after the first blank.
    pub(super) fn flags(&self, builder: &str) -> Vec<String> {
        let own = self.section(&format!("{builder} flags"));
        let lines = own.or_else(|| self.section("flags")).unwrap_or_default().lines();
        let words = lines.flat_map(|line| line.splitn(2, ' '));
        words.map(str::to_owned).collect()
    }

    /// The variables of the builder's environment.
    pub(super) fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.section("env").unwrap_or_default().lines();
        lines.map(|line| line.split_once('=').unwrap())
    }

    /// Writes `context/`, `outside/` and `served/`, and the Dockerfiles beside them,
    /// with `replace` done to the text of the latter.
    pub(super) fn unpack(&self, work: &Path, replace: impl Fn(&str) -> String) {
        for directory in ["context", "outside", "served"] {
            fs::create_dir(work.join(directory)).unwrap();
        }
        for Section { title, body } in &self.sections {
            match title.as_str() {
                "Dockerfile" | "base.Dockerfile" | "Dockerfile.dockerignore" => {
                    fs::write(work.join(title), replace(body)).unwrap();
                }
                "Dockerfile quoted" => {
                    fs::write(work.join("Dockerfile"), replace(&unquoted(body))).unwrap();
                }
                _ if title.contains('/') => {
                    let body =
                        if title.ends_with("Dockerfile") { &replace(body) } else { body.as_str() };
                    place(work, title, body)
                        .unwrap_or_else(|e| panic!("{}: {title}: {e}", self.name));
                }
                _ => {}
            }
        }
    }

    /// Writes the case with other expectations: texts of the sections `tree` and
    /// `config`, or of `error`. Those that are absent or empty are removed.
    pub(super) fn rewrite(&self, expected: &[(&str, &str)]) {
        let mut sections = self.sections.clone();
        for title in ["error", "tree", "config"] {
            let body = expected.iter().find(|(t, body)| *t == title && !body.is_empty());
            let body = body.map(|(_, body)| (*body).to_owned());
            let at = sections.iter().position(|section| section.title == title);
            match (at, body) {
                (Some(at), Some(body)) => sections[at].body = body,
                (Some(at), None) => drop(sections.remove(at)),
                (None, Some(body)) => {
                    let last = sections.iter().position(|s| s.title.starts_with("build"));
                    let section = Section { title: title.to_owned(), body };
                    sections.insert(last.unwrap_or(sections.len()), section);
                }
                (None, None) => {}
            }
        }
        let sections = sections.iter().map(|s| format!("-- {} --\n{}", s.title, s.body));
        let text = self.head.clone() + &sections.collect::<String>();
        fs::write(&self.file, text).unwrap();
    }
}

/// The text that a JSON string stands for.
fn unquoted(body: &str) -> String {
    serde_json::from_str(body.trim()).unwrap_or_else(|e| panic!("{body:?}: {e}"))
}

/// Makes the file of a section; its title is `PATH [MODE] [quoted] [-> TARGET] [=> PATH]
/// [fifo] [archive [COMPRESSION]]`, a directory's path ends in a slash.
fn place(work: &Path, title: &str, body: &str) -> std::io::Result<()> {
    let mut words = title.split(' ');
    let name = words.next().unwrap_or_default();
    let path = work.join(name.trim_end_matches('/'));
    fs::create_dir_all(path.parent().unwrap())?;
    let mut content = body.as_bytes().to_vec();
    let mut mode = if name.ends_with('/') { 0o755 } else { 0o644 };
    while let Some(word) = words.next() {
        match word {
            "quoted" => content = unquoted(body).into_bytes(),
            "->" => return symlink(words.next().unwrap(), path),
            "=>" => return fs::hard_link(path.with_file_name(words.next().unwrap()), path),
            "fifo" => {
                return Ok(mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?);
            }
            "archive" => content = archive::make(body, words.next().unwrap_or("plain")),
            _ => {
                mode = u32::from_str_radix(word, 8).unwrap_or_else(|e| panic!("{word:?}: {e}"));
            }
        }
    }
    if name.ends_with('/') {
        fs::create_dir_all(&path)?;
    } else {
        fs::write(&path, content)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
