//! An edit with what holds for all edits put into it, ready to look for its place.

use super::at::At;
use super::found::Matches;
use super::image::Wanted;
use super::kubernetes::Search;
use super::kustomize::ImageEntry;
use super::strategic::Patch;
use super::{Edit, EditError, Options, Target, Typing};
use super::{argocd, helm, inline, kustomize, marker, value};
use crate::gitops::splice;
use crate::yaml::Stream;

/// An edit that lacks nothing.
pub(super) struct Ready<'a> {
    edit: &'a Edit,
    options: &'a Options,
    wants: Wants<'a>,
}

/// Why there is no telling where an edit belongs.
pub(super) enum Unfound {
    /// A sentence about it.
    Sentence(String),
    /// What the selection of paths says.
    Path(splice::EditError),
}

impl From<String> for Unfound {
    fn from(sentence: String) -> Self {
        Self::Sentence(sentence)
    }
}

/// What an edit wants, apart from its target.
enum Wants<'a> {
    Image(Wanted),
    Entry(ImageEntry),
    Patch(Patch<'a>),
    Path(value::Path),
    Nothing,
}

impl<'a> Ready<'a> {
    /// Puts together what an edit wants; what is missing or contradicts is an error of its flag.
    pub(super) fn of(edit: &'a Edit, options: &'a Options) -> Result<Self, EditError> {
        let wants = wants(edit, options).map_err(|problem| EditError::Flag {
            flag: edit.flag,
            text: edit.text.clone(),
            problem,
        })?;
        Ok(Self { edit, options, wants })
    }

    fn namespace(&self) -> Option<&str> {
        self.edit.namespace.as_deref().or(self.options.namespace.as_deref())
    }

    fn add(&self) -> bool {
        self.edit.add.unwrap_or(self.options.add)
    }

    /// Whether several places are fine. A marker is written to be followed.
    pub(super) fn all(&self) -> bool {
        self.takes_lines() || self.edit.all.unwrap_or(self.options.all)
    }

    /// Whether it can be done in a file that is no YAML.
    pub(super) fn takes_lines(&self) -> bool {
        matches!(self.edit.target, Target::Marker { .. })
    }

    /// The places in a file that is YAML.
    pub(super) fn find(&self, path: &str, text: &str, stream: &Stream) -> Result<Matches, Unfound> {
        let (namespace, add) = (self.namespace(), self.add());
        Ok(match (&self.edit.target, &self.wants) {
            (Target::Image { selector, .. }, Wants::Image(wanted)) => {
                let search = Search { selector, wanted, namespace, add };
                let mut matches = Matches::default();
                for root in At::roots(stream) {
                    if kustomize::is_kustomization(path, &root) {
                        inline::find(&root, &search, &mut matches)?;
                    }
                }
                search.find(stream, &mut matches)?;
                matches
            }
            (Target::Helm { prefix, .. }, Wants::Image(wanted)) => {
                helm::find(stream, prefix, wanted, add)?
            }
            (Target::Marker { policy, .. }, Wants::Image(wanted)) => {
                marked(text, stream, policy, wanted)?
            }
            (Target::Kustomize(_), Wants::Entry(entry)) => {
                kustomize::find(path, stream, entry, add)
            }
            (Target::ArgocdImage { app, .. }, Wants::Entry(entry)) => {
                argocd::image(path, stream, app.as_ref(), entry, namespace, add)
            }
            (Target::Parameter { app, name, value }, _) => {
                argocd::parameter(path, stream, app.as_ref(), name, value, namespace, add)
            }
            (Target::Chart { key, version }, _) => helm::chart(path, stream, key, version),
            (Target::Value { value, typing, .. }, Wants::Path(wanted)) => {
                value::find(text, stream, wanted, value, *typing, namespace, add)
                    .map_err(Unfound::Path)?
            }
            (Target::Patch(_), Wants::Patch(wanted)) => {
                super::strategic::find(stream, wanted, namespace, add)
            }
            _ => return Err("it lacks what it wants".to_owned().into()),
        })
    }

    /// The places in a file that is taken by its lines.
    pub(super) fn find_lines(&self, text: &str) -> Result<Matches, Unfound> {
        let mut matches = Matches::default();
        let (Target::Marker { policy, .. }, Wants::Image(wanted)) =
            (&self.edit.target, &self.wants)
        else {
            return Ok(matches);
        };
        for marker in marker::in_lines(text) {
            if marker.policy != *policy {
                matches.there(marker.to_string());
                continue;
            }
            let old = marker::value(text, &marker)?;
            let new = marker.text(wanted, &text[old.span.clone()])?;
            matches.line(marker.to_string(), text, old.span, new);
        }
        Ok(matches)
    }
}

fn marked(text: &str, stream: &Stream, policy: &str, wanted: &Wanted) -> Result<Matches, String> {
    let mut matches = Matches::default();
    let scalars = marker::scalars(stream);
    for marker in marker::in_yaml(stream) {
        if marker.policy != policy {
            matches.there(marker.to_string());
            continue;
        }
        let at = scalars.get(&marker.end_of_value(text));
        let at = at.ok_or_else(|| format!("in front of the {marker} there is no single value"))?;
        let new = marker.text(wanted, at.node.scalar().unwrap_or_default())?;
        matches.set(&marker.to_string(), at, new, Typing::Text);
    }
    Ok(matches)
}

fn wants<'a>(edit: &'a Edit, options: &Options) -> Result<Wants<'a>, String> {
    let pin = edit.pin.or(options.pin);
    let given = || match &options.image {
        Some(image) => Wanted::parse(image),
        None => Err("it names no image, and none is given for all edits".into()),
    };
    Ok(match &edit.target {
        Target::Image { image, .. } | Target::Helm { image, .. } | Target::Marker { image, .. } => {
            let image = image.clone().map_or_else(given, Ok)?;
            let image = pin.map_or_else(|| Ok(image.clone()), |pin| image.pinned(pin))?;
            if matches!(edit.target, Target::Image { .. }) {
                image.over("name")?;
            }
            Wants::Image(image)
        }
        Target::Kustomize(entry) | Target::ArgocdImage { entry, .. } => {
            let entry = if entry.is_bare() { entry.with_image(&given()?) } else { entry.clone() };
            Wants::Entry(pin.map_or_else(|| Ok(entry.clone()), |pin| entry.pinned(pin))?)
        }
        Target::Value { path, .. } => Wants::Path(value::Path::parse(path)?),
        Target::Patch(text) => Wants::Patch(Patch::parse(text)?),
        Target::Chart { .. } | Target::Parameter { .. } => Wants::Nothing,
    })
}
