//! What holds for all documents: never a byte outside, never a wrong value.
//!
//! `YADO_CASES` is the number of cases, `YADO_FIRST` the first; a failure tells its case.

use super::random::{Model, Random, Sample, Slot, nasty, sample};
use super::{Change, Problem, apply};
use crate::yaml::{Content, Node, Stream, Style, Value, parse};

/// Calls `check` with as many cases as are asked for.
fn cases(default: u64, check: impl Fn(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first: u64 = number("YADO_FIRST").unwrap_or(0);
    for case in first..first + number("YADO_CASES").unwrap_or(default) {
        let failed = Failed(case);
        check(&mut Random::new(case));
        std::mem::forget(failed);
    }
}

/// Tells the case if it does not come to its end.
struct Failed(u64);

impl Drop for Failed {
    fn drop(&mut self) {
        let mut message = format!("case {}\n", self.0);
        std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes()).unwrap();
        message.clear();
    }
}

#[test]
fn one_scalar_changes_and_no_other_byte() {
    cases(100_000, |random| {
        let sample = sample(random);
        let stream = match parse(&sample.text) {
            Ok(stream) => stream,
            Err(error) => panic!("{error}\n{}", sample.text),
        };
        means(&sample.text, &stream, &sample.documents);
        if sample.slots.is_empty() {
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
