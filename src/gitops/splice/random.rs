//! Random documents for the properties: text, and what the text means and where each scalar is in
//! it, as whoever wrote it knows. Nothing here is shared with what reads or changes text.

use std::ops::Range;

use super::Key;

/// Numbers from a seed (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What a text means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Model {
    /// A scalar and whether it is written so that it is a string whatever its text is.
    Scalar(String, bool),
    List(Vec<Model>),
    Map(Vec<(String, Model)>),
    Alias(String),
}

impl Model {
    /// The value at a path.
    pub(super) fn at(&mut self, path: &[Key]) -> &mut Model {
        path.iter().fold(self, |model, key| match (model, key) {
            (Model::List(items), Key::Index(index)) => &mut items[*index],
            (Model::Map(pairs), Key::Name(name)) => {
                &mut pairs.iter_mut().find(|(key, _)| key == name).unwrap().1
            }
            (model, key) => panic!("no {key} in {model:?}"),
        })
    }
}

/// A scalar of a text.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) document: usize,
    pub(super) path: Vec<Key>,
    /// Its bytes, with quotes and indicators.
    pub(super) range: Range<usize>,
    /// The anchors of it and of what it is in.
    pub(super) anchors: Vec<String>,
    /// A tag that allows strings only, or no strings.
    pub(super) tag: Option<&'static str>,
    /// Whether there is a key, but no colon.
    pub(super) bare: bool,
}

/// A text, and what is known about it.
pub(super) struct Sample {
    pub(super) text: String,
    pub(super) documents: Vec<Option<Model>>,
    pub(super) slots: Vec<Slot>,
    /// The names that aliases use.
    pub(super) aliased: Vec<String>,
}

const WORDS: [&str; 24] = [
    "a",
    "image",
    "reg.io:5000/app:1.2",
    "é☃",
    "x y z",
    "-1",
    "12",
    "0x1f",
    "true",
    "null",
    "1.10",
    "a#b",
    "http://x/y?z",
    "😀",
    "--flag",
    "a:b",
    "\"q",
    "it's",
    "yes",
    "2024-01-01",
    "~",
    "/a",
    "v1.2.3",
    "a\\b",
];
const FLOW_WORDS: [&str; 12] =
    ["a", "reg.io:5000/app:1.2", "é☃", "x y", "12", "true", "null", "a#b", "😀", "a:b", "~", "v1"];
const KEYS: [&str; 14] =
    ["name", "image", "tag", "a b", "é", "k.l/m", "on", "1", "x-y", "it's", "😀k", "a#b", "n", "_"];
const COMMENTS: [&str; 7] =
    ["# c", "#", "# a: b", "# 'x \"y", "#\u{e9} {\"$x\": 1}", "# - [", "#\t&z *z"];

/// Writes a text.
struct Writer<'a> {
    random: &'a mut Random,
    text: String,
    newline: &'static str,
    slots: Vec<Slot>,
    document: usize,
    path: Vec<Key>,
    anchors: Vec<String>,
    /// Anchors whose values are complete, which aliases may use.
    complete: Vec<String>,
    aliased: Vec<String>,
    names: usize,
    /// How much more may be written.
    budget: usize,
    /// Whether the last line breaks may be part of a value.
    in_block: bool,
}

/// A random text.
pub(super) fn sample(random: &mut Random) -> Sample {
    let newline = if random.once_in(4) { "\r\n" } else { "\n" };
    let budget = 3 + random.below(25);
    let mut writer = Writer {
        random,
        text: String::new(),
        newline,
        slots: Vec::new(),
        document: 0,
        path: Vec::new(),
        anchors: Vec::new(),
        complete: Vec::new(),
        aliased: Vec::new(),
        names: 0,
        budget,
        in_block: false,
    };
    let documents = writer.stream();
    let Writer { text, slots, aliased, .. } = writer;
    Sample { text, documents, slots, aliased }
}

