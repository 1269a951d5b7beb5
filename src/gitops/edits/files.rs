//! Edits over files: each finds its place, and all are written or none.

use std::collections::HashMap;

use super::found::{Action, Matches, What, shown};
use super::resolve::{Ready, Unfound};
use super::{Edit, EditError, Pin, write};
use crate::gitops::splice::Key;
use crate::yaml::{Lines, Stream, YamlError, parse};

/// What holds for all edits that do not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether several places may match one edit; all of them are changed then.
    pub all: bool,
    /// Whether an entry that is not there is made.
    pub add: bool,
    /// Which parts of an image are written; as they are given, if this is not said.
    pub pin: Option<Pin>,
    /// The namespace of Kubernetes objects.
    pub namespace: Option<String>,
    /// The image of edits that name none.
    pub image: Option<String>,
}

/// A file in which an edit has found its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// Its path, as it was given.
    pub path: String,
    /// What it holds now.
    pub bytes: Vec<u8>,
    /// What has changed in it, in the order of the edits; empty if it was as wanted already.
    pub changes: Vec<Changed>,
}

/// A value that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which edit it was, counted from 0.
    pub edit: usize,
    /// Where it is, such as `Deployment/web container app`.
    pub place: String,
    /// The line, counted from 1, in the file as it was before this edit.
    pub line: usize,
    /// What it was; none if it was not there, or no scalar.
    pub old: Option<String>,
    /// What it is now; none if it is removed.
    pub new: Option<String>,
}

/// A file while edits are applied to it.
struct File<'a> {
    path: &'a str,
    text: String,
    /// What the text is as YAML, or why it is none.
    read: Result<Stream, Unread>,
    changes: Vec<Changed>,
    matched: bool,
}

/// Why a file is no YAML.
enum Unread {
    /// It is not UTF-8, from this byte on.
    Bytes(usize),
    /// Its text cannot be read.
    Yaml(YamlError),
}

/// Where an edit has been, to find another one that is there too: file, document and way.
type Places = HashMap<(usize, usize, Vec<Key>), (usize, String)>;

/// Applies `edits` to `files`, which are pairs of a path and what the file holds. The result has
/// the files in which something matched, in their order; if anything is wrong, there is none.
pub fn edit_files(
    files: &[(String, Vec<u8>)],
    edits: &[Edit],
    options: &Options,
) -> Result<Vec<Edited>, EditError> {
    let mut open = files.iter().map(|(path, bytes)| File::open(path, bytes)).collect::<Vec<_>>();
    let mut been = Places::new();
    for (number, edit) in edits.iter().enumerate() {
        let ready = Ready::of(edit, options)?;
        let found = find(&open, edit, &ready)?;
        for (file, matches) in &found {
            contradiction(*file, matches, number, edits, &mut been, open[*file].path)?;
        }
        for (file, matches) in found {
            open[file].apply(number, edit, &matches)?;
        }
    }
    let matched = open.into_iter().filter(|file| file.matched);
    Ok(matched
        .map(|file| Edited {
            path: file.path.to_owned(),
            bytes: file.text.into_bytes(),
            changes: file.changes,
        })
        .collect())
}

