//! The values of a tree as Kubernetes' clients read them.
//!
//! They read YAML 1.1 with the changes of the Go reader that they share: `yes`, `on` and `y` are
//! true, `0755` is octal, numbers to base 60 and dates are strings, keys become strings, aliases
//! and merge keys are resolved. Keys that are there twice are an error, as they are to the server.
//! Aliases can make a small text large, so what they add is limited.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use super::scalar::{bool11, is_decimal_float};
use super::{Content, Document, MAX_DEPTH, Node, Style, YamlError};

/// How many values a document may have when its aliases are resolved.
pub const MAX_VALUES: usize = 1_000_000;
/// How many bytes of text a document may have when its aliases are resolved.
pub const MAX_TEXT: usize = 64 << 20;

/// Up to here each whole number is exact as a float.
const WHOLE: f64 = 9_007_199_254_740_992.0;
const CORE: &str = "tag:yaml.org,2002:";

/// The value of a document; of an empty one null. `text` is what it was parsed from.
pub fn to_json(text: &str, document: &Document) -> Result<Value, YamlError> {
    match &document.root {
        Some(root) => node_to_json(text, document, root),
        None => Ok(Value::Null),
    }
}

/// The value of a node of a document.
pub fn node_to_json(text: &str, document: &Document, node: &Node) -> Result<Value, YamlError> {
    let mut anchors = HashMap::new();
    if let Some(root) = &document.root {
        root.walk(&mut |node| {
            if let Some(anchor) = &node.anchor {
                anchors.insert(anchor.span.start, node);
            }
        });
    }
    let mut reader = Reader { text, anchors, values: 0, bytes: 0, depth: 0, inside: Vec::new() };
    reader.value(node)
}

struct Reader<'a> {
    text: &'a str,
    /// Nodes with an anchor, by the place of the anchor.
    anchors: HashMap<usize, &'a Node>,
    values: usize,
    bytes: usize,
    depth: usize,
    /// The anchors whose values are being read.
    inside: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn error(&self, node: &Node, problem: impl Into<String>) -> YamlError {
        YamlError::at(self.text, node.outer().start, problem)
    }

    fn value(&mut self, node: &'a Node) -> Result<Value, YamlError> {
        self.values += 1;
        self.bytes += node.scalar().map_or(0, str::len);
        if self.values > MAX_VALUES || self.bytes > MAX_TEXT {
            return Err(self.error(node, "the aliases of this document make it too large"));
        }
        // Aliases of aliases can be deeper than the text is.
        if self.depth > 2 * MAX_DEPTH {
            return Err(self.error(node, "the aliases of this document make it too deep"));
        }
        self.depth += 1;
        let value = match &node.content {
            Content::Scalar { value, style } => self.scalar(node, value, *style),
            Content::Alias { .. } => self.aliased(node, Self::value),
            Content::Sequence { items, .. } => {
                let items: Result<_, _> = items.iter().map(|item| self.value(item)).collect();
                items.map(Value::Array)
            }
            Content::Mapping { pairs, .. } => self.mapping(pairs).map(Value::Object),
        };
        self.depth -= 1;
        value
    }

    /// What an alias stands for, unless it is inside of it.
    fn aliased<T>(
        &mut self,
        node: &'a Node,
        read: impl FnOnce(&mut Self, &'a Node) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        let Content::Alias { name, target } = &node.content else {
            return read(self, node);
        };
        let Some(anchored) = self.anchors.get(target).copied() else {
            return Err(self.error(node, format!("`*{name}` is an alias of no anchor")));
        };
        if self.inside.contains(target) {
            return Err(self.error(node, format!("`*{name}` is inside of what it stands for")));
        }
        self.inside.push(*target);
        let value = read(self, anchored);
        self.inside.pop();
        value
    }

    fn mapping(&mut self, pairs: &'a [(Node, Node)]) -> Result<Map<String, Value>, YamlError> {
        let mut map = Map::new();
        let mut merged = Map::new();
        let mut seen = false;
        for (key, value) in pairs {
            if is_merge(key) {
                if seen {
                    return Err(self.error(key, "the key `<<` is there twice"));
                }
                seen = true;
                self.merge(value, &mut merged, true)?;
                continue;
            }
            let name = self.key(key)?;
            let value = self.value(value)?;
            if map.contains_key(&name) {
                return Err(self.error(key, format!("the key `{name}` is there twice")));
            }
            map.insert(name, value);
        }
        for (name, value) in merged {
            map.entry(name).or_insert(value);
        }
        Ok(map)
    }

    /// What `<<` merges: a mapping, or a sequence of them of which earlier ones win.
    fn merge(
        &mut self,
        node: &'a Node,
        into: &mut Map<String, Value>,
        sequence: bool,
    ) -> Result<(), YamlError> {
        self.aliased(node, |reader, node| match &node.content {
            Content::Mapping { .. } => {
                let Value::Object(map) = reader.value(node)? else { return Ok(()) };
                for (name, value) in map {
                    into.entry(name).or_insert(value);
                }
                Ok(())
            }
            Content::Sequence { items, .. } if sequence => {
                items.iter().try_for_each(|item| reader.merge(item, into, false))
            }
            _ => Err(reader.error(node, "`<<` merges a mapping or a sequence of mappings")),
        })
    }

    /// A key, which becomes a string.
    fn key(&mut self, node: &'a Node) -> Result<String, YamlError> {
        let value = self.value(node)?;
        match value {
            Value::String(text) => Ok(text),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) => match float_of(node) {
                Some(float) => Ok(short_float(float)),
                None => Ok(number.to_string()),
            },
            Value::Null => Err(self.error(node, "a key that is null")),
            _ => Err(self.error(node, "a key that is no scalar")),
        }
    }

    fn scalar(&self, node: &Node, value: &str, style: Style) -> Result<Value, YamlError> {
        let tag = node.tag.as_ref().map_or("", |tag| tag.name.as_str());
        let Some(kind) = tag.strip_prefix(CORE) else {
            let plain = style == Style::Plain && tag.is_empty();
            return if plain {
                self.number(node, resolve(value))
            } else {
                Ok(Value::String(value.to_owned()))
            };
        };
        let resolved = match kind {
            "str" | "timestamp" => Resolved::String,
            "bool" | "int" | "float" | "null" => resolve(value),
            _ => return Err(self.error(node, format!("values of type `!!{kind}` are not read"))),
        };
        let fits = match resolved {
            Resolved::Null => kind == "null",
            Resolved::Bool(_) => kind == "bool",
            Resolved::Int(_) | Resolved::Unsigned(_) | Resolved::Large(_) => {
                matches!(kind, "int" | "float")
            }
            Resolved::Float(_) => kind == "float",
            Resolved::String => matches!(kind, "str" | "timestamp"),
        };
        if !fits {
            return Err(self.error(node, format!("`{value}` is no value of type `!!{kind}`")));
        }
        match resolved {
            Resolved::String => Ok(Value::String(value.to_owned())),
            resolved => self.number(node, resolved),
        }
    }

    fn number(&self, node: &Node, resolved: Resolved) -> Result<Value, YamlError> {
        let float = match resolved {
            Resolved::Null => return Ok(Value::Null),
            Resolved::Bool(value) => return Ok(Value::Bool(value)),
            Resolved::Int(value) => return Ok(Value::Number(value.into())),
            Resolved::Unsigned(value) => return Ok(Value::Number(value.into())),
            Resolved::String => {
                return Ok(Value::String(node.scalar().unwrap_or_default().to_owned()));
            }
            Resolved::Float(float) | Resolved::Large(float) => float,
        };
        // JSON has no difference between 1 and 1.0, and those who read it take either for whole.
        if float.fract() == 0.0 && float.abs() <= WHOLE {
            return Ok(Value::Number((float as i64).into()));
        }
        let number = Number::from_f64(float);
        number.map(Value::Number).ok_or_else(|| self.error(node, "JSON has no such number"))
    }
}

