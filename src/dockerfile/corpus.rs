//! The cases of `testdata/dockerfile`: a Dockerfile and a dump of what was
//! understood. `UPDATE_EXPECT=1` rewrites the dumps.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn cases(area: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(area);
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn load(case: &Path) -> Source {
    Source::new("Dockerfile", std::fs::read_to_string(case.join("Dockerfile")).unwrap())
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

struct Dump<'a> {
    source: &'a Source,
    out: String,
}

impl Dump<'_> {
    fn word(&self, word: &Word) -> String {
        let (line, column) = self.source.position(word.span.start);
        format!("{:?}@{line}:{column}", word.value)
    }

    fn words(&self, words: &[Word]) -> String {
        let words: Vec<String> = words.iter().map(|word| self.word(word)).collect();
        format!("[{}]", words.join(", "))
    }

    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let _ = writeln!(self.out, "    {name} {}", value.as_ref());
    }

    fn optional(&mut self, name: &str, word: Option<&Word>) {
        if let Some(word) = word {
            let word = self.word(word);
            self.field(name, word);
        }
    }

    fn command(&mut self, command: &CommandLine) {
        match command {
            CommandLine::Shell(text) => self.field("shell", self.word(text)),
            CommandLine::Exec(words) => self.field("exec", self.words(words)),
        }
    }

    fn heredoc(&mut self, heredoc: &Heredoc) {
        let marks = [(!heredoc.expand, " quoted"), (heredoc.strip_tabs, " tabs-stripped")];
        let marks: String = marks.iter().filter(|m| m.0).map(|m| m.1).collect();
        let descriptor = heredoc.descriptor.map_or_else(String::new, |d| format!(" fd={d}"));
        self.field(
            "heredoc",
            format!("{:?}{marks}{descriptor} {:?}", heredoc.name, heredoc.content()),
        );
    }

    fn transfer(&mut self, transfer: &Transfer) {
        self.field("sources", self.words(&transfer.sources));
        for source in &transfer.inline {
            self.heredoc(&source.heredoc);
        }
        self.field("destination", self.word(&transfer.destination));
        self.optional("chown", transfer.chown.as_ref());
        self.optional("chmod", transfer.chmod.as_ref());
        for word in &transfer.exclude {
            self.field("exclude", self.word(word));
        }
        if transfer.link.is_some() {
            self.field("link", "");
        }
    }

    fn pairs(&mut self, pairs: &[KeyValue]) {
        for pair in pairs {
            self.field("pair", format!("{} = {}", self.word(&pair.key), self.word(&pair.value)));
        }
    }

    fn run(&mut self, run: &Run) {
        for mount in &run.mounts {
            let mut line = format!("{:?}", mount.kind);
            for (key, word) in [
                ("id", &mount.id),
                ("from", &mount.from),
                ("source", &mount.source),
                ("target", &mount.target),
                ("env", &mount.env),
                ("mode", &mount.mode),
                ("uid", &mount.uid),
                ("gid", &mount.gid),
                ("size", &mount.size),
            ] {
                if let Some(word) = word {
                    let _ = write!(line, " {key}={:?}", word.value);
                }
            }
            if let Some(read_only) = mount.read_only {
                let _ = write!(line, " read_only={read_only}");
            }
            if let Some(sharing) = mount.sharing {
                let _ = write!(line, " sharing={sharing:?}");
            }
            if mount.required {
                line.push_str(" required");
            }
            self.field("mount", line);
        }
        if let Some(network) = &run.network {
            self.field("network", format!("{:?}", network.value));
        }
        if let Some(security) = &run.security {
            self.field("security", format!("{:?}", security.value));
        }
        for device in &run.devices {
            self.field("device", format!("{:?}", device.value));
        }
        self.command(&run.command);
        run.heredocs.iter().for_each(|heredoc| self.heredoc(heredoc));
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let (line, column) = self.source.position(instruction.keyword.start);
        let _ = writeln!(self.out, "{line}:{column} {}", instruction.text);
        match &instruction.kind {
            InstructionKind::From(from) => {
                self.optional("platform", from.platform.as_ref());
                self.field("from", self.word(&from.image));
                self.optional("as", from.name.as_ref());
            }
            InstructionKind::Arg(arguments) => {
                for argument in arguments {
                    let name = self.word(&argument.name);
                    match &argument.default {
                        Some(default) => {
                            self.field("arg", format!("{name} = {}", self.word(default)));
                        }
                        None => self.field("arg", name),
                    }
                }
            }
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => self.pairs(pairs),
            InstructionKind::Run(run) => self.run(run),
            InstructionKind::Copy(copy) => {
                self.optional("from", copy.from.as_ref());
                self.transfer(&copy.transfer);
                if copy.parents.is_some() {
                    self.field("parents", "");
                }
            }
            InstructionKind::Add(add) => {
                self.transfer(&add.transfer);
                self.optional("checksum", add.checksum.as_ref());
                for (name, switch) in [("keep-git-dir", &add.keep_git_dir), ("unpack", &add.unpack)]
                {
                    if let Some(switch) = switch {
                        self.field(name, switch.value.to_string());
                    }
                }
            }
            InstructionKind::Workdir(word) => self.field("workdir", self.word(word)),
            InstructionKind::User(word) => self.field("user", self.word(word)),
            InstructionKind::Stopsignal(word) => self.field("signal", self.word(word)),
            InstructionKind::Maintainer(word) => self.field("maintainer", self.word(word)),
            InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => {
                self.command(command);
            }
            InstructionKind::Expose(words) => self.field("ports", self.words(words)),
            InstructionKind::Volume(words) => self.field("volumes", self.words(words)),
            InstructionKind::Shell(words) => self.field("shell", self.words(words)),
            InstructionKind::Healthcheck(check) => {
                match &check.command {
                    Some(command) => self.command(command),
                    None => self.field("none", ""),
                }
                for (name, value) in [
                    ("interval", check.interval),
                    ("timeout", check.timeout),
                    ("start-period", check.start_period),
                    ("start-interval", check.start_interval),
                    ("retries", check.retries),
                ] {
                    if value != 0 {
                        self.field(name, value.to_string());
                    }
                }
            }
            InstructionKind::Onbuild(onbuild) => {
                self.field("trigger", format!("{:?}", onbuild.trigger));
                self.instruction(&onbuild.instruction);
            }
        }
    }
}

