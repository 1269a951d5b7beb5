//! The cases of `testdata/yaml`: files, the flags of edits, and the difference that these make, or
//! why they are refused. `UPDATE_EXPECT=1` rewrites what is expected.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::*;
use crate::gitops::Classified;
use crate::yaml::{Content, Node, parse};

struct Case {
    name: String,
    folder: PathBuf,
    files: Vec<(String, Vec<u8>)>,
    edits: Result<Vec<Edit>, EditError>,
    options: Options,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/yaml");
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("edit").exists()).collect();
    folders.sort();
    folders.into_iter().map(load).collect()
}

fn load(folder: PathBuf) -> Case {
    let mut files = Vec::new();
    collect(&folder, "", &mut files);
    files.sort();
    let mut options = Options::default();
    let mut edits = Ok(Vec::new());
    for line in std::fs::read_to_string(folder.join("edit")).unwrap().lines() {
        let (flag, value) = line.split_once(' ').unwrap_or((line, ""));
        let more = match flag {
            "--all" => {
                options.all = true;
                continue;
            }
            "--add" => {
                options.add = true;
                continue;
            }
            "--pin" => {
                options.pin = Some(value.parse().unwrap());
                continue;
            }
            "--namespace" => {
                options.namespace = Some(value.into());
                continue;
            }
            "--image" => {
                options.image = Some(value.into());
                continue;
            }
            "--edits" => Edit::list(value, &std::fs::read(folder.join(value)).unwrap()),
            flag => {
                let flag = Flag::ALL.into_iter().find(|known| known.name() == flag).unwrap();
                Edit::parse(flag, value).map(|edit| vec![edit])
            }
        };
        edits = edits.and_then(|mut edits: Vec<Edit>| {
            edits.extend(more?);
            Ok(edits)
        });
    }
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    Case { name, folder, files, edits, options }
}

fn collect(folder: &Path, below: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else if !matches!(name.as_str(), "edit" | "edits.yaml" | "expect.diff" | "expect.err") {
            files.push((name, std::fs::read(entry.path()).unwrap()));
        }
    }
}

impl Case {
    fn run(&self) -> Result<Vec<Edited>, EditError> {
        match &self.edits {
            Ok(edits) => edit_files(&self.files, edits, &self.options),
            Err(EditError::Flag { flag, text, problem }) => {
                let (text, problem) = (text.clone(), problem.clone());
                Err(EditError::Flag { flag: *flag, text, problem })
            }
            Err(error) => Err(EditError::List { path: String::new(), problem: error.to_string() }),
        }
    }

    fn old(&self, path: &str) -> &[u8] {
        &self.files.iter().find(|(name, _)| name == path).unwrap().1
    }

    /// Whether edits of it make or remove something, so that more than scalars differ.
    fn makes(&self) -> bool {
        let patch = |edit: &Edit| edit.flag == Flag::StrategicPatch;
        let goes = ["kustomize-digest-goes", "kustomize-tag-goes", "kustomize-digest"];
        let appears = [
            "set-over-alias",
            "star",
            "kustomize-tag-and-digest",
            "kustomize-new-name",
            "set-raw-null",
        ];
        self.options.add
            || self.edits.as_ref().is_ok_and(|edits| edits.iter().any(patch))
            || goes.iter().chain(&appears).any(|name| self.name.starts_with(name))
    }
}

fn shown(outcome: &Result<Vec<Edited>, EditError>, case: &Case) -> (&'static str, String) {
    match outcome {
        Ok(edited) => {
            let diffs = edited
                .iter()
                .map(|file| diff(&file.path, case.old(&file.path), &file.bytes, false));
            ("expect.diff", diffs.collect())
        }
        Err(error) => {
            let mut text = format!("{:?}: {error}", error.kind());
            let mut below = std::error::Error::source(error);
            while let Some(error) = below {
                let _ = write!(text, ": {error}");
                below = error.source();
            }
            text.push('\n');
            for hint in error.hints() {
                let _ = writeln!(text, "hint: {hint}");
            }
            ("expect.err", text)
        }
    }
}