/// The files in which an edit matches, and where.
fn find(
    files: &[File<'_>],
    edit: &Edit,
    ready: &Ready<'_>,
) -> Result<Vec<(usize, Matches)>, EditError> {
    let (mut found, mut there, mut hint, mut unread) = (Vec::new(), Vec::new(), None, None);
    let mut in_question = 0;
    for (number, file) in files.iter().enumerate().filter(|(_, file)| edit.is_for(file.path)) {
        in_question += 1;
        let matches = match (&file.read, ready.takes_lines()) {
            (Ok(stream), _) => ready.find(file.path, &file.text, stream),
            (Err(_), true) => ready.find_lines(&file.text),
            (Err(why), false) => {
                unread.get_or_insert((file, why));
                continue;
            }
        };
        let mut matches = matches.map_err(|why| {
            let (edit, path) = (edit.to_string(), file.path.to_owned());
            match why {
                Unfound::Sentence(problem) => EditError::Unsafe { edit, path, problem },
                Unfound::Path(source) => EditError::Write { edit, path, source: Box::new(source) },
            }
        })?;
        there.extend(matches.there.drain(..).map(|text| format!("{}: {text}", file.path)));
        hint = hint.or_else(|| matches.hint.take());
        if !(matches.places.is_empty() && matches.weak.is_empty()) {
            found.push((number, matches));
        }
    }
    if found.iter().all(|(_, matches)| matches.places.is_empty()) {
        for (_, matches) in &mut found {
            matches.places = std::mem::take(&mut matches.weak);
        }
    }
    found.retain(|(_, matches)| !matches.places.is_empty());
    let count: usize = found.iter().map(|(_, matches)| matches.places.len()).sum();
    match (count, unread) {
        (0, Some((file, why))) => Err(file.unread(why)),
        (0, None) => {
            if in_question == 0 {
                hint = Some("none of the files is at a path that the edit is for".into());
            }
            Err(EditError::NothingMatched { edit: edit.to_string(), there, hint })
        }
        (1, _) => Ok(found),
        _ if ready.all() => Ok(found),
        _ => {
            let places = found.iter().flat_map(|(file, matches)| files[*file].places(matches));
            Err(EditError::Ambiguous { edit: edit.to_string(), places: places.collect() })
        }
    }
}

/// Two edits that set one scalar must agree.
fn contradiction(
    file: usize,
    matches: &Matches,
    number: usize,
    edits: &[Edit],
    been: &mut Places,
    path: &str,
) -> Result<(), EditError> {
    for action in matches.places.iter().flat_map(|place| &place.actions) {
        let What::Set(text, _) = &action.what else { continue };
        let key = (file, action.document, action.steps.clone());
        match been.insert(key, (number, text.clone())) {
            Some((first, old)) if first != number && old != *text => {
                return Err(EditError::Contradiction {
                    first: edits[first].to_string(),
                    second: edits[number].to_string(),
                    place: format!("{path}: {}", action.label),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'a> File<'a> {
    fn open(path: &'a str, bytes: &[u8]) -> Self {
        let (text, read) = match String::from_utf8(bytes.to_vec()) {
            Ok(text) => {
                let read = parse(&text).map_err(Unread::Yaml);
                (text, read)
            }
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                (String::new(), Err(Unread::Bytes(at)))
            }
        };
        Self { path, text, read, changes: Vec::new(), matched: false }
    }

    fn unread(&self, why: &Unread) -> EditError {
        let path = self.path.to_owned();
        match why {
            Unread::Bytes(at) => EditError::NotText { path, at: *at },
            Unread::Yaml(source) => {
                let template = self.text.contains("{{");
                EditError::NotYaml { path, template, source: Box::new(source.clone()) }
            }
        }
    }

    /// How places are called where several files are in question.
    fn places(&self, matches: &Matches) -> Vec<String> {
        let lines = Lines::of(&self.text);
        let places = matches.places.iter();
        places.map(|p| format!("{}:{}: {}", self.path, lines.line(p.start), p.label)).collect()
    }

    fn apply(&mut self, number: usize, edit: &Edit, matches: &Matches) -> Result<(), EditError> {
        self.matched = true;
        let actions = matches.places.iter().flat_map(|place| &place.actions);
        let actions: Vec<&Action> = actions.filter(|action| !action.is_done()).collect();
        if actions.is_empty() {
            return Ok(());
        }
        let (edit, path) = (edit.to_string(), self.path.to_owned());
        let text =
            match &self.read {
                Ok(_) => write::nodes(&self.text, &actions).map_err(|source| EditError::Write {
                    edit,
                    path,
                    source: Box::new(source),
                })?,
                Err(_) => write::lines(&self.text, &actions)
                    .map_err(|problem| EditError::Unsafe { edit, path, problem })?,
            };
        let lines = Lines::of(&self.text);
        for action in actions {
            let new = match &action.what {
                What::Set(text, _) | What::Inside { new: text, .. } => Some(text.clone()),
                What::Replace(value) | What::Insert(_, value) | What::Append(value) => {
                    Some(shown(value))
                }
                What::Remove => None,
            };
            let was = !matches!(action.what, What::Insert(..) | What::Append(..));
            self.changes.push(Changed {
                edit: number,
                place: action.label.clone(),
                line: lines.line(action.start),
                old: action.old.clone().filter(|_| was),
                new,
            });
        }
        self.text = text;
        if self.read.is_ok() {
            self.read = parse(&self.text).map_err(Unread::Yaml);
        }
        Ok(())
    }
}
