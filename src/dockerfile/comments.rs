//! The comments right above an instruction: descriptions of stages and arguments,
//! and `check=…` for that instruction alone.
//!
//! An empty line, or a comment without words, separates a comment from what
//! follows. Directives of the head of the file are no comments.

use super::{Dockerfile, Span, Spanned};

impl Dockerfile {
    /// The comments above what begins at `span`, the first line first, without
    /// their marks and outer blanks.
    pub fn comments_above(&self, span: Span) -> Vec<Spanned<&str>> {
        let (mut line_start, _) = self.source.line_at(span.start);
        let mut comments = Vec::new();
        while line_start > 0 {
            let (start, line) = self.source.line_at(line_start - 1);
            let text = line.trim_start_matches('\u{feff}').trim();
            let Some(comment) = text.strip_prefix('#').map(str::trim) else { break };
            let at = start + line.find(comment).unwrap_or_default();
            let span = Span::new(at, at + comment.len());
            let is_directive = self
                .directives
                .iter()
                .any(|directive| self.source.line_at(directive.key.span.start).0 == start);
            if comment.is_empty() || is_directive {
                break;
            }
            comments.push(Spanned::new(comment, span));
            line_start = start;
        }
        comments.reverse();
        comments
    }

    /// What the comments above `span` say about `name`: `# name what it is`.
    pub fn description_of(&self, name: &str, span: Span) -> Option<String> {
        let said = self.comments_above(span).into_iter().find_map(|comment| {
            comment.value.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned)
        });
        said.filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, parse};

    #[test]
    fn finds_the_comments_right_above() {
        let text = "# syntax=a\n# check=skip=b\n# base the first\nFROM a AS base\n\n# far\n\n  # one\n\
                    #two\nRUN <<EOF\n# body\nEOF\n# name\n#\nARG name\n# x\n";
        let (file, _) = parse(&Source::new("D", text));
        let above: Vec<Vec<&str>> = file
            .instructions
            .iter()
            .map(|i| file.comments_above(i.span).into_iter().map(|c| c.value).collect())
            .collect();
        assert_eq!(above, [vec!["base the first"], vec!["one", "two"], vec![]]);
        let from = file.instructions[0].span;
        assert_eq!(file.description_of("base", from).as_deref(), Some("the first"));
        assert_eq!(file.description_of("bas", from), None);
    }
}