#[test]
fn every_case_is_edited_as_expected() {
    let mut wrong = Vec::new();
    let cases = cases();
    let files: usize = cases.iter().map(|case| case.files.len()).sum();
    assert!(files >= 200, "only {files} files");
    for case in &cases {
        let (name, found) = shown(&case.run(), case);
        let file = case.folder.join(name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            for other in ["expect.diff", "expect.err"] {
                let _ = std::fs::remove_file(case.folder.join(other));
            }
            std::fs::write(&file, &found).unwrap();
        } else if std::fs::read_to_string(&file).ok().as_ref() != Some(&found) {
            wrong.push(format!("== {} ({name})\n{found}", case.name));
        }
        // A case whose name says that it is refused is, and no other.
        let refused = case.name.contains("-bad-");
        if refused != (name == "expect.err") {
            wrong.push(format!("== {}: {found}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The scalars of which two trees of one shape have different ones, as bytes of the texts.
fn different(old: &Node, new: &Node, found: &mut Vec<(Range<usize>, Range<usize>)>) {
    match (&old.content, &new.content) {
        (Content::Scalar { value, .. }, Content::Scalar { value: other, .. }) => {
            if value != other {
                // A value where none was has a space in front of it.
                let space = usize::from(old.span.is_empty());
                found.push((old.span.clone(), new.span.start - space..new.span.end));
            }
        }
        (Content::Sequence { items, .. }, Content::Sequence { items: others, .. }) => {
            assert_eq!(items.len(), others.len());
            items.iter().zip(others).for_each(|(old, new)| different(old, new, found));
        }
        (Content::Mapping { pairs, .. }, Content::Mapping { pairs: others, .. }) => {
            assert_eq!(pairs.len(), others.len());
            for (old, new) in pairs.iter().zip(others) {
                different(&old.0, &new.0, found);
                different(&old.1, &new.1, found);
            }
        }
        (Content::Alias { name, .. }, Content::Alias { name: other, .. }) => {
            assert_eq!(name, other);
        }
        other => panic!("the shape has changed: {other:?}"),
    }
}

/// The text without some of its bytes.
fn without(text: &str, spans: impl Iterator<Item = Range<usize>>) -> String {
    let (mut rest, mut at) = (String::new(), 0);
    for span in spans {
        rest.push_str(&text[at..span.start]);
        at = span.end;
    }
    rest + &text[at..]
}

#[test]
fn only_the_scalars_that_were_asked_for_change() {
    let mut compared = 0;
    for case in cases() {
        let Ok(edited) = case.run() else { continue };
        for file in edited {
            let old = std::str::from_utf8(case.old(&file.path)).unwrap();
            let new = std::str::from_utf8(&file.bytes).unwrap();
            let (Ok(before), Ok(after)) = (parse(old), parse(new)) else { continue };
            if case.makes() {
                continue;
            }
            let mut spans = Vec::new();
            assert_eq!(before.documents.len(), after.documents.len(), "{}", case.name);
            for (old, new) in before.documents.iter().zip(&after.documents) {
                if let (Some(old), Some(new)) = (&old.root, &new.root) {
                    different(old, new, &mut spans);
                }
            }
            assert_eq!(spans.len(), file.changes.len(), "{}: {:?}", case.name, file.changes);
            assert_eq!(
                without(old, spans.iter().map(|(old, _)| old.clone())),
                without(new, spans.iter().map(|(_, new)| new.clone())),
                "{}",
                case.name
            );
            compared += spans.len();
        }
    }
    assert!(compared >= 200, "only {compared} scalars");
}

#[test]
fn an_edit_that_is_done_changes_nothing() {
    for case in cases() {
        let Ok(edited) = case.run() else { continue };
        let mut again: Vec<(String, Vec<u8>)> = case.files.clone();
        for (path, bytes) in &mut again {
            if let Some(file) = edited.iter().find(|file| file.path == *path) {
                bytes.clone_from(&file.bytes);
            }
        }
        // A repository that was replaced is not there any more, nor is what was removed.
        let edits = case.edits.as_ref().unwrap();
        match edit_files(&again, edits, &case.options) {
            Ok(twice) => {
                for file in twice {
                    let once = &again.iter().find(|(path, _)| *path == file.path).unwrap().1;
                    assert_eq!(diff("twice", once, &file.bytes, false), "", "{}", case.name);
                }
            }
            Err(EditError::NothingMatched { .. }) if case.name == "image-by-repository-moved" => {}
            Err(error) => panic!("{}: {error}", case.name),
        }
    }
}
