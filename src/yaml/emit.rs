//! New collections in the layout of the file that they are for.

use std::collections::HashMap;

use super::spans::line_start;
use super::{Content, Context, Node, Stream, Style, Value, is_string_for_all, quote};

/// How a file is laid out: what most of its collections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The line break.
    pub newline: &'static str,
    /// How far a mapping is indented in a mapping.
    pub step: usize,
    /// How far the dashes of a sequence are indented in a mapping.
    pub sequence: usize,
    /// How far what follows a dash is from it.
    pub dash: usize,
    /// The quotes of strings that need none.
    pub quotes: Style,
}

impl Layout {
    /// The layout of a file, of what is near `near` the quotes.
    pub fn of(text: &str, stream: &Stream, near: &Node) -> Self {
        let crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
        let mut seen = Seen::default();
        for root in stream.documents.iter().filter_map(|document| document.root.as_ref()) {
            seen.collect(text, root);
        }
        Self {
            newline: if crlf { "\r\n" } else { "\n" },
            step: most(&seen.steps).unwrap_or(2),
            sequence: most(&seen.sequences).unwrap_or(0),
            dash: most(&seen.dashes).unwrap_or(2),
            quotes: quotes(near),
        }
    }

    /// What follows `key:` in a block mapping whose keys are `indent` from the left.
    pub fn behind_key(&self, value: &Value, indent: usize) -> String {
        match value {
            Value::Map(pairs) if !pairs.is_empty() => {
                format!("{}{}", self.newline, self.lines(value, indent + self.step))
            }
            Value::List(items) if !items.is_empty() => {
                format!("{}{}", self.newline, self.lines(value, indent + self.sequence))
            }
            _ => format!(" {}", self.inline(value, Context::Block)),
        }
    }

    /// What follows `-` in a block sequence whose dashes are `indent` from the left.
    pub fn behind_dash(&self, value: &Value, indent: usize) -> String {
        let space = " ".repeat(self.dash.max(2) - 1);
        match value {
            Value::Map(pairs) if pairs.is_empty() => format!("{space}{{}}"),
            Value::List(items) if items.is_empty() => format!("{space}[]"),
            Value::Map(_) | Value::List(_) => {
                let lines = self.lines(value, indent + space.len() + 1);
                format!("{space}{}", lines.trim_start_matches(' '))
            }
            Value::Text(_) | Value::Raw(_) => {
                format!("{space}{}", self.inline(value, Context::Block))
            }
        }
    }

    /// A collection that is not empty, as lines that are `indent` from the left.
    pub fn lines(&self, value: &Value, indent: usize) -> String {
        let margin = " ".repeat(indent);
        let lines: Vec<String> = match value {
            Value::Map(pairs) => pairs
                .iter()
                .map(|(key, value)| {
                    let key = quote(key, Style::Plain, Context::Block);
                    format!("{margin}{key}:{}", self.behind_key(value, indent))
                })
                .collect(),
            Value::List(items) => items
                .iter()
                .map(|item| format!("{margin}-{}", self.behind_dash(item, indent)))
                .collect(),
            Value::Text(_) | Value::Raw(_) => {
                vec![format!("{margin}{}", self.inline(value, Context::Block))]
            }
        };
        lines.join(self.newline)
    }

    /// A value on one line; collections in brackets.
    pub fn inline(&self, value: &Value, context: Context) -> String {
        // What is in brackets is in brackets, wherever these are.
        let inside = if context == Context::Block { Context::Flow } else { context };
        match value {
            Value::Text(text) => quote(text, self.quotes, context),
            Value::Raw(text) => text.clone(),
            Value::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| self.inline(item, inside)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| {
                        let key = quote(key, Style::Plain, inside);
                        format!("{key}: {}", self.inline(value, inside))
                    })
                    .collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// How many characters are in front of a byte on its line.
pub fn column(text: &str, at: usize) -> usize {
    text[line_start(text, at)..at].chars().count()
}

/// How often each distance is there.
#[derive(Default)]
struct Seen {
    steps: HashMap<usize, usize>,
    sequences: HashMap<usize, usize>,
    dashes: HashMap<usize, usize>,
}

impl Seen {
    fn collect(&mut self, text: &str, node: &Node) {
        match &node.content {
            Content::Mapping { pairs, flow: false } => {
                let here = column(text, node.span.start);
                for (_, value) in pairs {
                    self.collect(text, value);
                    let distance = || column(text, value.span.start).saturating_sub(here);
                    match value.content {
                        Content::Mapping { flow: false, .. } => {
                            *self.steps.entry(distance().max(1)).or_default() += 1;
                        }
                        Content::Sequence { flow: false, .. } => {
                            *self.sequences.entry(distance()).or_default() += 1;
                        }
                        _ => {}
                    }
                }
            }
            Content::Sequence { items, flow: false } => {
                for item in items {
                    self.collect(text, item);
                    let start = item.outer().start;
                    let between = &text[line_start(text, start)..start];
                    // Of `- a`, not of what begins on a line of its own.
                    if between.trim_end().ends_with('-') {
                        let distance = between.len() - between.trim_end().len() + 1;
                        *self.dashes.entry(distance).or_default() += 1;
                    }
                }
            }
            // In brackets there are only brackets.
            _ => {}
        }
    }
}

/// The distance that is there most often; of several the shortest.
fn most(counts: &HashMap<usize, usize>) -> Option<usize> {
    counts
        .iter()
        .max_by_key(|(distance, count)| (**count, std::cmp::Reverse(**distance)))
        .map(|(distance, _)| *distance)
}

/// The quotes that most of the strings below a node have; plain if as many have none.
fn quotes(node: &Node) -> Style {
    fn count(node: &Node, counts: &mut [usize; 3]) {
        match &node.content {
            Content::Scalar { style: Style::SingleQuoted, .. } => counts[1] += 1,
            Content::Scalar { style: Style::DoubleQuoted, .. } => counts[2] += 1,
            Content::Scalar { value, style: Style::Plain } if is_string_for_all(value) => {
                counts[0] += 1;
            }
            Content::Scalar { .. } | Content::Alias { .. } => {}
            Content::Sequence { items, .. } => items.iter().for_each(|item| count(item, counts)),
            Content::Mapping { pairs, .. } => {
                for (_, value) in pairs {
                    count(value, counts);
                }
            }
        }
    }
    let mut counts = [0; 3];
    count(node, &mut counts);
    let [plain, single, double] = counts;
    match single.max(double) {
        quoted if plain >= quoted => Style::Plain,
        quoted if quoted == double => Style::DoubleQuoted,
        _ => Style::SingleQuoted,
    }
}
