//! COPY and ADD: sources, destination, and what becomes of the files.

use crate::dockerfile::{Add, Diagnostic, Spanned, Transfer, expand_heredoc};
use crate::git::{GitUrl, is_git_source};
use crate::image::DigestError;

use super::settings::{is_mode, resolve};
use super::stage::{Context, Scope};
use super::stages::Draft;
use super::{Copy, CopySource, Download, FileSource, InlineFile, Step, StepKind};

/// The name of a download whose URL has none.
const NAMELESS: &str = "__unnamed__";

impl Context<'_, '_> {
    pub(super) fn copy(
        &mut self,
        add: Option<&Add>,
        from: FileSource,
        transfer: &Transfer,
        parents: bool,
    ) -> Option<(String, StepKind)> {
        let mut words = vec![if add.is_some() { "ADD" } else { "COPY" }.to_owned()];
        let mut sources = Vec::new();
        for word in &transfer.sources {
            let path = self.expand(word)?;
            words.push(path.value.clone());
            sources.push(match add {
                Some(add) => self.source_of_add(add, path)?,
                None if is_url(&path.value) => {
                    self.planner.diagnostics.push(
                        Diagnostic::error(word.span, "COPY takes no URL or git repository")
                            .with_help("ADD does"),
                    );
                    return None;
                }
                None => CopySource::Path(path),
            });
        }
        if let Some(add) = add {
            self.check_flags_of_add(add, &sources)?;
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
            words.push(format!("<<{name}"));
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
            // As BuildKit: expanded are only sources, destination, owner, mode and checksum.
            let pattern = word.value.clone();
            if pattern.contains('$') {
                let message = "--exclude is taken as it is written, variables mean nothing in it";
                self.planner.diagnostics.push(Diagnostic::warning(word.span, message));
            }
            if let Err(error) = crate::dockerfile::Ignore::from_patterns([pattern.as_str()]) {
                self.fail(word.span, format!("--exclude: {}", error.problem()));
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
        let mut flags = Vec::new();
        flags.extend(parents.then(|| "--parents".to_owned()));
        flags.extend(chown.as_ref().map(|chown| format!("--chown={}", chown.value)));
        flags.extend(chmod.as_ref().map(|chmod| format!("--chmod={}", chmod.value)));
        words.splice(1..1, flags);
        words.push(path.clone());
        let copy = Copy {
            add: add.is_some(),
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
            unpack: add.is_some_and(|add| add.unpack.as_ref().is_none_or(|unpack| unpack.value)),
        };
        Some((format!("{} # buildkit", words.join(" ")), StepKind::Copy(copy)))
    }
}

impl Context<'_, '_> {
    /// What a word of ADD stands for.
    fn source_of_add(&mut self, add: &Add, path: Spanned<String>) -> Option<CopySource> {
        let checksum = self.expand_flag(add.checksum.as_ref())?;
        let checksum = Some(checksum).filter(|checksum| !checksum.value.is_empty());
        let unpack = add.unpack.as_ref().is_some_and(|unpack| unpack.value);
        if is_git_source(&path.value) {
            let parsed = GitUrl::parse(&path.value).and_then(|url| match (url, &checksum) {
                (Some(url), Some(checksum)) => url.with_checksum(&checksum.value).map(Some),
                (url, _) => Ok(url),
            });
            let url = match parsed {
                Ok(Some(url)) => url,
                Ok(None) => return Some(CopySource::Path(path)),
                Err(error) => {
                    self.fail(path.span, error.to_string());
                    return None;
                }
            };
            let wanted = add.keep_git_dir.as_ref().map(|keep| keep.value);
            if let (Some(flag), Some(query)) = (wanted, url.keep_git_dir)
                && flag != query
            {
                self.fail(path.span, "the URL and --keep-git-dir say different things of .git");
                return None;
            }
            let keep_git_dir = url.keep_git_dir.or(wanted).unwrap_or_default();
            return Some(CopySource::Git { url, keep_git_dir });
        }
        if !is_web(&path.value) {
            return Some(CopySource::Path(path));
        }
        let checksum = match checksum.map(|checksum| (checksum.value.parse(), checksum.span)) {
            None => None,
            Some((Ok(digest), _)) => Some(digest),
            Some((Err(error), span)) => {
                let error: DigestError = error;
                self.fail(span, format!("--checksum: {error}"));
                return None;
            }
        };
        let name = url_file_name(&path.value);
        Some(CopySource::Download(Download { url: path.value, name, checksum, unpack }))
    }

    /// Refuses flags that have nothing to hold for.
    fn check_flags_of_add(&mut self, add: &Add, sources: &[CopySource]) -> Option<()> {
        let remote = |source: &CopySource| {
            matches!(source, CopySource::Download(_) | CopySource::Git { .. })
        };
        if let Some(checksum) = &add.checksum {
            let problem = match sources {
                [only] if remote(only) => None,
                [_] => Some("--checksum is for a URL or a git repository"),
                _ => Some("--checksum is for one source"),
            };
            if let Some(problem) = problem {
                self.fail(checksum.span, problem);
                return None;
            }
        }
        let git = |source: &CopySource| matches!(source, CopySource::Git { .. });
        if let Some(keep) = add.keep_git_dir.as_ref().filter(|_| !sources.iter().any(git)) {
            let message = "--keep-git-dir without a git repository has no effect";
            self.planner.diagnostics.push(Diagnostic::warning(keep.span, message));
        }
        Some(())
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

/// Whether a source looks like one that is fetched from elsewhere.
fn is_url(source: &str) -> bool {
    is_web(source) || is_git_source(source)
}

fn is_web(source: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| source.starts_with(scheme))
}

/// The name of a URL's file: the last component of its path, decoded.
fn url_file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let decoded = decode(path);
    let name = decoded.split('/').rfind(|name| !name.is_empty()).unwrap_or_default();
    match name {
        "" | "." | ".." => NAMELESS.to_owned(),
        name => name.to_owned(),
    }
}

/// Without the `%XX` of URLs; what is no UTF-8 then, or has a NUL, stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| first == b'%');
        let code = code.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    match String::from_utf8(bytes) {
        Ok(decoded) if !decoded.contains('\0') => decoded,
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_file() {
        for (url, name) in [
            ("http://h/a", "a"),
            ("http://h/a/b.tar?x=/y#/z", "b.tar"),
            ("http://h/a/", "a"),
            ("http://h/a%20b", "a b"),
            ("http://h/a%2Fb", "b"),
            ("http://h/%zz%", "%zz%"),
            ("http://h/%+1", "%+1"),
            ("http://h/%ff", "%ff"),
            ("http://h/%00", "%00"),
            ("http://h", NAMELESS),
            ("http://h/", NAMELESS),
            ("http://h?x=/y", NAMELESS),
            ("http://h/..", NAMELESS),
            ("http://h/%2e%2e", NAMELESS),
        ] {
            assert_eq!(url_file_name(url), name, "{url}");
        }
    }
}
