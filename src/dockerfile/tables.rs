//! The tables of `testdata/expand.txt` and `testdata/ignore.txt`: what `BuildKit`'s own tests say
//! about expansion and ignore rules, a row each. Their heads describe the format; how many rows
//! restate which of its tables is said here, so that `testdata/README.md` can rely on it.

use std::collections::BTreeMap;

use super::*;

const EXPANSION: &[(&str, usize)] = &[
    ("shell mandatory variables", 6),
    ("shell modifiers", 43),
    ("shell patterns", 10),
    ("shell platform name", 3),
    ("shell variables", 228),
    ("shell words", 19),
    ("yado", 75),
];

const IGNORE: &[(&str, usize)] = &[
    ("BuildKit itself", 16),
    ("go filepath match", 54),
    ("ignore file lines", 8),
    ("patternmatcher functions", 15),
    ("patternmatcher several patterns", 4),
    ("patternmatcher single patterns", 68),
];

/// The rows of a table: its source, what stands before ` => `, and what behind.
/// Lines of settings come as rows without a result.
fn rows(text: &str) -> Vec<(&str, String, Option<String>)> {
    let mut source = "";
    let mut rows = Vec::new();
    let blanks = |text: &str| text.replace('␠', " ");
    for line in text.lines().skip_while(|line| !line.starts_with("source ")) {
        if line.is_empty() {
            continue;
        }
        if let Some((input, result)) = line.split_once(" =>") {
            let result = result.strip_prefix(' ').unwrap_or(result);
            rows.push((source, blanks(input), Some(blanks(result))));
        } else if let Some(name) = line.strip_prefix("source ") {
            source = name;
        } else {
            rows.push((source, blanks(line), None));
        }
    }
    rows
}

fn assert_counts(counts: &BTreeMap<&str, usize>, expected: &[(&str, usize)]) {
    let counts: Vec<(&str, usize)> = counts.iter().map(|(name, count)| (*name, *count)).collect();
    assert_eq!(counts, expected);
}

fn assign<'a>(variables: &mut BTreeMap<&'a str, &'a str>, assignment: &'a str) {
    let (name, value) = assignment.split_once('=').expect("NAME=value");
    variables.insert(name, value);
}

#[test]
fn words_expand_as_in_the_table() {
    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    let rows = rows(include_str!("../../testdata/expand.txt"));
    let (mut variables, mut list, mut last_source) = (BTreeMap::new(), false, "");
    for (source, input, result) in &rows {
        if *source != last_source {
            (variables, list, last_source) = (BTreeMap::new(), false, source);
        }
        let Some(result) = result else {
            match input.split_once(' ').expect("a setting") {
                ("let", assignment) => assign(&mut variables, assignment),
                ("mode", mode) => list = mode == "words",
                other => panic!("no setting {other:?}"),
            }
            continue;
        };
        *counts.entry(*source).or_insert(0) += 1;
        let (expected, own) = result.split_once("; ").unwrap_or((result, ""));
        let expected = expected.strip_suffix(' ').unwrap_or(expected);
        let mut known = variables.clone();
        own.split(' ').filter(|own| !own.is_empty()).for_each(|own| assign(&mut known, own));
        let lookup = |name: &str| known.get(name).map(|value| (*value).to_owned());
        let found = match expand(input, '\\', &lookup) {
            Err(_) => "error".to_owned(),
            Ok(done) if list => {
                done.words.iter().map(|word| format!("[{word}]")).collect::<Vec<_>>().join(" ")
            }
            Ok(done) => done.text,
        };
        if found != expected {
            wrong.push(format!("{source}: {input} => {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_counts(&counts, EXPANSION);
}

#[test]
fn paths_are_ignored_as_in_the_table() {
    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    for (source, input, result) in rows(include_str!("../../testdata/ignore.txt")) {
        let result = result.expect("no settings here");
        *counts.entry(source).or_insert(0) += 1;
        let (path, expected) = result.rsplit_once(' ').unwrap_or(("", &result));
        let found = match Ignore::parse(&input.replace(" ¦ ", "\n")) {
            Err(_) => "error",
            Ok(ignore) if ignore.matches(path) => "ignored",
            Ok(_) => "kept",
        };
        if found != expected {
            wrong.push(format!("{source}: {input} => {path} {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_counts(&counts, IGNORE);
}
