//! All changes of a text, and the comparison that follows.

use std::ops::Range;

use super::insert::insert;
use super::remove::remove;
use super::replace::replace;
use super::resolve::File;
use super::scalar::set_scalar;
use super::verify::{Branch, is_value, verify};
use super::{Action, Change, EditError, Key};
use crate::yaml::Value;

/// The text with all changes, or why there is none.
///
/// A text in which everything is as asked for already comes back as it is.
pub fn apply(text: &str, changes: &[Change]) -> Result<String, EditError> {
    let file = File::read(text)?;
    let plan = Branch::of(&file, changes)?;
    // Scalars first, all at once: no path becomes another one by that.
    let mut splices = Vec::new();
    let mut others = Vec::new();
    for change in changes {
        match &change.action {
            Action::Set(value @ (Value::Text(_) | Value::Raw(_))) => {
                splices.extend(set_scalar(&file, change.document, &change.path, value)?);
            }
            _ => others.push(change),
        }
    }
    let mut new = splice(text, splices);
    for change in in_order(others) {
        let file = File::read(&new)?;
        let splices = restructure(&file, change)?;
        new = splice(&new, splices);
    }
    if new != text {
        verify(&file, &new, &plan)?;
    }
    Ok(new)
}

/// The order in which no change makes the path of a later one wrong: new keys and whole values in
/// the order in which they are asked for, then items from the last to the first.
fn in_order(changes: Vec<&Change>) -> Vec<&Change> {
    let (mut moving, mut ordered): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| {
        let named = matches!(change.path.last(), Some(Key::Name(_)));
        match change.action {
            Action::Set(_) => false,
            Action::Insert(_) => !named,
            Action::Remove => true,
        }
    });
    // Of one place, what was there goes before something comes; what comes last goes in first.
    moving.reverse();
    moving.sort_by(|a, b| {
        let removes = |change: &Change| change.action == Action::Remove;
        (b.document, &b.path, removes(b)).cmp(&(a.document, &a.path, removes(a)))
    });
    ordered.extend(moving);
    ordered
}

fn restructure(file: &File<'_>, change: &Change) -> Result<Vec<Splice>, EditError> {
    let (document, path) = (change.document, &change.path);
    match &change.action {
        Action::Insert(value) => insert(file, document, path, value),
        Action::Remove => remove(file, document, path),
        Action::Set(value) => {
            let found = file.locate(document, path)?;
            if is_value(found.node, value) {
                return Ok(Vec::new());
            }
            file.removable(found.node, path)?;
            replace(file, &found, path, value)
        }
    }
}

/// Some bytes, and what is there instead.
pub(super) type Splice = (Range<usize>, String);