/// Whether a key is `<<` without quotes, whose value is merged.
pub fn is_merge(key: &Node) -> bool {
    let plain =
        matches!(&key.content, Content::Scalar { value, style: Style::Plain } if value == "<<");
    match &key.tag {
        None => plain,
        Some(tag) => tag.name == "tag:yaml.org,2002:merge",
    }
}

/// What a plain scalar is to Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    /// A whole number of more than 64 bits.
    Large(f64),
    String,
}

fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Resolved::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if let Some(value) = bool11(text) {
        return Resolved::Bool(value);
    }
    if text.starts_with('.') {
        // Underscores stand between digits only.
        let bytes = text.as_bytes();
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let between = |(at, byte): (usize, &u8)| *byte != b'_' || (digit(at - 1) && digit(at + 1));
        if bytes.iter().enumerate().all(between) {
            return float(&text.replace('_', ""));
        }
        return Resolved::String;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-') {
        return Resolved::String;
    }
    let plain = text.replace('_', "");
    match whole(&plain) {
        Whole::Fits(resolved) => resolved,
        // A decimal number that is too large is still a number; so is 089, which is not octal.
        Whole::TooLarge(large) => match float(&plain) {
            Resolved::String => Resolved::Large(large),
            float => float,
        },
        Whole::Not => float(&plain),
    }
}

enum Whole {
    Fits(Resolved),
    TooLarge(f64),
    Not,
}

/// Whole numbers with a sign and the prefixes `0x`, `0o`, `0b` and `0`.
fn whole(text: &str) -> Whole {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Whole::Not;
    }
    let value =
        i128::from_str_radix(digits, radix).ok().map(|value| if negative { -value } else { value });
    if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
        return Whole::Fits(Resolved::Int(value));
    }
    let signed = text.starts_with(['-', '+']);
    if let Some(value) = value.and_then(|value| u64::try_from(value).ok()).filter(|_| !signed) {
        return Whole::Fits(Resolved::Unsigned(value));
    }
    let digits = digits.chars().filter_map(|digit| digit.to_digit(radix));
    let value = digits.fold(0.0, |value, digit| value * f64::from(radix) + f64::from(digit));
    Whole::TooLarge(if negative { -value } else { value })
}

