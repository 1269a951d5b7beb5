//! `parse-dockerfile`, a parser by others, reads what we read: the same instructions with the
//! same flags, words and heredocs, in every file of `testdata` that is accepted here. Where it
//! does not, the file is listed with the reason, and is taken off the list when it does.

use std::path::Path;

use parse_dockerfile::{Command, Flag, HealthcheckArguments, JsonOrStringArray, UnescapedString};
use serde_json::{Value, json};

use super::expand::shell_words;
use super::lines::{Line, continuation};
use super::nodes;
use super::words::Part;
use super::*;

/// Files that it reads otherwise.
const DIVERGENCES: &[(&str, &str)] = &[
    ("continuation-escaped-escape", "it joins the next line to one that ends in an escaped escape"),
    ("table: trailing-backslash", "it joins the next line to one that ends in an escaped escape"),
    ("copy", "it takes a source that begins with '[' for malformed JSON"),
    ("exec-form", "it refuses an empty array"),
    ("flag-quoted", "quotes in flags are text for it, and blanks end them"),
    ("run-mounts", "quotes in flags are text for it"),
    ("global-arg-only", "its files have a FROM"),
    ("maintainer", "its files begin with FROM"),
    ("heredoc-after-continuation", "it finds heredocs only as the first word"),
    ("heredoc-not-first", "it finds heredocs only as the first word"),
    ("onbuild-heredoc-not-first", "it finds heredocs only as the first word"),
    ("heredoc-several", "it finds one heredoc in a RUN"),
    ("heredoc-blank-before-word", "it knows no blank between << and the word"),
    ("heredoc-descriptor", "it knows no number before <<"),
    ("table: heredocs", "it knows no number before <<"),
    ("table: heredoc words", "it knows no blank between << and the word"),
    ("table: escape_whitespace", "it knows no blanks before a directive"),
];

/// What both say of a file: for each instruction the keyword, flags, words and heredocs.
/// The words of ARG, ENV and LABEL are one text, it does not split them. Empty words are left
/// out: CMD without an argument has one there and none here.
fn here(dockerfile: &Dockerfile) -> Vec<Value> {
    dockerfile.instructions.iter().map(|i| here_node(&i.text, &i.kind)).collect()
}

fn here_node(text: &str, kind: &InstructionKind) -> Value {
    let line = Line::of(text);
    let (keyword, rest) = Part::whole(&line).keyword();
    let (flags, arguments) = rest.take_flags();
    let flags: Vec<String> = flags.into_iter().map(|flag| flag.value).collect();
    let mut node = match kind {
        InstructionKind::Arg(_) | InstructionKind::Env(_) | InstructionKind::Label(_) => {
            json!([keyword.text().to_lowercase(), arguments.text()])
        }
        InstructionKind::Onbuild(onbuild) => {
            json!(["onbuild", here_node(&onbuild.instruction.text, &onbuild.instruction.kind)])
        }
        kind => nodes::node(kind),
    };
    // For it a heredoc that comes first is no part of the command.
    if let InstructionKind::Run(run) = kind
        && let CommandLine::Shell(command) = &run.command
        && let Some(first) = shell_words(&command.value).first()
        && Heredoc::of_word(first).is_some()
    {
        node = json!(["run", command.value[first.len()..].trim()]);
    }
    let list = node.as_array_mut().expect("a list");
    list.retain(|word| word != "");
    list.insert(1, json!(flags));
    if !matches!(kind, InstructionKind::Onbuild(_)) {
        for heredoc in print::heredocs(kind) {
            list.push(json!({ "expand": heredoc.expand, "body": heredoc.content() }));
        }
    }
    node
}

/// Its texts for the shell, in which lines are as they are in the file.
fn join(text: &str, escape: char) -> String {
    let mut joined = String::new();
    for (index, line) in text.lines().enumerate() {
        let bare = line.trim();
        if index > 0 && (bare.is_empty() || bare.starts_with('#')) {
            continue;
        }
        joined.push_str(continuation(line, escape).0);
    }
    joined.trim().to_owned()
}

struct There {
    escape: char,
    node: Vec<Value>,
}