/// A text with some of its bytes replaced.
pub(super) fn splice(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    splices.dedup();
    let mut new = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for (range, replacement) in splices {
        // Ranges that overlap come from a fault; what is left out then fails the comparison.
        new.push_str(text.get(done..range.start).unwrap_or_default());
        new.push_str(&replacement);
        done = done.max(range.end);
    }
    new.push_str(text.get(done..).unwrap_or_default());
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::splice::{PathExpr, select};
    use crate::yaml::parse;

    fn keys(path: &str) -> Vec<Key> {
        let step = |step: &str| step.parse().map_or_else(|_| Key::from(step), Key::Index);
        path.split('/').filter(|step| !step.is_empty()).map(step).collect()
    }

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn applied(text: &str, changes: &[Change]) -> String {
        apply(text, changes).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn keys_and_items_are_inserted_in_the_style_of_the_file() {
        let t = Value::text;
        let item = map(&[("name", t("x")), ("newTag", t("1.0"))]);
        let table = [
            ("a: 1 # c\n", "b", t("2"), "a: 1 # c\nb: \"2\"\n"),
            ("a: 1", "b", t("x"), "a: 1\nb: x"),
            ("a: 1\r\n# c\r\n", "b", t("x"), "a: 1\r\nb: x\r\n# c\r\n"),
            ("a:\n  b: 'x'\n\nd: 1\n", "a/c", t("y"), "a:\n  b: 'x'\n  c: 'y'\n\nd: 1\n"),
            ("- a: 1\n- b: 2\n", "0/c", t("w"), "- a: 1\n  c: w\n- b: 2\n"),
            (
                "a:\n    b:\n        c: 1\n",
                "x",
                map(&[("w", t("z"))]),
                "a:\n    b:\n        c: 1\nx:\n    w: z\n",
            ),
            (
                "images:\n- name: a\n",
                "images/1",
                item.clone(),
                "images:\n- name: a\n- name: x\n  newTag: \"1.0\"\n",
            ),
            (
                "images:\n  -   name: a\n",
                "images/0",
                item.clone(),
                "images:\n  -   name: x\n      newTag: \"1.0\"\n  -   name: a\n",
            ),
            (
                "images: [] # c\n",
                "images/0",
                item.clone(),
                "images: # c\n- name: x\n  newTag: \"1.0\"\n",
            ),
            (
                "images:\nb: 1\n",
                "images/0",
                item.clone(),
                "images:\n- name: x\n  newTag: \"1.0\"\nb: 1\n",
            ),
            ("a: {b: 1, c: d}\n", "a/e", t("f"), "a: {b: 1, c: d, e: f}\n"),
            ("a: [b, c]\n", "a/1", t("x,y"), "a: [b, \"x,y\", c]\n"),
            ("a: [b, c,]\n", "a/2", t("d"), "a: [b, c, d,]\n"),
            ("a: [\n  b, # c\n  d # e\n]\n", "a/2", t("f"), "a: [\n  b, # c\n  d, # e\n  f\n]\n"),
            (
                "{\n\t\"a\": 1\n}\n",
                "b",
                item.clone(),
                "{\n\t\"a\": 1,\n\t\"b\": {\"name\": \"x\", \"newTag\": \"1.0\"}\n}\n",
            ),
            ("{\"a\":1}", "b", t("x"), "{\"a\":1, \"b\":\"x\"}"),
            ("{\"a\":[]}", "a/0", t("x"), "{\"a\":[\"x\"]}"),
            ("a: |\n  x\n\n\nb: 1\n", "c", t("x"), "a: |\n  x\n\n\nb: 1\nc: x\n"),
            ("- |+\n  x\n\n- y\n", "1", t("z"), "- |+\n  x\n\n- z\n- y\n"),
            (
                "a: |\n  x",
                "b",
                t("z"),
                "2:4: `b` cannot be changed: the block scalar in front of it is the end of the file and has no line break",
            ),
            ("a: 1\n", "a", t("z"), "1:1: `a` is there already"),
            (
                "a: [b: c]\n",
                "a/0/d",
                t("z"),
                "1:5: `a[0].d` cannot be changed: it is a pair without braces",
            ),
        ];
        for (text, path, value, expected) in table {
            let change = Change::insert(0, keys(path), value);
            assert_eq!(applied(text, &[change]), expected, "{text:?}");
        }
    }

    #[test]
    fn keys_and_items_go_with_their_lines() {
        let table = [
            ("a: 1 # c\nb: 2\n", "a", "b: 2\n"),
            ("a: 1\r\nb: 2 # c\r\nc: 3\r\n", "b", "a: 1\r\nc: 3\r\n"),
            ("a: 1\nb: 2", "b", "a: 1"),
            ("a: 1\nb:\n  - c\n  - d\n# e\n", "b", "a: 1\n# e\n"),
            ("- a: 1 # c\n  b: 2\n", "0/a", "- b: 2\n"),
            ("- a: 1\n  # c\n  b: 2\n", "0/a", "- \n  # c\n  b: 2\n"),
            ("- a\n- b: |\n    x\n\n- c\n", "1", "- a\n\n- c\n"),
            ("a:\n  b: 1 # c\nd: 2\n", "a/b", "a: {} # c\nd: 2\n"),
            ("a: # x\n- b\nd: 2\n", "a/0", "a: [] # x\nd: 2\n"),
            ("- a: 1\n- b\n", "0/a", "- {}\n- b\n"),
            ("a: 1\n", "a", "{}\n"),
            ("[a, b, c]", "0", "[b, c]"),
            ("[a, b, c]", "2", "[a, b]"),
            ("[a, b, c,]", "2", "[a, b, ]"),
            ("{a: 1}", "a", "{}"),
            ("[\n  a, # x\n  b # y\n]", "1", "[\n  a # x\n]"),
            ("[\n  a, # x\n  b # y\n]", "0", "[\n  b # y\n]"),
            ("{\n \"a\": 1,\n \"b\": 2\n}\n", "b", "{\n \"a\": 1\n}\n"),
            (
                "a: &x 1\nb: *x\n",
                "a",
                "1:4: `a` has the anchor `&x`, which is used at 2:4 too: a change here would be one there",
            ),
            (
                "a: {b: &x 1}\nb: *x\n",
                "a",
                "1:8: `a` has the anchor `&x`, which is used at 2:4 too: a change here would be one there",
            ),
            ("a: 1\n", "b", "1:1: nothing at `b`: `.` has `a`"),
        ];
        for (text, path, expected) in table {
            assert_eq!(applied(text, &[Change::remove(0, keys(path))]), expected, "{text:?}");
        }
    }

    #[test]
    fn whole_values_are_replaced() {
        let t = Value::text;
        let list = Value::List(vec![t("x"), Value::Raw("1".to_owned())]);
        let table = [
            ("a:\n  - b\n  - c # d\ne: 1\n", "a", list.clone(), "a:\n  - x\n  - 1 # d\ne: 1\n"),
            ("a: b # c\n", "a", list.clone(), "a: # c\n- x\n- 1\n"),
            ("a: # c\n  b: 1\n", "a", list.clone(), "a: # c\n- x\n- 1\n"),
            ("- b: 1\n  c: 2\n- d\n", "0", list.clone(), "- - x\n  - 1\n- d\n"),
            ("a: [b]\n", "a", Value::List(Vec::new()), "a: []\n"),
            ("a: {b: c}\n", "a/b", list.clone(), "a: {b: [x, 1]}\n"),
            ("a:\n- x\n- 1\n", "a", list, "a:\n- x\n- 1\n"),
        ];
        for (text, path, value, expected) in table {
            assert_eq!(applied(text, &[Change::set(0, keys(path), value)]), expected, "{text:?}");
        }
    }

    #[test]
    fn many_changes_are_of_the_text_as_it_was() {
        let text = "l:\n- a\n- b\n- c\n- d: 1\nm: {x: 1}\n---\nn: 1\n";
        let t = Value::text;
        let changes = [
            Change::remove(0, keys("l/0")),
            Change::insert(0, keys("l/1"), t("new1")),
            Change::insert(0, keys("l/1"), t("new2")),
            Change::remove(0, keys("l/1")),
            Change::insert(0, keys("l/4"), t("end")),
            Change::insert(0, keys("l/3/e"), t("x")),
            Change::insert(0, keys("l/3/f"), t("w")),
            Change::set(0, keys("l/3/d"), t("z")),
            Change::set(0, keys("m/x"), t("z")),
            Change::set(1, keys("n"), Value::Raw("2".to_owned())),
        ];
        let expected =
            "l:\n- new1\n- new2\n- c\n- d: z\n  e: x\n  f: w\n- end\nm: {x: z}\n---\nn: 2\n";
        assert_eq!(applied(text, &changes), expected);
        let all = [Change::remove(0, keys("l/0")), Change::remove(0, keys("l/1"))];
        assert_eq!(applied("l:\n  - a\n  - b\n", &all), "l: []\n");
    }

    #[test]
    fn contradictions_are_refused() {
        let text = "a: {b: 1}\n";
        let two = |first: Change, second: Change| applied(text, &[first, second]);
        let set = |path: &str, value: &str| Change::set(0, keys(path), Value::text(value));
        let overlap = |path: &str| format!("1:1: `{path}` is changed in two ways at once");
        assert_eq!(two(set("a/b", "x"), set("a/b", "y")), overlap("a.b"));
        assert_eq!(two(Change::remove(0, keys("a")), set("a/b", "y")), overlap("a"));
        assert_eq!(two(set("a/b", "x"), set("a/b", "x")), "a: {b: x}\n");
        let insert = |value: &str| Change::insert(0, keys("a/c"), Value::text(value));
        assert_eq!(two(insert("x"), insert("y")), overlap("a.c"));
    }

    #[test]
    fn several_places_are_changed_at_once() {
        let text = "images:\n- {name: a, tag: 1}\n- {name: b, tag: '2'}\n";
        let stream = parse(text).unwrap();
        let path = PathExpr::parse("images[*].tag").unwrap();
        let changes: Vec<Change> = select(text, &stream, &path, true)
            .unwrap()
            .into_iter()
            .map(|target| Change::set(target.document, target.path, Value::text("3")))
            .collect();
        let expected = "images:\n- {name: a, tag: \"3\"}\n- {name: b, tag: '3'}\n";
        assert_eq!(applied(text, &changes), expected);
    }
}
