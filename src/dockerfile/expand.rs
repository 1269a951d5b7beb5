//! Word expansion: variables, quotes and the escape character.
//!
//! The rules are `BuildKit`'s, which are a part of the shell's: `$v`, `${v}`,
//! defaults (`-`, `:-`), alternatives (`+`, `:+`), requirements (`?`, `:?`),
//! trimmed prefixes and suffixes (`#`, `##`, `%`, `%%`) and replacements (`/`,
//! `//`). Globs are not expanded and commands not run. The same scanner finds
//! the heredoc words of a line, with everything left as written.

use std::collections::BTreeSet;

use super::substitute::{replace, trim};

/// Nesting of `${…${…}…}` that is accepted; deeper is a mistake or an attack
/// on the stack.
const MAX_DEPTH: usize = 64;

/// How many bytes values may add to what is written: 1 MiB, eight times what
/// Linux takes as one string of an environment. Without a bound `B=$A$A`,
/// `C=$B$B` and so on fill the memory within thirty lines.
const MAX_GROWTH: usize = 1 << 20;

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// `${v` without an end.
    #[error("missing '}}' of a substitution")]
    MissingBrace,
    /// `${}`, `${:x}`, `${{x}`.
    #[error("bad substitution: a variable name must follow \"${{\"")]
    BadSubstitution,
    /// `${v/p}`.
    #[error("missing second '/' in ${{name/pattern/replacement}}")]
    MissingSlash,
    /// `${v:#p}`, `${v^}`.
    #[error("unsupported modifier {0:?} in a substitution")]
    UnsupportedModifier(String),
    /// A quote without its pair.
    #[error("missing closing quote {0}")]
    UnclosedQuote(char),
    /// `${v:?message}` of an unset variable.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message of the file's author, or a default one.
        message: String,
    },
    /// A backslash in a pattern before a character that has no special meaning.
    #[error("invalid escape in pattern {0:?}: only '*', '?', '\\', '/' and '}}' can be escaped")]
    InvalidPattern(String),
    /// Too many substitutions within one another.
    #[error("substitutions are nested too deeply")]
    TooDeep,
    /// The values are longer than any use of them could be.
    #[error("the variables make the text longer by more than {MAX_GROWTH} bytes")]
    TooLong,
    /// Trying the pattern everywhere in the value would take too long.
    #[error("the pattern {0:?} takes too long on a value of this length")]
    TooSlow(String),
}

/// An expanded word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The text.
    pub text: String,
    /// The text split at unquoted blanks, where a list of words is wanted.
    pub words: Vec<String>,
    /// Variables without a value that were asked for, with or without an alternative.
    pub unset: BTreeSet<String>,
}

/// The value of a variable, if it has one.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands `word`; `escape` is the escape character of the file.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<Expansion, ExpandError> {
    Scanner::new(word, Options { escape, ..Options::default() }, lookup).run()
}

/// Expands the body of a heredoc of COPY or ADD: quotes are text, and the
/// escape character is always the backslash.
pub fn expand_heredoc(body: &str, lookup: Lookup<'_>) -> Result<Expansion, ExpandError> {
    Scanner::new(body, Options { plain_quotes: true, ..Options::default() }, lookup).run()
}

/// Splits a line into shell words with quotes, escapes and variables left in,
/// and `<< WORD` as one word; a line with an open quote gives no words.
pub(super) fn shell_words(line: &str) -> Vec<String> {
    let options = Options { keep_all: true, keep_escapes: true, ..Options::default() };
    Scanner::new(line, options, &|_| None).run().map_or_else(|_| Vec::new(), |done| done.words)
}

/// The word after `<<`, without quotes and with variables left in: its words.
pub(super) fn heredoc_names(text: &str) -> Vec<String> {
    let options = Options { keep_unset: true, ..Options::default() };
    Scanner::new(text, options, &|_| None).run().map_or_else(|_| Vec::new(), |done| done.words)
}

#[derive(Clone, Copy)]
struct Options {
    escape: char,
    /// Quotes are characters like others.
    plain_quotes: bool,
    /// Quotes and unset variables stay as written, `<<` joins the next word.
    keep_all: bool,
    keep_unset: bool,
    keep_escapes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            escape: '\\',
            plain_quotes: false,
            keep_all: false,
            keep_unset: false,
            keep_escapes: false,
        }
    }
}