fn float(text: &str) -> Resolved {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !is_decimal_float(unsigned, false) {
        return Resolved::String;
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Resolved::Float(value),
        _ => Resolved::String,
    }
}

fn float_of(key: &Node) -> Option<f64> {
    match resolve(key.scalar()?) {
        Resolved::Float(value) => Some(value),
        _ => None,
    }
}

/// A number as a key: Go rounds it to 32 bits, and has an exponent from 21 digits on.
fn short_float(value: f64) -> String {
    let short = value as f32;
    let magnitude = short.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{short:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{short}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn read(text: &str) -> Result<Value, YamlError> {
        let stream = parse(text)?;
        to_json(text, &stream.documents[0])
    }

    /// Left what is written, right what `kubectl patch --local -o json` of kubectl 1.34 makes of it.
    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        let table = [
            ("0755", "493"),
            ("0o755", "493"),
            ("1_000", "1000"),
            ("0x1f", "31"),
            ("0X1F", "31"),
            ("-0x1f", "-31"),
            ("0b101", "5"),
            ("-0b101", "-5"),
            ("+0b11", "3"),
            ("1e5", "100000"),
            ("1.", "1"),
            (".5", "0.5"),
            ("+.5", "0.5"),
            (".5_0", "0.5"),
            ("._5", "\"._5\""),
            ("1_0.5", "10.5"),
            ("1.10", "1.1"),
            ("01012024", "267284"),
            ("089", "89"),
            ("0_7", "7"),
            ("12:30:45", "\"12:30:45\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("yes", "true"),
            ("y", "true"),
            ("N", "false"),
            ("off", "false"),
            ("~", "null"),
            ("Null", "null"),
            ("11212026083000", "11212026083000"),
            ("-0", "0"),
            ("1e500", "\"1e500\""),
            ("0x1p4", "\"0x1p4\""),
            ("_1", "\"_1\""),
            ("=", "\"=\""),
            ("\"01\"", "\"01\""),
            ("!!str 12", "\"12\""),
            ("!!int \"12\"", "12"),
            ("!!bool \"yes\"", "true"),
            ("!!null ''", "null"),
            ("!foo 12", "\"12\""),
        ];
        for (text, expected) in table {
            let value = read(&format!("a: {text}\n")).unwrap();
            assert_eq!(value["a"].to_string(), expected, "{text}");
        }
        let keys = "{1: x, yes: y, 1.50: z, 0x10: h, 1e3: f, 1.23456789012: g}";
        let names: Vec<String> = read(keys).unwrap().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["1", "1.2345679", "1.5", "1000", "16", "true"]);
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let text =
            "a: &a {k: 1, l: 2}\nb: {<<: *a, k: 3}\nc: {<<: [{k: 1}, *a], z: *a}\n\"<<\": 1\n";
        let expected = "{\"<<\":1,\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":3,\"l\":2},\
                        \"c\":{\"k\":1,\"l\":2,\"z\":{\"k\":1,\"l\":2}}}";
        assert_eq!(read(text).unwrap().to_string(), expected);
        // The last anchor of a name that comes before.
        assert_eq!(read("[&a 1, *a, &a 2, *a]").unwrap().to_string(), "[1,1,2,2]");
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        let table = [
            ("{a: 1, b: 2, a: 3}", "1:14: the key `a` is there twice"),
            ("{1: 1, \"1\": 2}", "1:8: the key `1` is there twice"),
            ("a: &a [*a]", "1:8: `*a` is inside of what it stands for"),
            ("{<<: 1}", "1:6: `<<` merges a mapping or a sequence of mappings"),
            ("{[a]: 1}", "1:2: a key that is no scalar"),
            ("{~: 1}", "1:2: a key that is null"),
            (".inf", "1:1: JSON has no such number"),
            ("!!int x", "1:1: `x` is no value of type `!!int`"),
            ("!!binary aGk=", "1:1: values of type `!!binary` are not read"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn aliases_cannot_make_a_text_large_or_deep() {
        use std::fmt::Write;

        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        let mut deep = String::from("a0: &a0 x\n");
        for at in 1..20 {
            let aliases = vec![format!("*a{}", at - 1); 10].join(", ");
            writeln!(text, "a{at}: &a{at} [{aliases}]").unwrap();
            let (open, close) = ("[".repeat(100), "]".repeat(100));
            writeln!(deep, "a{at}: &a{at} {open}*a{}{close}", at - 1).unwrap();
        }
        assert!(read(&text).unwrap_err().problem.contains("too large"));
        assert!(read(&deep).unwrap_err().problem.contains("too deep"));
    }
}