impl There {
    fn of(instruction: &parse_dockerfile::Instruction<'_>, escape: char) -> Value {
        use parse_dockerfile::Instruction as I;
        let mut there = Self { escape, node: Vec::new() };
        match instruction {
            I::From(from) => {
                there.start("from", &from.options);
                there.words([&from.image]);
                if let Some((_, name)) = &from.as_ {
                    there.node.extend([json!("AS"), json!(name.value.to_lowercase())]);
                }
            }
            I::Arg(arg) => there.text("arg", &arg.arguments),
            I::Env(env) => there.text("env", &env.arguments),
            I::Label(label) => there.text("label", &label.arguments),
            I::Workdir(workdir) => there.text("workdir", &workdir.arguments),
            I::User(user) => there.text("user", &user.arguments),
            I::Stopsignal(signal) => there.text("stopsignal", &signal.arguments),
            I::Maintainer(maintainer) => there.text("maintainer", &maintainer.name),
            I::Run(run) => {
                there.start("run", &run.options);
                there.command(&run.arguments);
                run.here_docs.iter().for_each(|document| there.document(document));
            }
            I::Cmd(cmd) => {
                there.start("cmd", &[]);
                there.command(&cmd.arguments);
            }
            I::Entrypoint(entrypoint) => {
                there.start("entrypoint", &[]);
                there.command(&entrypoint.arguments);
            }
            I::Copy(copy) => {
                there.start("copy", &copy.options);
                there.transfer(&copy.src, &copy.dest);
            }
            I::Add(add) => {
                there.start("add", &add.options);
                there.transfer(&add.src, &add.dest);
            }
            I::Expose(expose) => {
                there.start("expose", &[]);
                there.words(&expose.arguments);
            }
            I::Volume(volume) => {
                there.start("volume", &[]);
                match &volume.arguments {
                    JsonOrStringArray::Json(words) => there.words(&words.value),
                    JsonOrStringArray::String(words) => there.words(words),
                }
            }
            I::Shell(shell) => {
                there.start("shell", &[]);
                there.words(&shell.arguments);
            }
            I::Healthcheck(check) => {
                there.start("healthcheck", &check.options);
                match &check.arguments {
                    HealthcheckArguments::Cmd { arguments, .. } => {
                        there.node.push(json!("CMD"));
                        there.command(arguments);
                    }
                    _ => there.node.push(json!("NONE")),
                }
            }
            I::Onbuild(onbuild) => {
                there.start("onbuild", &[]);
                there.node.push(Self::of(&onbuild.instruction, escape));
            }
            other => panic!("a new instruction: {other:?}"),
        }
        there.node.retain(|word| word != "");
        Value::Array(there.node)
    }

    fn start(&mut self, keyword: &str, flags: &[Flag<'_>]) {
        let flags = flags.iter().map(|flag| match &flag.value {
            Some(value) => format!("--{}={}", flag.name.value, value.value),
            None => format!("--{}", flag.name.value),
        });
        let flags: Vec<String> = flags.collect();
        self.node.extend([json!(keyword), json!(flags)]);
    }

    fn text(&mut self, keyword: &str, text: &UnescapedString<'_>) {
        self.start(keyword, &[]);
        self.words([text]);
    }

    fn words<'a, 'b: 'a>(&mut self, words: impl IntoIterator<Item = &'a UnescapedString<'b>>) {
        self.node.extend(words.into_iter().map(|word| json!(word.value)));
    }

    fn command(&mut self, command: &Command<'_>) {
        match command {
            Command::Exec(words) => self.words(&words.value),
            Command::Shell(text) => self.node.push(json!(join(text.value, self.escape))),
            other => panic!("a new form: {other:?}"),
        }
    }

    fn document(&mut self, document: &parse_dockerfile::HereDoc<'_>) {
        self.node.push(json!({ "expand": document.expand, "body": document.value }));
    }

    fn transfer(&mut self, sources: &[parse_dockerfile::Source<'_>], to: &UnescapedString<'_>) {
        use parse_dockerfile::Source::{HereDoc, Path};
        let paths = sources.iter().filter_map(|source| match source {
            Path(path) => Some(path),
            _ => None,
        });
        self.words(paths.chain([to]));
        for source in sources {
            if let HereDoc(document) = source {
                self.document(document);
            }
        }
    }
}

/// The names and texts of all files.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dockerfile");
    let mut files: Vec<(String, String)> = std::fs::read_dir(root)
        .unwrap()
        .map(|case| case.unwrap().path())
        .map(|case| {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(case.join("Dockerfile")).unwrap())
        })
        .collect();
    files.sort();
    let table = nodes::cases(include_str!("../../testdata/parse.txt"));
    files.extend(table.into_iter().map(|case| (format!("table: {}", case.source), case.text)));
    files
}

#[test]
fn another_parser_reads_the_same() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, text) in files() {
        let (dockerfile, remarks) = parse(&Source::new("D", &*text));
        if remarks.iter().any(|remark| remark.severity == Severity::Error) {
            continue;
        }
        compared += 1;
        let escape = dockerfile.escape;
        let there = parse_dockerfile::parse(&text)
            .map_err(|error| error.to_string())
            .map(|file| file.instructions.iter().map(|i| There::of(i, escape)).collect::<Vec<_>>());
        let here = here(&dockerfile);
        let listed = DIVERGENCES.iter().any(|(known, _)| *known == name);
        if there.as_ref() == Ok(&here) {
            if listed {
                wrong.push(format!("{name}: it reads this as we do now, take it off the list"));
            }
        } else if !listed {
            let there = there.unwrap_or_else(|error| vec![json!(error)]);
            let index = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
            let shown = |node: Option<&Value>| node.map_or("-".to_owned(), Value::to_string);
            let (a, b) = (shown(here.get(index)), shown(there.get(index)));
            wrong.push(format!("{name}: here {a}\n    there {b}"));
        }
    }
    for (name, _) in DIVERGENCES {
        if !files().iter().any(|(file, _)| file == name) {
            wrong.push(format!("{name}: no such file"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 90, "only {compared} files");
}
