//! `.dockerignore` files, and the patterns of `COPY --exclude`.
//!
//! A line is a pattern, from the root of the context; `#` in the first column
//! makes it a comment, `!` an exception. The last pattern that matches a path
//! or one of its parents decides. `**` stands for any number of directories.

use super::PatternError;
use super::pattern::{Token, matches, tokens};

/// Which paths of a build context are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    exception: bool,
    /// The line, from 1, and what it says.
    line: usize,
    text: String,
    tokens: Vec<Token>,
    /// The components, for the question what may lie below a directory.
    components: Vec<String>,
}

/// A line that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// `!` without a pattern.
    #[error("line {line}: '!' without a pattern")]
    LoneException {
        /// The line, from 1.
        line: usize,
    },
    /// A malformed pattern.
    #[error("line {line}: {source}")]
    Pattern {
        /// The line, from 1.
        line: usize,
        /// Why.
        source: PatternError,
    },
}

impl IgnoreError {
    /// What is wrong, without the line: a flag has none.
    pub fn problem(&self) -> String {
        match self {
            Self::LoneException { .. } => "'!' without a pattern".to_owned(),
            Self::Pattern { source, .. } => source.to_string(),
        }
    }
}

impl Ignore {
    /// Reads the text of a `.dockerignore` file.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        Self::of(lines.map(|(index, line)| (index + 1, line)))
    }

    /// Reads patterns one by one, as of `--exclude`; a `#` has no meaning here, and
    /// a pattern that begins with `/` matches nothing. In an error, `line` is the
    /// number of the pattern.
    pub fn from_patterns<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, IgnoreError> {
        let rooted = |text: &str| text.trim_start_matches(['!', ' ', '\t']).starts_with('/');
        let patterns = patterns.into_iter().enumerate().filter(|(_, pattern)| !rooted(pattern));
        Self::of(patterns.map(|(index, pattern)| (index + 1, pattern)))
    }

    fn of<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (line, text) in lines {
            let text = text.trim();
            let whole = text.to_owned();
            let (exception, text) = match text.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, text),
            };
            if text.is_empty() {
                if exception {
                    return Err(IgnoreError::LoneException { line });
                }
                continue;
            }
            let clean = clean(text);
            // The root itself cannot be left out; as an exception it is nothing at all.
            if clean.is_empty() {
                if exception && text.starts_with('/') {
                    return Err(IgnoreError::LoneException { line });
                }
                continue;
            }
            let tokens =
                tokens(&clean, true).map_err(|source| IgnoreError::Pattern { line, source })?;
            let components = clean.split('/').map(str::to_owned).collect();
            rules.push(Rule { exception, line, text: whole, tokens, components });
        }
        Ok(Self { rules })
    }

    /// Whether nothing is ever left out.
    pub fn is_empty(&self) -> bool {
        self.rules.iter().all(|rule| rule.exception)
    }

    /// Whether `path`, relative and with `/`, is left out.
    pub fn matches(&self, path: &str) -> bool {
        self.deciding(path).is_some_and(|rule| !rule.exception)
    }

    /// The line, from 1, that leaves `path` out, and what it says.
    pub fn reason(&self, path: &str) -> Option<(usize, &str)> {
        let rule = self.deciding(path).filter(|rule| !rule.exception)?;
        Some((rule.line, &rule.text))
    }

    fn deciding(&self, path: &str) -> Option<&Rule> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let above: Vec<&str> = ends.map(|end| &path[..end]).collect();
        self.rules.iter().rev().find(|rule| above.iter().any(|path| matches(&rule.tokens, path)))
    }

    /// Whether a source of COPY, as written, finds nothing for sure: it is left
    /// out, and no exception may lie below it or match its wildcards.
    pub fn surely_excludes(&self, source: &str) -> bool {
        let path = clean(source);
        let has_exceptions = self.rules.iter().any(|rule| rule.exception);
        if path.is_empty() {
            let all =
                |rule: &Rule| matches!(rule.components.join("/").as_str(), "*" | "**" | "**/*");
            return !has_exceptions && self.rules.iter().any(all);
        }
        let has_wildcard = super::has_wildcard(&path);
        self.matches(&path) && !(has_wildcard && has_exceptions) && !self.may_hold_exceptions(&path)
    }

    /// Whether something below the directory `dir` may be kept although `dir`
    /// is left out. If not, a walk need not enter it.
    pub fn may_hold_exceptions(&self, dir: &str) -> bool {
        self.rules.iter().any(|rule| rule.exception && may_reach_below(&rule.components, dir))
    }
}

/// Whether a pattern of `components` may match something below `dir`; when in
/// doubt, yes.
fn may_reach_below(components: &[String], dir: &str) -> bool {
    for (component, name) in components.iter().zip(dir.split('/')) {
        // A class may match a '/': then this is no component at all.
        if component.contains("**") || component.contains('[') {
            return true;
        }
        match tokens(component, false) {
            Ok(tokens) if !matches(&tokens, name) => return false,
            Err(_) => return true,
            Ok(_) => {}
        }
    }
    true
}

