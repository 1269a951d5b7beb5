//! A scalar in the place of a scalar.

use super::apply::Splice;
use super::resolve::{File, Located};
use super::{EditError, Key, Problem, show};
use crate::yaml::{
    Content, Context, Node, Style, Value, is_safe_raw, is_string_for_all, line_end, quote,
};

const CORE: &str = "tag:yaml.org,2002:";

/// What is to be replaced so that the value at a path is `value`; nothing if it is already.
pub(super) fn set_scalar(
    file: &File<'_>,
    document: usize,
    path: &[Key],
    value: &Value,
) -> Result<Option<Splice>, EditError> {
    let found = file.locate(document, path)?;
    let context = context(file, &found);
    let written = |style: Style| match value {
        Value::Raw(raw) if is_safe_raw(raw, context) => Ok(raw.clone()),
        Value::Raw(raw) => Err(Problem::Raw { value: raw.clone() }),
        Value::Text(text) => Ok(quote(text, style, context)),
        Value::List(_) | Value::Map(_) => Err(not_scalar(found.node, path)),
    };
    let written = |style: Style| {
        written(style).map_err(|problem| file.error(found.node.outer().start, problem))
    };
    check_tag(file, found.node, path, value)?;
    match &found.node.content {
        Content::Alias { .. } => Ok(Some((found.node.span.clone(), written(Style::Plain)?))),
        Content::Scalar { .. } if is_already(found.node, value) => Ok(None),
        Content::Scalar { .. } if found.node.is_absent() => {
            absent(file, &found, path, &written(Style::Plain)?).map(Some)
        }
        Content::Scalar { style: style @ (Style::Literal | Style::Folded), .. } => {
            let inline = written(*style)?;
            Ok(Some(block_scalar(file, found.node, *style, value, &inline)))
        }
        Content::Scalar { style, .. } => Ok(Some((found.node.span.clone(), written(*style)?))),
        Content::Sequence { .. } | Content::Mapping { .. } => {
            Err(file.error(found.node.outer().start, not_scalar(found.node, path)))
        }
    }
}

/// What a scalar at this place stands in.
pub(super) fn context(file: &File<'_>, found: &Located<'_>) -> Context {
    match (file.json, found.in_flow()) {
        (true, _) => Context::Json,
        (false, true) => Context::Flow,
        (false, false) => Context::Block,
    }
}

fn not_scalar(node: &Node, path: &[Key]) -> Problem {
    let what = match node.content {
        Content::Mapping { .. } => "a mapping",
        _ => "a sequence",
    };
    Problem::NotScalar { path: show(path), what }
}

/// A tag stays, so the value must be one of its type.
pub(super) fn check_tag(
    file: &File<'_>,
    node: &Node,
    path: &[Key],
    value: &Value,
) -> Result<(), EditError> {
    let Some(tag) = &node.tag else { return Ok(()) };
    let fits = match (tag.name.strip_prefix(CORE), value) {
        (Some(kind), Value::Text(_)) => kind == "str",
        (Some(kind), Value::List(_)) => kind == "seq",
        (Some(kind), Value::Map(_)) => kind == "map",
        (Some(_), Value::Raw(_)) => false,
        (None, Value::Raw(_)) => tag.name != "!",
        (None, _) => true,
    };
    if fits {
        return Ok(());
    }
    let tag = (file.text[tag.span.clone()].to_owned(), tag.span.start);
    Err(file.error(tag.1, Problem::Tagged { path: show(path), tag: tag.0 }))
}

/// Whether a scalar is what is asked for, for all readers.
pub(super) fn is_already(node: &Node, value: &Value) -> bool {
    let Content::Scalar { value: old, style } = &node.content else { return false };
    match value {
        Value::Text(text) => {
            old == text && (*style != Style::Plain || node.tag.is_some() || is_string_for_all(old))
        }
        Value::Raw(text) => old == text && *style == Style::Plain && !node.is_absent(),
        Value::List(_) | Value::Map(_) => false,
    }
}

