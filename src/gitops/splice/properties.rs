//! What holds for all documents: never a byte outside, never a wrong value.
//!
//! `YADO_CASES` is the number of cases, `YADO_FIRST` the first; a failure tells its case.

use super::random::{Model, Random, Sample, Slot, nasty, sample};
use super::{Change, Key, Problem, apply};
use crate::yaml::{Content, Node, Stream, Style, Value, parse};

/// Calls `check` with as many cases as are asked for, on all processors.
fn cases(default: u64, check: impl Fn(&mut Random) + Sync) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first: u64 = number("YADO_FIRST").unwrap_or(0);
    let last = first + number("YADO_CASES").unwrap_or(default);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let check = &check;
            scope.spawn(move || {
                for case in (first..last).skip(thread).step_by(threads) {
                    let unfinished = Unfinished(case);
                    check(&mut Random::new(case));
                    std::mem::forget(unfinished);
                }
            });
        }
    });
}

/// Tells the case if it does not come to its end.
struct Unfinished(u64);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let message = format!("YADO_FIRST={} YADO_CASES=1\n", self.0);
        std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes()).unwrap();
    }
}

#[test]
fn one_scalar_changes_and_no_other_byte() {
    cases(100_000, |random| {
        let sample = sample(random);
        if sample.slots.is_empty() {
            let stream = parse(&sample.text).unwrap();
            means(&sample.text, &stream, &sample.documents);
            return;
        }
        let slot = &sample.slots[random.below(sample.slots.len())];
        set(&sample, slot, &nasty(random));
    });
}

/// That a new value at a place is there, and all else is as it was.
fn set(sample: &Sample, slot: &Slot, value: &str) {
    let text = &sample.text;
    let change = Change::set(slot.document, slot.path.clone(), Value::text(value));
    let result = apply(text, &[change]);
    let context = format!("{:?} at {:?} of\n{text}", value, slot.path);
    if let Some(anchor) = slot.anchors.iter().find(|name| sample.aliased.contains(name)) {
        let problem = result.expect_err(&context).problem;
        assert!(
            matches!(&problem, Problem::Shared { anchor: shared, .. } if sample.aliased.contains(shared)),
            "{anchor}: {problem} for {context}"
        );
        return;
    }
    if slot.tag == Some("!!int") {
        let problem = result.expect_err(&context).problem;
        assert!(matches!(problem, Problem::Tagged { .. }), "{problem} for {context}");
        return;
    }
    let new = result.unwrap_or_else(|error| panic!("{error} for {context}"));
    let (before, after) = (&text[..slot.range.start], &text[slot.range.end..]);
    assert!(new.starts_with(before) && new.ends_with(after), "{new}\nfor {context}");
    assert!(new.len() >= before.len() + after.len(), "{new}\nfor {context}");
    let mut documents = sample.documents.clone();
    let root = documents[slot.document].as_mut().unwrap();
    *root.at(&slot.path) = Model::Scalar(value.to_owned(), true);
    let stream = parse(&new).unwrap_or_else(|error| panic!("{error} in\n{new}\nfor {context}"));
    means(&new, &stream, &documents);
}

/// Keys and items come and go, and nothing else does.
#[test]
fn members_come_and_go() {
    cases(10_000, |random| {
        let sample = sample(random);
        let places: Vec<(usize, Vec<Key>)> = collections(&sample.documents);
        if places.is_empty() {
            return;
        }
        let (document, path) = places[random.below(places.len())].clone();
        let mut documents = sample.documents.clone();
        let collection = documents[document].as_mut().unwrap().at(&path);
        let value = nasty(random);
        let (change, member) = match collection {
            Model::List(items) if items.is_empty() || random.once_in(2) => {
                let index = random.below(items.len() + 1);
                items.insert(index, Model::Scalar(value.clone(), true));
                (Value::text(&value), Key::Index(index))
            }
            Model::Map(pairs) if pairs.is_empty() || random.once_in(2) => {
                let name = format!("new {}", nasty(random));
                pairs.push((
                    name.clone(),
                    Model::Map(vec![(value.clone(), Model::Scalar(value.clone(), true))]),
                ));
                (Value::Map(vec![(value.clone(), Value::text(&value))]), Key::Name(name))
            }
            Model::List(items) => {
                let index = random.below(items.len());
                items.remove(index);
                (Value::List(Vec::new()), Key::Index(index))
            }
            Model::Map(pairs) => {
                let (name, _) = pairs.remove(random.below(pairs.len()));
                (Value::List(Vec::new()), Key::Name(name))
            }
            _ => return,
        };
        let path = [path, vec![member]].concat();
        let change = match change {
            Value::List(_) => Change::remove(document, path.clone()),
            value => Change::insert(document, path.clone(), value),
        };
        let context = format!("{change:?} of\n{}", sample.text);
        match apply(&sample.text, &[change]) {
            Ok(new) => {
                let stream = parse(&new).unwrap();
                means(&new, &stream, &documents);
                lines_stay(&sample.text, &new, &context);
            }
            Err(error) => {
                let refused =
                    matches!(error.problem, Problem::Shared { .. } | Problem::Unsupported { .. });
                assert!(refused, "{error} for {context}");
            }
        }
    });
}