/// The path without `.`, double and outer slashes, and `..` resolved; a `..`
/// that leads out of the context stays and so matches nothing, unless the path
/// began with a slash: above the root is the root.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_docker_does() {
        for (text, path, expected) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "ab", false),
            ("a", "x/a", false),
            ("/a", "a", true),
            ("a/", "a/b", true),
            ("./a", "a", true),
            ("a//b", "a/b", true),
            ("a/../b", "b", true),
            ("../b", "b", false),
            ("*", "a/b/c", true),
            ("*.md", "a.md", true),
            ("*.md", "x/a.md", false),
            ("*/*.md", "x/a.md", true),
            ("*/*.md", "a.md", false),
            ("**/*.md", "a.md", true),
            ("**/*.md", "x/y/a.md", true),
            ("**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/node_modules", "x/node_modules/y/z", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c].txt", "b.txt", true),
            ("[^a-c].txt", "b.txt", false),
            ("a.c", "abc", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            // Comments, blanks, the root.
            ("#a", "#a", false),
            (" #a", "#a", true),
            ("  a  ", "a", true),
            ("\u{feff}a", "a", true),
            ("a\r\nb\r\n", "b", true),
            (".", "a", false),
            ("/", "a", false),
            ("", "a", false),
            // Exceptions: the last match decides.
            ("*\n!a", "a", false),
            ("*\n!a", "a/b", false),
            ("*\n!a", "b", true),
            ("!a\n*", "a", true),
            ("a\n!a/b", "a/b", false),
            ("a\n!a/b", "a/c", true),
            ("a\n!a/b\na/b/c", "a/b/c", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", false),
            ("*\n! a", "a", false),
            ("**\n!**/*.go", "x/y.go", false),
        ] {
            assert_eq!(Ignore::parse(text).unwrap().matches(path), expected, "{text:?} {path}");
        }
    }

    #[test]
    fn knows_where_exceptions_may_be() {
        for (text, dir, expected) in [
            ("*", "a", false),
            ("*\n!a/b/c", "a", true),
            ("*\n!a/b/c", "a/b", true),
            ("*\n!a/b/c", "a/x", false),
            ("*\n!a/b/c", "x", false),
            ("*\n!*.go", "src", false),
            ("*\n!*/*.go", "src", true),
            ("*\n!**/*.go", "src/deep", true),
            ("*\n!a", "a/b", true),
            ("*\n!s?c/x", "src", true),
        ] {
            assert_eq!(
                Ignore::parse(text).unwrap().may_hold_exceptions(dir),
                expected,
                "{text:?} {dir}"
            );
        }
    }

    #[test]
    fn knows_sources_that_are_left_out_for_sure() {
        for (text, source, expected) in [
            ("Dockerfile", "Dockerfile", true),
            ("Dockerfile", "./Dockerfile", true),
            ("Dockerfile", "/Dockerfile", true),
            ("foobar", "Dockerfile", false),
            ("docs", "docs/a.md", true),
            ("docs", "docs/*", true),
            ("*.md", "*.md", true),
            ("*/tmp/*", "x/tmp/a", true),
            ("docs\n!docs/keep", "docs", false),
            ("docs\n!docs/keep", "docs/keep", false),
            ("docs\n!docs/keep", "docs/other", true),
            ("docs\n!src", "docs", true),
            ("*\n!*/keep", "docs", false),
            ("*.md\n!README.md", "*.md", false),
            ("*", ".", true),
            ("**", "/", true),
            ("**/*", "", true),
            ("*.md", ".", false),
            ("*\n!a", ".", false),
        ] {
            assert_eq!(
                Ignore::parse(text).unwrap().surely_excludes(source),
                expected,
                "{text:?} {source}"
            );
        }
    }

    #[test]
    fn names_the_line_that_decides() {
        let ignore = Ignore::parse("# none\n*.md\n!a.md\n  sub/ \n").unwrap();
        assert_eq!(ignore.reason("b.md"), Some((2, "*.md")));
        assert_eq!(ignore.reason("sub/a"), Some((4, "sub/")));
        assert_eq!(ignore.reason("a.md"), None);
        assert_eq!(ignore.reason("c"), None);
    }

    #[test]
    fn names_the_line_of_a_mistake() {
        assert_eq!(Ignore::parse("a\n!\n"), Err(IgnoreError::LoneException { line: 2 }));
        let error = Ignore::parse("# c\na[").unwrap_err();
        assert!(error.to_string().starts_with("line 2: malformed pattern \"a[\""), "{error}");
    }

    #[test]
    fn patterns_of_exclude_know_no_comments_and_no_root() {
        assert!(Ignore::from_patterns(["#a"]).unwrap().matches("#a"));
        assert!(!Ignore::from_patterns(["/a"]).unwrap().matches("a"));
        assert!(Ignore::from_patterns(["a", "!/a"]).unwrap().matches("a"));
    }
}
