//! COPY and ADD: sources, destination, and what becomes of the files.

use crate::dockerfile::{Diagnostic, Spanned, Transfer, expand_heredoc};

use super::settings::{is_mode, resolve};
use super::stage::{Context, Scope};
use super::stages::Draft;
use super::{Copy, CopySource, FileSource, InlineFile, Step, StepKind};

impl Context<'_, '_> {
    pub(super) fn copy(
        &mut self,
        add: bool,
        from: FileSource,
        transfer: &Transfer,
        parents: bool,
    ) -> Option<(String, StepKind)> {
        let name = if add { "ADD" } else { "COPY" };
        let mut words = vec![name.to_owned()];
        let mut sources = Vec::new();
        for word in &transfer.sources {
            let source = self.expand(word)?;
            if is_remote(&source.value) {
                let what = if add {
                    "ADD of a URL or a git repository is not supported yet"
                } else {
                    "COPY takes no URL or git repository"
                };
                self.fail(word.span, what);
                return None;
            }
            sources.push(CopySource::Path(source));
        }
        for source in &transfer.inline {
            let mut content = source.heredoc.content();
            if source.heredoc.expand {
                let variables = &self.scope.variables;
                let lookup = |name: &str| variables.get(name).map(str::to_owned);
                match expand_heredoc(&content, &lookup) {
                    Ok(expansion) => {
                        variables.warn_of_unset(&expansion, source.span, self.planner.diagnostics);
                        content = expansion.text;
                    }
                    Err(error) => {
                        self.fail(source.span, format!("in the heredoc: {error}"));
                        return None;
                    }
                }
            }
            let name = source.heredoc.name.clone();
            sources.push(CopySource::Inline(InlineFile { name, content }));
        }
        let destination = self.expand(&transfer.destination)?;
        let given = |flag: &Spanned<String>| !flag.value.is_empty();
        let chown = Some(self.expand_flag(transfer.chown.as_ref())?).filter(given);
        let chmod = Some(self.expand_flag(transfer.chmod.as_ref())?).filter(given);
        if let Some(mode) = chmod.as_ref().filter(|mode| !is_mode(&mode.value)) {
            self.planner.diagnostics.push(
                Diagnostic::error(mode.span, format!("{:?} is no mode", mode.value))
                    .with_help("a mode is octal up to 7777, or symbolic such as u=rwX,go=rX"),
            );
            return None;
        }
        let mut exclude = Vec::new();
        for word in &transfer.exclude {
            let pattern = self.expand(word)?.value;
            if let Err(error) = crate::dockerfile::Ignore::from_patterns([pattern.as_str()]) {
                self.fail(word.span, format!("--exclude: {error}"));
                return None;
            }
            exclude.push(pattern);
        }
        if let Some(owner) = &chown
            && transfer.link.is_some()
            && chmod.is_none()
            && !is_numeric(&owner.value)
        {
            // As it does not see what is below it.
            let message = format!("with --link there are no names to find {:?} by", owner.value);
            self.planner.diagnostics.push(
                Diagnostic::error(owner.span, message)
                    .with_help("give numbers, as in --chown=1000:1000, or leave --link out"),
            );
            return None;
        }
        let path = &destination.value;
        let said = path.ends_with('/') || path.ends_with("/.") || path == "." || path.is_empty();
        words.extend(parents.then(|| "--parents".to_owned()));
        words.extend(chown.as_ref().map(|chown| format!("--chown={}", chown.value)));
        words.extend(chmod.as_ref().map(|chmod| format!("--chmod={}", chmod.value)));
        words.extend(sources.iter().map(|source| match source {
            CopySource::Path(path) => path.value.clone(),
            CopySource::Inline(file) => format!("<<{}", file.name),
        }));
        words.push(path.clone());
        let copy = Copy {
            add,
            from,
            sources,
            destination: resolve(&self.scope.workdir(), path),
            destination_is_directory: said,
            chown: chown.map(|chown| chown.value),
            // As BuildKit does it; --chmod then has the directories' modes to change.
            link: transfer.link.is_some() && chmod.is_none(),
            chmod: chmod.map(|chmod| chmod.value),
            exclude,
            parents,
            unpack: add,
        };
        Some((format!("{} # buildkit", words.join(" ")), StepKind::Copy(copy)))
    }
}

/// Whether an owner is given by numbers, so that no accounts are needed to find it.
fn is_numeric(owner: &str) -> bool {
    owner.split(':').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The step by which a stage gets all files of the named context that is its base.
pub(super) fn whole_context(name: String, draft: &Draft<'_>, scope: &Scope) -> Step {
    let span = draft.from.image.span;
    let created_by = format!("FROM {name}");
    Step {
        span,
        text: created_by.clone(),
        created_by,
        env: scope.variables.pairs().to_vec(),
        user: String::new(),
        workdir: "/".to_owned(),
        kind: StepKind::Copy(Copy {
            add: false,
            from: FileSource::Named(name),
            sources: vec![CopySource::Path(Spanned::new(".".to_owned(), span))],
            destination: "/".to_owned(),
            destination_is_directory: true,
            chown: None,
            chmod: None,
            exclude: Vec::new(),
            parents: false,
            link: false,
            unpack: false,
        }),
    }
}

/// Whether a source of ADD is fetched from elsewhere.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|p| source.starts_with(p))
}