/// The paths of all collections.
fn collections(documents: &[Option<Model>]) -> Vec<(usize, Vec<Key>)> {
    fn collect(model: &Model, path: &mut Vec<Key>, found: &mut Vec<Vec<Key>>) {
        let below: Vec<(Key, &Model)> = match model {
            Model::List(items) => {
                items.iter().enumerate().map(|(index, item)| (Key::Index(index), item)).collect()
            }
            Model::Map(pairs) => {
                pairs.iter().map(|(name, value)| (Key::Name(name.clone()), value)).collect()
            }
            _ => return,
        };
        found.push(path.clone());
        for (key, model) in below {
            path.push(key);
            collect(model, path, found);
            path.pop();
        }
    }
    let mut all = Vec::new();
    for (document, model) in documents.iter().enumerate() {
        let mut found = Vec::new();
        if let Some(model) = model {
            collect(model, &mut Vec::new(), &mut found);
        }
        all.extend(found.into_iter().map(|path| (document, path)));
    }
    all
}

/// That all changed lines are in one place, but for one more.
fn lines_stay(old: &str, new: &str, context: &str) {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[same..], &new[same..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    // Of what is between, the shorter side is at most a line, or its lines are the other's too.
    let kept = old.iter().filter(|line| new.contains(line)).count();
    let fine = old.len() <= 1 || new.len() <= 1 || kept + 2 >= old.len().min(new.len());
    assert!(fine, "{}\nfor {context}", new.join("\n"));
}

/// Text that is damaged in some places is an error or is changed as it should, but no fault.
#[test]
fn damaged_text_is_no_fault() {
    cases(10_000, |random| {
        let mut text = sample(random).text;
        for _ in 0..=random.below(4) {
            damage(random, &mut text);
        }
        let Ok(stream) = parse(&text) else { return };
        check_spans(&text, &stream);
        let mut paths = Vec::new();
        for (number, document) in stream.documents.iter().enumerate() {
            let _ = crate::yaml::to_json(&text, document);
            let mut found = Vec::new();
            document.root.iter().for_each(|root| all_paths(root, &mut Vec::new(), &mut found));
            paths.extend(found.into_iter().map(|path| (number, path)));
        }
        if paths.is_empty() {
            return;
        }
        let (document, path) = paths[random.below(paths.len())].clone();
        let value = Value::text(nasty(random));
        let change = match random.below(4) {
            0 => Change::remove(document, path),
            1 => Change::set(document, path, Value::List(vec![value])),
            _ => Change::set(document, path, value),
        };
        if let Err(error) = apply(&text, std::slice::from_ref(&change)) {
            let fault = matches!(error.problem, Problem::Wrong { .. });
            assert!(!fault, "{error} for {change:?} of\n{text}\n{text:?}");
        }
    });
}

/// Any text at all.
#[test]
fn no_text_is_a_panic() {
    cases(10_000, |random| {
        let pieces = [
            "a", ":", " ", "\n", "-", "- ", ": ", "[", "]", "{", "}", ",", "\"", "'", "&a", "*a",
            "!t ", "|", ">", "#", "\t", "\r", "\u{feff}", "é", "?", "%", "---\n", "...", "\\",
            "\0", "|2", "<<: ", "\u{85}", "  ",
        ];
        let text: String = (0..random.below(40)).map(|_| random.pick(&pieces)).collect();
        if let Ok(stream) = parse(&text) {
            check_spans(&text, &stream);
            for document in &stream.documents {
                let _ = crate::yaml::to_json(&text, document);
            }
        }
        let _ = super::assignment(&text);
    });
}

fn damage(random: &mut Random, text: &mut String) {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let at = random.pick(&places);
    match random.below(3) {
        0 if at < text.len() => {
            text.remove(at);
        }
        1 => {
            let (from, to) = (random.pick(&places), random.pick(&places));
            let piece = text[from.min(to)..from.max(to)].to_owned();
            text.insert_str(at, &piece);
        }
        _ => {
            let pieces = [
                ":", " ", "\n", "-", "- ", ": ", "[", "}", ",", "\"", "'", "&n1 ", "*n1", "!t ",
                "|", "#", "\t", "\r", "é", "?",
            ];
            text.insert_str(at, random.pick(&pieces));
        }
    }
}

fn all_paths(node: &Node, path: &mut Vec<Key>, found: &mut Vec<Vec<Key>>) {
    found.push(path.clone());
    let below: Vec<(Key, &Node)> = match &node.content {
        Content::Sequence { items, .. } => {
            items.iter().enumerate().map(|(index, item)| (Key::Index(index), item)).collect()
        }
        Content::Mapping { pairs, .. } => {
            pairs.iter().filter_map(|(key, value)| Some((key.scalar()?.into(), value))).collect()
        }
        _ => return,
    };
    for (key, node) in below {
        path.push(key);
        all_paths(node, path, found);
        path.pop();
    }
}

/// That spans are of the text, in each other and in order.
fn check_spans(text: &str, stream: &Stream) {
    fn check(text: &str, node: &Node, within: &std::ops::Range<usize>) {
        let outer = node.outer();
        assert!(text.get(outer.clone()).is_some(), "{outer:?} of {text:?}");
        assert!(outer.start >= within.start && outer.end <= within.end, "{node:?} of {text:?}");
        let mut at = node.span.start;
        let mut children: Vec<&Node> = Vec::new();
        match &node.content {
            Content::Sequence { items, .. } => children.extend(items),
            Content::Mapping { pairs, .. } => {
                children.extend(pairs.iter().flat_map(|(key, value)| [key, value]));
            }
            _ => {}
        }
        for child in children {
            assert!(child.outer().start >= at, "{child:?} of {text:?}");
            check(text, child, &node.span);
            at = child.span.end;
        }
    }
    for document in &stream.documents {
        assert!(text.get(document.span.clone()).is_some(), "{:?} of {text:?}", document.span);
        document.root.iter().for_each(|root| check(text, root, &document.span));
    }
    for comment in &stream.comments {
        assert!(text[comment.span.clone()].starts_with('#'), "{comment:?} of {text:?}");
    }
}

/// That a text means what it should.
fn means(text: &str, stream: &Stream, documents: &[Option<Model>]) {
    assert_eq!(stream.documents.len(), documents.len(), "documents of\n{text}");
    for (found, expected) in stream.documents.iter().zip(documents) {
        match (&found.root, expected) {
            (None, None) => {}
            (Some(node), Some(model)) => node_means(text, node, model),
            _ => panic!("{expected:?} in\n{text}"),
        }
    }
}

fn node_means(text: &str, node: &Node, model: &Model) {
    match (&node.content, model) {
        (Content::Scalar { value, style }, Model::Scalar(expected, string)) => {
            assert_eq!(value, expected, "in\n{text}");
            let written = &text[node.span.clone()];
            let string_for_all = *style != Style::Plain
                || node.tag.is_some()
                || crate::yaml::is_string_for_all(value);
            assert!(!string || string_for_all, "{written} is no string in\n{text}");
        }
        (Content::Alias { name, .. }, Model::Alias(expected)) => {
            assert_eq!(name, expected, "in\n{text}");
        }
        (Content::Sequence { items, .. }, Model::List(models)) => {
            assert_eq!(items.len(), models.len(), "items in\n{text}");
            for (item, model) in items.iter().zip(models) {
                node_means(text, item, model);
            }
        }
        (Content::Mapping { pairs, .. }, Model::Map(models)) => {
            assert_eq!(pairs.len(), models.len(), "keys in\n{text}");
            for ((key, value), (name, model)) in pairs.iter().zip(models) {
                assert_eq!(key.scalar(), Some(name.as_str()), "in\n{text}");
                node_means(text, value, model);
            }
        }
        (found, expected) => panic!("{found:?}, not {expected:?} in\n{text}"),
    }
}
