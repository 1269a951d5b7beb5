//! Which module may use which: the table of ARCHITECTURE.md, held against the
//! `crate::` paths of `src/`. A new arrow is a deliberate change of that table.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What all may use without a line in the table.
const FOR_ALL: [&str; 4] = ["fs", "sys", "report", "testing"];

type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_use_what_the_architecture_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let allowed = table(&fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    let mut found = Arrows::new();
    for module in allowed.keys() {
        let mut uses = BTreeSet::new();
        collect(&root.join("src").join(module), &mut uses);
        uses.retain(|used| used != module && !FOR_ALL.contains(&used.as_str()));
        found.insert(module.clone(), uses);
    }
    let folders = fs::read_dir(root.join("src")).unwrap().flatten();
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let missing: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "report" && !allowed.contains_key(name))
        .collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    for (module, uses) in &found {
        assert_eq!(uses, &allowed[module], "left what `{module}` uses, right what the table says");
    }
}

/// The rows below the table's head: the module, and the names in backticks.
fn table(text: &str) -> Arrows {
    let rows = text.lines().skip_while(|line| *line != "| module | uses |").skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let (module, uses) = line.trim_matches('|').split_once('|').unwrap();
        let uses = uses.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (module.trim().trim_matches('`').to_owned(), uses)
    });
    let arrows: Arrows = rows.collect();
    assert!(arrows.len() > 10, "the table was not found");
    arrows
}

/// The first words after `crate::` in all files of a folder. Comments do not count.
fn collect(folder: &Path, uses: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), uses);
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (_, rest) in
                line.match_indices("crate::").map(|(at, word)| line.split_at(at + word.len()))
            {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                uses.insert(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
    }
}
