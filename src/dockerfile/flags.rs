//! The flags of an instruction, read against its table.

use super::{Diagnostic, Span, Spanned, Word};

/// The flags that an instruction has.
pub(super) struct Table {
    /// With a value, once.
    pub(super) text: &'static [&'static str],
    /// With a value, any number of times.
    pub(super) list: &'static [&'static str],
    /// On, off, or absent.
    pub(super) switch: &'static [&'static str],
}

const NONE: Table = Table { text: &[], list: &[], switch: &[] };

/// The table of an instruction, by its keyword in upper case.
pub(super) fn table(keyword: &str) -> Table {
    match keyword {
        "FROM" => Table { text: &["platform"], ..NONE },
        "RUN" => Table { text: &["network", "security"], list: &["mount", "device"], switch: &[] },
        "COPY" => Table {
            text: &["from", "chown", "chmod"],
            list: &["exclude"],
            switch: &["link", "parents"],
        },
        "ADD" => Table {
            text: &["chown", "chmod", "checksum"],
            list: &["exclude"],
            switch: &["link", "keep-git-dir", "unpack"],
        },
        "HEALTHCHECK" => Table {
            text: &["interval", "timeout", "start-period", "start-interval", "retries"],
            ..NONE
        },
        _ => NONE,
    }
}

/// The flags of one instruction.
#[derive(Default)]
pub(super) struct Flags {
    values: Vec<(&'static str, Word)>,
    switches: Vec<(&'static str, Spanned<bool>)>,
}

impl Flags {
    /// Reads `words` against the table of `keyword`.
    pub(super) fn read(keyword: &str, words: &[Word], diagnostics: &mut Vec<Diagnostic>) -> Self {
        let table = table(keyword);
        let mut flags = Self::default();
        for word in words {
            let body = word.value.trim_start_matches("--");
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let known = |names: &'static [&'static str]| names.iter().find(|n| **n == name);
            let mut fail =
                |message: String| diagnostics.push(Diagnostic::error(word.span, message));
            let given_twice = format!("--{name} is given twice");
            if let Some(name) = known(table.switch) {
                let on = match value {
                    None => true,
                    Some(value) if value.eq_ignore_ascii_case("true") => true,
                    Some(value) if value.eq_ignore_ascii_case("false") => false,
                    Some(other) => {
                        fail(format!("--{name} is true or false, not {other:?}"));
                        continue;
                    }
                };
                if flags.switches.iter().any(|(other, _)| other == name) {
                    fail(given_twice);
                    continue;
                }
                flags.switches.push((name, Spanned::new(on, word.span)));
            } else if let Some(name) = known(table.text).or_else(|| known(table.list)) {
                let Some(value) = value else {
                    fail(format!("--{name} has no value; write --{name}=…"));
                    continue;
                };
                if known(table.text).is_some()
                    && flags.values.iter().any(|(other, _)| other == name)
                {
                    fail(given_twice);
                    continue;
                }
                flags.values.push((name, Spanned::new(value.to_owned(), word.span)));
            } else {
                let names: Vec<String> = [table.text, table.list, table.switch]
                    .concat()
                    .iter()
                    .map(|name| format!("--{name}"))
                    .collect();
                let mut diagnostic =
                    Diagnostic::error(word.span, format!("{keyword} has no flag --{name}"));
                diagnostic = if names.is_empty() {
                    diagnostic.with_help(format!("{keyword} has no flags"))
                } else {
                    let wrong = format!("--{name}");
                    match super::nearest(&wrong, names.iter().map(String::as_str)) {
                        Some(name) => diagnostic.with_help(format!("did you mean {name}?")),
                        None => diagnostic.with_help(format!("it has {}", names.join(", "))),
                    }
                };
                diagnostics.push(diagnostic);
            }
        }
        flags
    }

    /// A flag with a value; an empty value counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<Word> {
        self.list(name).into_iter().find(|word| !word.value.is_empty())
    }

    /// All values of a flag.
    pub(super) fn list(&self, name: &str) -> Vec<Word> {
        let found = self.values.iter().filter(|(other, _)| *other == name);
        found.map(|(_, word)| word.clone()).collect()
    }

    /// A switch, if it is there.
    pub(super) fn switch(&self, name: &str) -> Option<Spanned<bool>> {
        self.switches.iter().find(|(other, _)| *other == name).map(|(_, on)| on.clone())
    }

    /// Where a switch stands that is on.
    pub(super) fn on(&self, name: &str) -> Option<Span> {
        self.switch(name).filter(|on| on.value).map(|on| on.span)
    }
}