/// A value where there is none yet: `key:`, `-` or `{key}`.
pub(super) fn absent(
    file: &File<'_>,
    found: &Located<'_>,
    path: &[Key],
    written: &str,
) -> Result<Splice, EditError> {
    let at = found.node.span.start;
    let before = file.text[..at].chars().next_back();
    let properties = found.node.anchor.is_some() || found.node.tag.is_some();
    let colon = match (found.key, before) {
        (Some(_), Some(':')) | (None, _) => "",
        _ if properties => "",
        // A colon that touches an alias would be part of its name.
        (Some(key), _) if found.in_flow() && key.scalar().is_none() => " :",
        // Nor can it follow more than one line.
        (Some(key), _) if found.in_flow() && !key.is_absent() && !has_lines(file.text, key) => ":",
        _ => {
            let reason = "it is a key without a colon";
            let problem = Problem::Unsupported { path: show(path), reason };
            return Err(file.error(at, problem));
        }
    };
    // What follows may touch it: `[a:b]` is no pair, `{a: b#c}` no comment.
    let after = file.text[at..].chars().next();
    let space = if after.is_none_or(|c| c.is_whitespace() || ",]}".contains(c)) { "" } else { " " };
    Ok((at..at, format!("{colon} {written}{space}")))
}

fn has_lines(text: &str, node: &Node) -> bool {
    text[node.outer()].contains(['\n', '\r'])
}

/// A block scalar remains one if it can hold the value, else it becomes one on one line.
fn block_scalar(file: &File<'_>, node: &Node, style: Style, value: &Value, inline: &str) -> Splice {
    let (text, span) = (file.text, node.span.clone());
    let header_end = line_end(text, span.start).min(span.end);
    let header = &text[span.start..header_end];
    let word = header.find([' ', '\t']).unwrap_or(header.len());
    let (indicators, comment) = header.split_at(word);
    // With a number, the indentation is not what it looks like.
    let numbered = indicators.contains(|c: char| c.is_ascii_digit());
    let block = match value {
        Value::Text(value) if !numbered => block_lines(text, &span, header_end, style, value),
        _ => None,
    };
    match block {
        Some((indicators, lines)) => (span, format!("{indicators}{comment}{lines}")),
        None => (span, format!("{inline}{comment}")),
    }
}

/// The indicators and the lines, each behind its line break, of a block scalar.
fn block_lines(
    text: &str,
    span: &std::ops::Range<usize>,
    header_end: usize,
    style: Style,
    value: &str,
) -> Option<(String, String)> {
    let body = value.strip_suffix('\n').unwrap_or(value);
    let safe = |c: char| {
        c == '\n'
            || (c != '\t'
                && !c.is_control()
                && !"\u{85}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}".contains(c))
    };
    let odd = body.is_empty() || body.starts_with([' ', '\n']) || body.ends_with([' ', '\n']);
    // Without a line break behind it, the last line has none in its value either.
    let breaks = text[span.end..].trim_start_matches([' ', '\t']).starts_with(['\n', '\r']);
    let ends = body.len() < value.len();
    if odd || !value.chars().all(safe) || (ends && !breaks) {
        return None;
    }
    let newline = if text[header_end..].starts_with("\r\n") { "\r\n" } else { "\n" };
    let mut old = text[header_end..span.end].lines().filter(|line| !line.trim().is_empty());
    let indent = old.next().map(|line| line.len() - line.trim_start_matches(' ').len())?;
    if indent == 0 {
        return None;
    }
    // Folding would join lines.
    let kind = if style == Style::Folded && !body.contains('\n') { '>' } else { '|' };
    let chomp = if ends { "" } else { "-" };
    let mut lines = String::new();
    for line in body.split('\n') {
        lines.push_str(newline);
        if !line.is_empty() {
            lines.extend(std::iter::repeat_n(' ', indent));
            lines.push_str(line);
        }
    }
    Some((format!("{kind}{chomp}"), lines))
}

#[cfg(test)]
mod tests {
    use crate::gitops::splice::{Change, PathExpr, apply, select};
    use crate::yaml::{Value, parse};

