//! The files of `testdata/parse.txt` and the instructions, words and heredocs that `BuildKit`
//! finds in them; its head describes the format.

use serde_json::{Value, json};

use super::*;

/// How many files there are, and how many instructions and mistakes in them.
const FILES: usize = 57;
const FACTS: usize = 451;

#[derive(Default)]
pub(super) struct Case<'a> {
    pub(super) source: &'a str,
    pub(super) text: String,
    /// Instructions and heredocs in order.
    nodes: Vec<Value>,
    directives: Vec<String>,
    /// Lines; 0 is the file as a whole.
    errors: Vec<usize>,
}

pub(super) fn cases(table: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in table.lines() {
        if let Some(source) = line.strip_prefix("source ") {
            cases.push(Case { source, ..Case::default() });
        }
        let Some(case) = cases.last_mut() else { continue };
        let (mark, rest) = line.split_at_checked(1).unwrap_or(("", ""));
        let text = rest.strip_prefix(' ').unwrap_or(rest).replace('␠', " ").replace('⇥', "\t");
        match mark {
            ">" if rest.starts_with('|') => case.text.push_str(&text[1..]),
            ">" => case.text.extend([&text, "\n"]),
            "=" | "~" => case.nodes.push(serde_json::from_str(rest).expect(line)),
            "@" => case.directives.push(text),
            "!" => case.errors.push(text.parse().unwrap_or(0)),
            _ => assert!(line.is_empty() || line.starts_with("source "), "{line}"),
        }
    }
    cases
}

/// The keyword and the words, without flags.
pub(super) fn node(kind: &InstructionKind) -> Value {
    let word = |keyword: &str, word: &Word| json!([keyword, word.value]);
    let words = |keyword: &str, words: &[Word]| {
        let words = words.iter().map(|word| json!(word.value));
        Value::Array([json!(keyword)].into_iter().chain(words).collect())
    };
    let command = |keyword: &str, command: &CommandLine| match command {
        CommandLine::Shell(text) => word(keyword, text),
        CommandLine::Exec(list) => words(keyword, list),
    };
    let pairs = |keyword: &str, pairs: &[KeyValue]| {
        let all: Vec<Word> =
            pairs.iter().flat_map(|pair| [pair.key.clone(), pair.value.clone()]).collect();
        words(keyword, &all)
    };
    let transfer = |keyword: &str, transfer: &Transfer| {
        let mut all = transfer.sources.clone();
        all.push(transfer.destination.clone());
        words(keyword, &all)
    };
    match kind {
        InstructionKind::From(from) => match &from.name {
            Some(name) => json!(["from", from.image.value, "AS", name.value]),
            None => word("from", &from.image),
        },
        InstructionKind::Arg(declarations) => {
            let declarations = declarations.iter().map(|declaration| {
                let name = &declaration.name.value;
                let default = declaration.default.as_ref();
                json!(default.map_or(name.clone(), |value| format!("{name}={}", value.value)))
            });
            Value::Array([json!("arg")].into_iter().chain(declarations).collect())
        }
        InstructionKind::Env(list) => pairs("env", list),
        InstructionKind::Label(list) => pairs("label", list),
        InstructionKind::Run(run) => command("run", &run.command),
        InstructionKind::Copy(copy) => transfer("copy", &copy.transfer),
        InstructionKind::Add(add) => transfer("add", &add.transfer),
        InstructionKind::Workdir(text) => word("workdir", text),
        InstructionKind::User(text) => word("user", text),
        InstructionKind::Stopsignal(text) => word("stopsignal", text),
        InstructionKind::Maintainer(text) => word("maintainer", text),
        InstructionKind::Cmd(line) => command("cmd", line),
        InstructionKind::Entrypoint(line) => command("entrypoint", line),
        InstructionKind::Expose(list) => words("expose", list),
        InstructionKind::Volume(list) => words("volume", list),
        InstructionKind::Shell(list) => words("shell", list),
        InstructionKind::Healthcheck(check) => {
            let mut node = check.command.as_ref().map_or(json!(["NONE"]), |c| command("CMD", c));
            node.as_array_mut().unwrap().insert(0, json!("healthcheck"));
            node
        }
        InstructionKind::Onbuild(onbuild) => json!(["onbuild", node(&onbuild.instruction.kind)]),
    }
}

fn heredoc_node(heredoc: &Heredoc) -> Value {
    let mut node = json!({
        "name": heredoc.name, "body": heredoc.body.value, "expand": heredoc.expand,
    });
    if heredoc.strip_tabs {
        node["strip"] = json!(true);
    }
    if let Some(number) = heredoc.descriptor {
        node["number"] = json!(number);
    }
    node
}

#[test]
fn files_are_read_as_in_the_table() {
    let table = cases(include_str!("../../testdata/parse.txt"));
    let mut wrong = Vec::new();
    for case in &table {
        let source = Source::new("D", &*case.text);
        let (dockerfile, remarks) = parse(&source);
        let errors = remarks.iter().filter(|remark| remark.severity == Severity::Error);
        let lines: Vec<usize> =
            errors.map(|e| e.span.map_or(0, |span| source.position(span.start).0)).collect();
        let directives = dockerfile.directives.iter();
        let directives: Vec<String> =
            directives.map(|d| format!("{} {}", d.key.value, d.value.value)).collect();
        let nodes: Vec<Value> = dockerfile
            .instructions
            .iter()
            .flat_map(|instruction| {
                let heredocs = print::heredocs(&instruction.kind).into_iter().map(heredoc_node);
                [node(&instruction.kind)].into_iter().chain(heredocs)
            })
            .collect();
        if (&lines, &directives) != (&case.errors, &case.directives) {
            wrong.push(format!("{}: errors in {lines:?}, {directives:?}", case.source));
        }
        for index in 0..nodes.len().max(case.nodes.len()) {
            let (found, expected) = (nodes.get(index), case.nodes.get(index));
            if found != expected {
                wrong.push(format!("{}: {found:?}, not {expected:?}", case.source));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let facts = table.iter().map(|case| case.nodes.len() + case.errors.len()).sum();
    assert_eq!((table.len(), facts), (FILES, FACTS));
}