/// A string that is hard to write.
pub(super) fn nasty(random: &mut Random) -> String {
    const WHOLE: [&str; 66] = [
        "",
        " ",
        "a",
        "1.2.3",
        "01012024",
        "1e5",
        "1.10",
        "11212026083000",
        "0x1f",
        "1_000",
        "12:30:45",
        "2024-01-01",
        "yes",
        "y",
        "No",
        "null",
        "~",
        ".inf",
        "<<",
        "=",
        " a",
        "a ",
        "a: b",
        "a:",
        ":a",
        "a #b",
        "#a",
        "- a",
        "-",
        "---",
        "...",
        "--- a",
        "? a",
        "?",
        "{a}",
        "[a",
        "]",
        "}",
        ",",
        "a,b",
        "&a",
        "*a",
        "!a",
        "!!str",
        "|",
        ">",
        "|\n",
        "'",
        "\"",
        "'a'",
        "\"a\"",
        "%a",
        "@a",
        "`a",
        "a\nb",
        "a\n",
        "\n",
        "\n\na\n\n",
        "  a\n b\n",
        "a\tb",
        "\ta",
        "\u{feff}a",
        "reg.io/app@sha256:00",
        "a\r\nb",
        "\u{85}",
        "{{ .Values.x }}",
    ];
    const CHARACTERS: [char; 40] = [
        'a', 'b', '0', '1', 'e', '.', ':', ' ', ' ', '#', '-', '?', ',', '[', ']', '{', '}', '&',
        '*', '!', '|', '>', '\'', '"', '%', '@', '`', '\n', '\r', '\t', '\\', '\u{0}', '\u{7f}',
        '\u{85}', '\u{a0}', '\u{2028}', '\u{feff}', 'é', '😀', '_',
    ];
    if random.once_in(2) {
        return random.pick(&WHOLE).to_owned();
    }
    let length = random.below(12);
    (0..length).map(|_| random.pick(&CHARACTERS)).collect()
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn spaces(&mut self, count: usize) {
        self.text.extend(std::iter::repeat_n(' ', count));
    }

    /// The end of a line, perhaps with a comment, and perhaps empty lines and comments behind it.
    fn end_line(&mut self) {
        self.in_block = false;
        if self.random.once_in(5) {
            let blanks = 1 + self.random.below(3);
            self.spaces(blanks);
            let comment = self.random.pick(&COMMENTS);
            self.put(comment);
        } else if self.random.once_in(8) {
            self.spaces(1);
        }
        self.put(self.newline);
        while self.random.once_in(6) {
            if self.random.once_in(2) {
                let blanks = self.random.below(4);
                self.spaces(blanks);
                let comment = self.random.pick(&COMMENTS);
                self.put(comment);
            }
            self.put(self.newline);
        }
    }

    fn stream(&mut self) -> Vec<Option<Model>> {
        let mut documents = Vec::new();
        if self.random.once_in(8) {
            self.put("\u{feff}");
        }
        let count = if self.random.once_in(3) { 1 + self.random.below(3) } else { 1 };
        let mut ended = true;
        for document in 0..count {
            self.document = document;
            self.complete.clear();
            if ended && self.random.once_in(6) {
                self.put("%YAML 1.2");
                self.put(self.newline);
                self.put("---");
                self.end_line();
            } else if document > 0 || self.random.once_in(3) {
                self.put("---");
                self.end_line();
            } else if self.random.once_in(4) {
                self.put("# head");
                self.put(self.newline);
            }
            let empty = document > 0 && self.random.once_in(10);
            documents.push(if empty { None } else { Some(self.root()) });
            ended = self.random.once_in(5);
            if ended {
                self.put("...");
                self.put(self.newline);
                self.in_block = false;
            }
        }
        if !self.in_block && self.random.once_in(4) {
            self.text.truncate(self.text.trim_end_matches(['\n', '\r']).len());
        }
        documents
    }

    fn root(&mut self) -> Model {
        match self.random.below(12) {
            0 => {
                let model = self.flow(0, 0);
                self.end_line();
                model
            }
            1 => self.list(0, 0),
            _ => self.map(0, 0),
        }
    }

    /// Keys and values, the first key where the text ends now, the others `indent` from the left.
    fn map(&mut self, indent: usize, depth: usize) -> Model {
        let mut pairs: Vec<(String, Model)> = Vec::new();
        let count = 1 + self.random.below(4);
        for number in 0..count {
            if number > 0 {
                self.spaces(indent);
            }
            let mut key = self.random.pick(&KEYS).to_owned();
            while pairs.iter().any(|(other, _)| *other == key) {
                key.push('z');
            }
            if self.random.once_in(20) {
                self.put("? ");
                self.key(&key);
                self.end_line();
                self.spaces(indent);
            } else {
                self.key(&key);
                let blanks = usize::from(self.random.once_in(10));
                self.spaces(blanks);
            }
            self.put(":");
            self.path.push(Key::Name(key.clone()));
            let model = self.block_value(indent, depth + 1, true);
            self.path.pop();
            pairs.push((key, model));
        }
        Model::Map(pairs)
    }

    fn key(&mut self, key: &str) {
        match self.random.below(6) {
            0 => {
                let quoted = format!("'{}'", key.replace('\'', "''"));
                self.put(&quoted);
            }
            1 => {
                let quoted = format!("\"{key}\"");
                self.put(&quoted);
            }
            _ => self.put(key),
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Model {
        let mut items = Vec::new();
        let count = 1 + self.random.below(3);
        for index in 0..count {
            if index > 0 {
                self.spaces(indent);
            }
            self.put("-");
            self.path.push(Key::Index(index));
            let model = self.block_value(indent, depth + 1, false);
            self.path.pop();
            items.push(model);
        }
        Model::List(items)
    }

    /// What follows `key:` or `-`, with the end of the line.
    fn block_value(&mut self, indent: usize, depth: usize, in_map: bool) -> Model {
        self.budget = self.budget.saturating_sub(1);
        if self.random.once_in(12) && !self.complete.is_empty() {
            return self.alias();
        }
        if self.random.once_in(12) {
            return self.absent();
        }
        let blanks = if self.random.once_in(6) { 1 + self.random.below(3) } else { 1 };
        let anchor = self.random.once_in(10).then(|| {
            self.names += 1;
            format!("n{}", self.names)
        });
        if let Some(name) = &anchor {
            self.spaces(1);
            let name = format!("&{name}");
            self.put(&name);
        }
        self.anchors.extend(anchor.clone());
        let nested = depth < 5 && self.budget > 0;
        let model = match self.random.below(10) {
            0 | 1 if nested => self.nested_map(indent, depth),
            2 | 3 if nested => self.nested_list(indent, depth, in_map),
            4 if nested && anchor.is_none() && !in_map => {
                // `- a: b` and `- - a`
                self.spaces(blanks);
                let indent = indent + 1 + blanks;
                if self.random.once_in(2) {
                    self.map(indent, depth)
                } else {
                    self.list(indent, depth)
                }
            }
            5 => {
                self.spaces(blanks);
                let model = self.flow(indent, depth);
                self.end_line();
                model
            }
            6 => {
                self.spaces(blanks);
                self.block_scalar(indent)
            }
            _ => {
                self.spaces(blanks);
                let model = self.scalar(indent, false);
                self.end_line();
                model
            }
        };
        if let Some(name) = anchor {
            self.anchors.pop();
            self.complete.push(name);
        }
        model
    }

    fn nested_map(&mut self, indent: usize, depth: usize) -> Model {
        self.end_line();
        let indent = indent + 1 + self.random.below(4);
        self.spaces(indent);
        self.map(indent, depth)
    }

    fn nested_list(&mut self, indent: usize, depth: usize, in_map: bool) -> Model {
        self.end_line();
        let least = usize::from(!in_map);
        let indent = indent + least + self.random.below(3);
        self.spaces(indent);
        self.list(indent, depth)
    }

    fn slot(&mut self, start: usize, tag: Option<&'static str>) {
        self.slots.push(Slot {
            document: self.document,
            path: self.path.clone(),
            range: start..self.text.len(),
            anchors: self.anchors.clone(),
            tag,
            bare: false,
        });
    }

    fn alias(&mut self) -> Model {
        let at = self.random.below(self.complete.len());
        let name = self.complete[at].clone();
        self.spaces(1);
        let start = self.text.len();
        let alias = format!("*{name}");
        self.put(&alias);
        self.slot(start, None);
        self.end_line();
        self.aliased.push(name.clone());
        Model::Alias(name)
    }

    fn absent(&mut self) -> Model {
        let start = self.text.len();
        self.slot(start, None);
        self.end_line();
        Model::Scalar(String::new(), false)
    }

    /// A scalar, on more lines if it stands in a block; without the end of its line.
    fn scalar(&mut self, indent: usize, flow: bool) -> Model {
        let tag = match self.random.below(24) {
            0 => Some("!!str"),
            1 => Some("!local"),
            2 => Some("!!int"),
            _ => None,
        };
        if let Some(tag) = tag {
            self.put(tag);
            self.spaces(1);
        }
        let start = self.text.len();
        let deep = format!("{}{}", self.newline, " ".repeat(indent + 1 + self.random.below(3)));
        let folds = !flow && self.random.once_in(8);
        let model = match self.random.below(3) {
            0 => {
                let word = self.random.pick(if flow { &FLOW_WORDS[..] } else { &WORDS[..] });
                // Not what begins with an indicator.
                let word = if word.starts_with(['"', '~']) { "w" } else { word };
                self.put(word);
                if folds {
                    self.put(&deep);
                    self.put("more");
                    Model::Scalar(format!("{word} more"), tag.is_some())
                } else {
                    Model::Scalar(word.to_owned(), tag.is_some())
                }
            }
            1 => {
                let value = self.random.pick(&WORDS);
                let quoted = value.replace('\'', "''");
                let fold = if folds { deep.as_str() } else { " " };
                let written = format!("'{quoted}{fold}{quoted}'");
                self.put(&written);
                Model::Scalar(format!("{value} {value}"), true)
            }
            _ => {
                let value = self.random.pick(&WORDS);
                let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                let (fold, folded) = match (folds, self.random.below(3)) {
                    (true, 0) => (format!("\\{deep}"), ""),
                    (true, _) => (deep, " "),
                    (false, 0) => ("\\n\\u0041\\x42\\t".to_owned(), "\nAB\t"),
                    (false, _) => (" # : ".to_owned(), " # : "),
                };
                let written = format!("\"{quoted}{fold}{quoted}\"");
                self.put(&written);
                Model::Scalar(format!("{value}{folded}{value}"), true)
            }
        };
        self.slot(start, tag);
        model
    }

    /// `|` or `>` with its lines.
    fn block_scalar(&mut self, indent: usize) -> Model {
        let start = self.text.len();
        let literal = self.random.once_in(2);
        let chomp = self.random.pick(&["", "-", "+"]);
        let step = 1 + self.random.below(4);
        let number = if self.random.once_in(6) { step.to_string() } else { String::new() };
        let header = format!("{}{number}{chomp}", if literal { "|" } else { ">" });
        self.put(&header);
        if self.random.once_in(6) {
            self.put("  # of the block");
        }
        let mut end = self.text.len();
        let lines = self.random.below(4);
        let mut value = String::new();
        for line in 0..lines {
            self.put(self.newline);
            let margin = " ".repeat(indent + step);
            let content = self.random.pick(&["x", "a: b", "# no comment", "é 'q\"", "- y"]);
            self.put(&margin);
            self.put(content);
            if line > 0 {
                value.push(if literal { '\n' } else { ' ' });
            }
            value.push_str(content);
            end = self.text.len();
        }
        // Empty lines belong to the value with `+` only.
        let empty = self.random.below(3);
        for _ in 0..empty {
            self.put(self.newline);
        }
        let breaks = match chomp {
            "-" => 0,
            "" => usize::from(lines > 0),
            _ => empty + usize::from(lines > 0),
        };
        value.extend(std::iter::repeat_n('\n', breaks));
        if chomp == "+" {
            end = self.text.len();
        }
        self.put(self.newline);
        self.in_block = true;
        self.slot(start, None);
        if let Some(slot) = self.slots.last_mut() {
            slot.range.end = end;
        }
        Model::Scalar(value, true)
    }

    /// `[…]` or `{…}`, perhaps on more lines.
    fn flow(&mut self, indent: usize, depth: usize) -> Model {
        self.budget = self.budget.saturating_sub(1);
        let lines = self.random.once_in(3);
        let space = |writer: &mut Self| {
            if lines {
                if writer.random.once_in(6) {
                    writer.put(" # in brackets");
                }
                writer.put(writer.newline);
                writer.spaces(indent + 2);
            } else if writer.random.once_in(3) {
                writer.spaces(1);
            }
        };
        let count = self.random.below(4);
        let list = self.random.once_in(2);
        self.put(if list { "[" } else { "{" });
        let mut items = Vec::new();
        let mut pairs: Vec<(String, Model)> = Vec::new();
        for index in 0..count {
            space(self);
            if list {
                self.path.push(Key::Index(index));
                let model = self.flow_value(indent, depth);
                items.push(model);
            } else {
                let mut key = self.random.pick(&["a", "é", "b c", "1"]).to_owned();
                while pairs.iter().any(|(other, _)| *other == key) {
                    key.push('z');
                }
                self.path.push(Key::Name(key.clone()));
                let model = self.flow_pair(indent, depth, &key);
                pairs.push((key, model));
            }
            self.path.pop();
            if self.random.once_in(4) {
                self.spaces(1);
            }
            if index + 1 < count || self.random.once_in(8) {
                self.put(",");
            }
        }
        space(self);
        self.put(if list { "]" } else { "}" });
        if list { Model::List(items) } else { Model::Map(pairs) }
    }

    fn flow_pair(&mut self, indent: usize, depth: usize, key: &str) -> Model {
        if self.random.once_in(12) {
            self.put(key);
            let start = self.text.len();
            let bare = self.random.once_in(2);
            if !bare {
                self.put(":");
            }
            let at = if bare { start } else { start + 1 };
            self.slot(at, None);
            if let Some(slot) = self.slots.last_mut() {
                slot.bare = bare;
            }
            return Model::Scalar(String::new(), false);
        }
        self.key(key);
        self.put(": ");
        self.flow_value(indent, depth)
    }

    fn flow_value(&mut self, indent: usize, depth: usize) -> Model {
        if depth < 5 && self.budget > 0 && self.random.once_in(5) {
            return self.flow(indent, depth + 1);
        }
        self.scalar(indent, true)
    }
}