    fn set(text: &str, path: &str, value: Value) -> Result<String, String> {
        let stream = parse(text).map_err(|error| error.to_string())?;
        let path = PathExpr::parse(path).unwrap();
        let targets = select(text, &stream, &path, false).map_err(|error| error.to_string())?;
        let change = Change::set(targets[0].document, targets[0].path.clone(), value);
        apply(text, &[change]).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_scalar_changes() {
        let table = [
            ("a: b # c\r\nd: e", "a", "x", "a: x # c\r\nd: e"),
            ("\u{feff}a: 'b'\n", "a", "x", "\u{feff}a: 'x'\n"),
            ("a: \"b\"", "a", "x", "a: \"x\""),
            ("a: b\n", "a", "1.10", "a: \"1.10\"\n"),
            ("a: 1.10\n", "a", "1.10", "a: \"1.10\"\n"),
            ("a: '1.10'\n", "a", "1.10", "a: '1.10'\n"),
            ("a: 'b'\n", "a", "x\ny", "a: \"x\\ny\"\n"),
            ("a:   b   \n", "a", "yes", "a:   \"yes\"   \n"),
            ("a:\nb:\n", "a", "x", "a: x\nb:\n"),
            ("a: # c\n", "a", "x", "a: x # c\n"),
            ("a: &y # c\n", "a", "x", "a: &y x # c\n"),
            ("-\n- b\n", "[0]", "x", "- x\n- b\n"),
            ("{a, b}", "a", "x", "{a: x, b}"),
            ("{a: , b: }", "b", "x,y", "{a: , b: \"x,y\" }"),
            ("{\"a\":}", "a", "x", "{\"a\": x}"),
            ("[a,'b' , c]", "[1]", "x", "[a,'x' , c]"),
            ("{\"a\": 1,\n\t\"b\": [true]}\n", "b[0]", "x", "{\"a\": 1,\n\t\"b\": [\"x\"]}\n"),
            ("a: one\n  two # c\n", "a", "x", "a: x # c\n"),
            ("a: |  # c\n  one\n  two\n\nb: 1\n", "a", "x\ny\n", "a: |  # c\n  x\n  y\n\nb: 1\n"),
            ("a: >-\r\n   one\r\nb: 1\r\n", "a", "x", "a: >-\r\n   x\r\nb: 1\r\n"),
            ("a: >\n  one\n", "a", "x\n\ny\n", "a: |\n  x\n\n  y\n"),
            ("a: | # c\n  one\nb: 1\n", "a", "", "a: \"\" # c\nb: 1\n"),
            ("a: |2-\n  one\nb: 1\n", "a", "x", "a: \"x\"\nb: 1\n"),
            ("a: |\n  one", "a", "x\n", "a: \"x\\n\""),
            (
                "%YAML 1.2\n---\na: b\n...\n---\nc: d\n...\n",
                "@1:c",
                "x",
                "%YAML 1.2\n---\na: b\n...\n---\nc: x\n...\n",
            ),
            ("a: !!str 12\n", "a", "13", "a: !!str \"13\"\n"),
            ("a: &b 1\nc: *b\n", "c", "x", "a: &b 1\nc: x\n"),
            ("a: &b 1\n", "a", "x", "a: &b x\n"),
        ];
        for (text, path, value, expected) in table {
            assert_eq!(set(text, path, Value::text(value)).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn raw_values_are_written_as_they_stand() {
        let raw = |text: &str| Value::Raw(text.to_owned());
        assert_eq!(set("a: \"2\"\n", "a", raw("2")).as_deref(), Ok("a: 2\n"));
        assert_eq!(set("{\"a\":\"2\"}", "a", raw("true")).as_deref(), Ok("{\"a\":true}"));
        assert_eq!(set("a: 2\n", "a", raw("2")).as_deref(), Ok("a: 2\n"));
        let error = set("a: 2\n", "a", raw("2 # x")).unwrap_err();
        assert_eq!(
            error,
            "1:4: `2 # x` cannot be written as it stands: it is not one plain value here"
        );
    }

    #[test]
    fn what_would_change_more_is_refused() {
        let table = [
            (
                "a: &b 1\nc: *b\n",
                "a",
                "1:4: `a` has the anchor `&b`, which is used at 2:4 too: a change here would be one there",
            ),
            (
                "a: &b\n  k: 1\nc: {<<: *b}\n",
                "a.k",
                "1:4: `a` has the anchor `&b`, which is used at 3:9 too: a change here would be one there",
            ),
            (
                "a: {k: 1, k: 2}\n",
                "a.k",
                "1:11: `a.k` is there twice; readers differ in which one counts",
            ),
            ("a: {k: 1}\n", "a", "1:4: `a` is a mapping, not a single value"),
            (
                "a: !!int 12\n",
                "a",
                "1:4: `a` has the tag `!!int`, which the new value would have too",
            ),
            ("? a\n", "a", "1:4: `a` cannot be changed: it is a key without a colon"),
            ("{<<: {k: 1}}", "[\"<<\"].k", "1:2: `<<` cannot be changed: it is a merge key"),
            ("a: {{ .Values.x }}: y\n  - z", "a", ""),
        ];
        for (text, path, expected) in table {
            let error = set(text, path, Value::text("x")).unwrap_err();
            assert!(error == expected || expected.is_empty(), "{text:?}: {error}");
        }
    }
}