struct Scanner<'a> {
    rest: std::str::Chars<'a>,
    options: Options,
    lookup: Lookup<'a>,
    unset: BTreeSet<String>,
    depth: usize,
    /// The bytes that values have added.
    grown: usize,
}

#[derive(Default)]
struct Split {
    word: String,
    words: Vec<String>,
    in_word: bool,
}

impl Split {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.push_quoted(c);
        } else if self.in_word && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    fn push_quoted(&mut self, c: char) {
        self.word.push(c);
        self.in_word = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, options: Options, lookup: Lookup<'a>) -> Self {
        Self { rest: text.chars(), options, lookup, unset: BTreeSet::new(), depth: 0, grown: 0 }
    }

    fn run(mut self) -> Result<Expansion, ExpandError> {
        let (text, words) = self.until(None)?;
        Ok(Expansion { text, words, unset: self.unset })
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    /// Expands up to `stop`, which is consumed, or to the end of the text.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let mut text = String::new();
        let mut split = Split::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.rest.next();
                self.depth -= 1;
                return Ok((text, split.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    value.chars().for_each(|c| split.push(c));
                }
                '\'' | '"' if !self.options.plain_quotes => {
                    let value = if c == '"' { self.double_quote()? } else { self.single_quote()? };
                    text.push_str(&value);
                    split.word.push_str(&value);
                    split.in_word = true;
                }
                '<' if self.options.keep_all => {
                    let value = self.heredoc_mark();
                    text.push_str(&value);
                    split.word.push_str(&value);
                    split.in_word = true;
                }
                _ => {
                    self.rest.next();
                    if c == self.options.escape {
                        if self.options.keep_escapes {
                            split.push_quoted(c);
                            text.push(c);
                        }
                        if let Some(escaped) = self.rest.next() {
                            split.push_quoted(escaped);
                            text.push(escaped);
                        }
                    } else {
                        split.push(c);
                        text.push(c);
                    }
                }
            }
        }
        self.depth -= 1;
        match stop {
            None => Ok((text, split.finish())),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::MissingBrace),
        }
    }

    /// `<<` and the blanks after it, or a lone `<`.
    fn heredoc_mark(&mut self) -> String {
        self.rest.next();
        let mut mark = String::from("<");
        if self.peek() == Some('<') {
            mark.push('<');
            self.rest.next();
            while let Some(blank) = self.peek().filter(|c| matches!(c, ' ' | '\t' | '\r')) {
                mark.push(blank);
                self.rest.next();
            }
        }
        mark
    }

    fn single_quote(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        let mut text = String::new();
        for c in self.rest.by_ref() {
            if c == '\'' {
                return Ok(if self.options.keep_all { format!("'{text}'") } else { text });
            }
            text.push(c);
        }
        Err(ExpandError::UnclosedQuote('\''))
    }

    fn double_quote(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.rest.next();
                    return Ok(if self.options.keep_all { format!("\"{text}\"") } else { text });
                }
                '$' => text.push_str(&self.dollar()?),
                c if c == self.options.escape => {
                    self.rest.next();
                    if self.options.keep_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if matches!(next, '"' | '$') || next == self.options.escape => {
                            text.push(next);
                            self.rest.next();
                        }
                        // A backslash before any other character is itself; with
                        // escapes kept it is in the text already.
                        Some(_) if self.options.keep_escapes => {}
                        Some(_) => text.push(c),
                    }
                }
                c => {
                    text.push(c);
                    self.rest.next();
                }
            }
        }
        Err(ExpandError::UnclosedQuote('"'))
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_none() {
            self.unset.insert(name.to_owned());
        }
        value
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        let value = self.substitution()?;
        // What is only taken apart stays as long as it is written.
        if !self.options.keep_all && !self.options.keep_unset {
            self.grown += value.len();
            if self.grown > MAX_GROWTH {
                return Err(ExpandError::TooLong);
            }
        }
        Ok(value)
    }

    fn substitution(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        let keep = self.options.keep_all || self.options.keep_unset;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.get(&name) {
                Some(value) => value,
                None if keep => format!("${name}"),
                None => String::new(),
            });
        }
        self.rest.next();
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(first) = self.rest.next() else { return Err(ExpandError::MissingBrace) };
        match first {
            '}' => Ok(match self.get(&name) {
                Some(value) => value,
                None if keep => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => {
                let Some(second) = self.rest.next() else { return Err(ExpandError::MissingBrace) };
                match second {
                    '-' | '+' | '?' => self.conditional(&name, second, true),
                    other => Err(ExpandError::UnsupportedModifier(format!(":{other}"))),
                }
            }
            '-' | '+' | '?' => self.conditional(&name, first, false),
            '#' | '%' => {
                let pattern = self.pattern_until('}')?;
                let value = self.get(&name);
                if keep && value.is_none() {
                    return Ok(format!("${{{name}{first}{pattern}}}"));
                }
                trim(&value.unwrap_or_default(), &pattern, first)
            }
            '/' => {
                let all = self.peek() == Some('/');
                if all {
                    self.rest.next();
                }
                let pattern = self.pattern_until('/')?;
                let replacement = self.pattern_until('}')?;
                let value = self.get(&name);
                if keep && value.is_none() {
                    let slash = if all { "//" } else { "/" };
                    return Ok(format!("${{{name}{slash}{pattern}/{replacement}}}"));
                }
                replace(&value.unwrap_or_default(), &pattern, &replacement, all, MAX_GROWTH)
            }
            other => Err(ExpandError::UnsupportedModifier(other.to_string())),
        }
    }

    fn conditional(
        &mut self,
        name: &str,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpandError> {
        let (word, _) = self.until(Some('}'))?;
        let value = self.get(name);
        if (self.options.keep_all || self.options.keep_unset) && value.is_none() {
            let colon = if empty_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let was_set = value.is_some();
        let value = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (modifier, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let default = if was_set { "must not be empty" } else { "must be set" };
                let message = if word.is_empty() { default.to_owned() } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
        }
    }

    /// A pattern or a replacement: its escapes are left to the matcher.
    fn pattern_until(&mut self, stop: char) -> Result<String, ExpandError> {
        let before = std::mem::replace(&mut self.options.keep_escapes, true);
        let result = self.until(Some(stop));
        self.options.keep_escapes = before;
        Ok(result?.0)
    }

    /// A name: letters, digits and `_`; or digits only; or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                    name.push(c);
                    self.rest.next();
                }
            }
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                name.push(c);
                self.rest.next();
            }
            _ => {
                while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.rest.next();
                }
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(name: &str) -> Option<String> {
        Some(
            match name {
                "A" => "hello",
                "EMPTY" => "",
                "PATH" => "/usr/bin:/bin",
                "FILE" => "archive.tar.gz",
                "STARS" => "a*b?c",
                "LIST" => "one two  three",
                "é" => "accent",
                "1" => "first",
                _ => return None,
            }
            .to_owned(),
        )
    }

    #[test]
    fn refuses() {
        let modifier = |text: &str| ExpandError::UnsupportedModifier(text.into());
        let required = |name: &str, message: &str| ExpandError::Required {
            name: name.into(),
            message: message.into(),
        };
        for (word, expected) in [
            ("${}", ExpandError::BadSubstitution),
            ("${:x}", ExpandError::BadSubstitution),
            ("${{x}", ExpandError::BadSubstitution),
            ("${", ExpandError::MissingBrace),
            ("${A", ExpandError::MissingBrace),
            ("${A:", ExpandError::MissingBrace),
            ("${A:-x", ExpandError::MissingBrace),
            ("${A#x", ExpandError::MissingBrace),
            ("${A/x/y", ExpandError::MissingBrace),
            ("${A:#p}", modifier(":#")),
            ("${A:}", modifier(":}")),
            ("${A:1:2}", modifier(":1")),
            ("${A^}", modifier("^")),
            ("${ A}", modifier(" ")),
            ("${A/x}", ExpandError::MissingSlash),
            ("${A//x}", ExpandError::MissingSlash),
            ("'a", ExpandError::UnclosedQuote('\'')),
            ("\"a", ExpandError::UnclosedQuote('"')),
            ("${NONE?}", required("NONE", "must be set")),
            ("${NONE:?}", required("NONE", "must be set")),
            ("${EMPTY:?}", required("EMPTY", "must not be empty")),
            ("${NONE:?give me $A}", required("NONE", "give me hello")),
            ("${A#\\x}", ExpandError::InvalidPattern("\\x".into())),
        ] {
            assert_eq!(expand(word, '\\', &value), Err(expected), "{word}");
        }
        let deep = "${a:-".repeat(5000);
        assert_eq!(expand(&deep, '\\', &value), Err(ExpandError::TooDeep));
    }

    #[test]
    fn results_are_bounded() {
        let long = |name: &str| (name == "L").then(|| "a".repeat(300_000));
        assert_eq!(expand("$L$L$L", '\\', &long).map(|e| e.text.len()), Ok(900_000));
        assert_eq!(expand("$L$L$L$L", '\\', &long), Err(ExpandError::TooLong));
        assert_eq!(expand("${L//a/bcdef}", '\\', &long), Err(ExpandError::TooLong));
        let slow = format!("${{L//{}*b/}}", "a".repeat(1000));
        let pattern = format!("{}*b", "a".repeat(1000));
        assert_eq!(expand(&slow, '\\', &long), Err(ExpandError::TooSlow(pattern)));
        let written = "a".repeat(2 << 20);
        assert_eq!(expand(&written, '\\', &long).map(|e| e.text.len()), Ok(2 << 20));
    }

    #[test]
    fn the_escape_character_is_the_files() {
        for (word, expected) in
            [("`$A", "$A"), ("C:\\$A", "C:\\hello"), ("\"`\"\"", "\""), ("``", "`")]
        {
            assert_eq!(expand(word, '`', &value).map(|e| e.text), Ok(expected.into()), "{word}");
        }
    }

    #[test]
    fn splits_at_unquoted_blanks_also_of_values() {
        for (word, expected) in [
            ("a b", vec!["a", "b"]),
            ("$LIST", vec!["one", "two", "three"]),
            ("\"$LIST\"", vec!["one two  three"]),
            ("x$LIST", vec!["xone", "two", "three"]),
            ("'a b' c\\ d", vec!["a b", "c d"]),
            ("$EMPTY", vec![]),
            ("  a  ", vec!["a"]),
        ] {
            assert_eq!(expand(word, '\\', &value).unwrap().words, expected, "{word}");
        }
    }

    #[test]
    fn reports_unset_variables_with_and_without_an_alternative() {
        let done = expand("$NONE ${OTHER} ${D:-x} ${Q#x} $A ${A:-$E}", '\\', &value).unwrap();
        assert_eq!(done.unset.into_iter().collect::<Vec<_>>(), ["D", "E", "NONE", "OTHER", "Q"]);
    }

    #[test]
    fn heredoc_bodies_keep_their_quotes() {
        let done = expand_heredoc("say \"$A\" 'x' \\$A it's\n", &value).unwrap();
        assert_eq!(done.text, "say \"hello\" 'x' $A it's\n");
    }

    #[test]
    fn splits_a_line_as_written() {
        for (line, expected) in [
            ("RUN cat <<EOF > /x", vec!["RUN", "cat", "<<EOF", ">", "/x"]),
            ("RUN <<  EOF x", vec!["RUN", "<<  EOF", "x"]),
            ("RUN 3<<-'A B' \"$x\"", vec!["RUN", "3<<-'A B'", "\"$x\""]),
            ("RUN a\\ b ${x:-y}", vec!["RUN", "a\\ b", "${x:-y}"]),
            ("RUN 'open", vec![]),
        ] {
            assert_eq!(shell_words(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(word in "\\PC{0,40}", escape in prop::sample::select(vec!['\\', '`'])) {
            let _ = expand(&word, escape, &value);
            let _ = expand_heredoc(&word, &value);
            let _ = shell_words(&word);
        }

        #[test]
        fn never_panics_on_syntax(parts in prop::collection::vec(prop::sample::select(vec![
            "$", "{", "}", "A", "EMPTY", "NONE", ":", "-", "+", "?", "#", "%", "/", "\\", "'", "\"", "*", " ", "é", "<",
        ]), 0..24)) {
            let word = parts.concat();
            let _ = expand(&word, '\\', &value);
            let _ = shell_words(&word);
        }
    }
}