fn dump(source: &Source) -> String {
    let (dockerfile, diagnostics) = parse(source);
    let mut dump = Dump { source, out: String::new() };
    for directive in &dockerfile.directives {
        let (key, value) = (dump.word(&directive.key), dump.word(&directive.value));
        let _ = writeln!(dump.out, "directive {key} = {value}");
    }
    for instruction in &dockerfile.instructions {
        dump.instruction(instruction);
    }
    let lines: Vec<&str> = dump.out.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    let mut out = lines.concat();
    if !diagnostics.is_empty() {
        out.push_str("---\n");
        out.push_str(&render(&diagnostics, source));
    }
    out
}

#[test]
fn every_case_is_understood_as_expected() {
    let mut wrong = Vec::new();
    let cases = cases("dockerfile");
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in cases {
        let found = dump(&load(&case));
        let file = case.join("expect.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &found).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != found {
            wrong.push(format!("== {}\n{found}", name(&case)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_are_where_they_are_said_to_be() {
    for case in cases("dockerfile") {
        let source = load(&case);
        for instruction in parse(&source).0.instructions {
            let at = |span: Span| source.text.get(span.start..span.end).unwrap();
            let keyword = at(instruction.keyword);
            assert!(at(instruction.span).starts_with(keyword), "{}", name(&case));
            // A keyword may go over a line end.
            let whole = keyword.replace("\\\n", "");
            assert!(instruction.text.starts_with(&whole), "{}", name(&case));
        }
    }
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let source = Source::new("D", String::from_utf8_lossy(&bytes));
        let (_, diagnostics) = parse(&source);
        let _ = render(&diagnostics, &source);
    }

    #[test]
    fn never_panics_on_a_changed_file(
        index in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![
            "\\\n", "\n", "<<", "<<EOF", "'", "\"", "[", "]", "--", "=", "$", "${", "#", "\r\n", "é", "\u{feff}", " ", "",
        ]), 0..4_usize), 1..6),
    ) {
        let cases = cases("dockerfile");
        let mut text: Vec<char> = load(&cases[index.index(cases.len())]).text.chars().collect();
        for (at, insert, remove) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let source = Source::new("D", text.into_iter().collect::<String>());
        let (_, diagnostics) = parse(&source);
        let _ = render(&diagnostics, &source);
    }
}
