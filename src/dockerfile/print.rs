//! A Dockerfile as text again, in normal form: an instruction on one line, its flags in a fixed
//! order, words as they were written. What was parsed from a text without errors is equal to
//! what is parsed from its print, places aside ([`kinds`]). Tests and fuzzing print, yado does not.

use std::fmt::Write as _;

use super::expand::shell_words;
use super::lines::{Line, continuation};
use super::words::{Json, Part, json};
use super::{
    CommandLine, Dockerfile, Healthcheck, Heredoc, Instruction, InstructionKind, KeyValue, Mount,
    Network, Run, Security, Sharing, Span, Transfer, Word,
};

/// The text of a Dockerfile that was parsed without errors.
pub fn print(dockerfile: &Dockerfile) -> String {
    let mut out = String::new();
    for directive in &dockerfile.directives {
        let _ = writeln!(out, "# {}={}", directive.key.value, directive.value.value);
    }
    for instruction in &dockerfile.instructions {
        let mut line = Printed { text: String::new(), escape: dockerfile.escape };
        line.instruction(&instruction.kind);
        // A text that ends in the escape character: a blank which is none for continuations, and
        // is trimmed all the same, keeps the next line away.
        if continuation(&line.text, dockerfile.escape).1 {
            line.text.push('\u{b}');
        }
        out.push_str(&line.text);
        out.push('\n');
        for heredoc in heredocs(&instruction.kind) {
            out.push_str(&heredoc.body.value);
            out.push_str(&heredoc.name);
            out.push('\n');
        }
    }
    out
}

/// Whether a print can mean something else: quotes in the flags are resolved by other rules than
/// those by which heredocs are found, so writing the flags anew can hide or show a `<<`.
pub fn is_ambiguous(instruction: &Instruction) -> bool {
    let line = Line::of(&instruction.text);
    let (_, mut rest) = Part::whole(&line).keyword();
    if matches!(instruction.kind, InstructionKind::Onbuild(_)) {
        rest = rest.keyword().1;
    }
    let (_, arguments) = rest.take_flags();
    let flags = &rest.text()[..rest.text().len() - arguments.text().len()];
    instruction.text.contains("<<") && flags.contains(['\'', '"', '\\', '$'])
}

pub(super) fn heredocs(kind: &InstructionKind) -> Vec<&Heredoc> {
    fn of(transfer: &Transfer) -> Vec<&Heredoc> {
        transfer.inline.iter().map(|source| &source.heredoc).collect()
    }
    match kind {
        InstructionKind::Run(run) => run.heredocs.iter().collect(),
        InstructionKind::Copy(copy) => of(&copy.transfer),
        InstructionKind::Add(add) => of(&add.transfer),
        InstructionKind::Onbuild(onbuild) => heredocs(&onbuild.instruction.kind),
        _ => Vec::new(),
    }
}

/// A line that grows.
struct Printed {
    text: String,
    escape: char,
}

impl Printed {
    fn instruction(&mut self, kind: &InstructionKind) {
        match kind {
            InstructionKind::From(from) => {
                self.text.push_str("FROM");
                self.flag("platform", from.platform.as_ref());
                let name = from.name.as_ref().map(|name| format!(" AS {}", name.value));
                self.arguments(&format!("{}{}", from.image.value, name.unwrap_or_default()));
            }
            InstructionKind::Arg(declarations) => {
                self.text.push_str("ARG");
                let words = declarations.iter().map(|declaration| match &declaration.default {
                    Some(default) => format!("{}={}", declaration.name.value, default.value),
                    None => declaration.name.value.clone(),
                });
                self.arguments(&words.collect::<Vec<_>>().join(" "));
            }
            InstructionKind::Env(pairs) => self.pairs("ENV", pairs),
            InstructionKind::Label(pairs) => self.pairs("LABEL", pairs),
            InstructionKind::Run(run) => self.run(run),
            InstructionKind::Copy(copy) => {
                self.text.push_str("COPY");
                self.flag("from", copy.from.as_ref());
                self.switch("parents", copy.parents.map(|_| true));
                self.transfer(&copy.transfer);
            }
            InstructionKind::Add(add) => {
                self.text.push_str("ADD");
                self.flag("checksum", add.checksum.as_ref());
                self.switch("keep-git-dir", add.keep_git_dir.as_ref().map(|on| on.value));
                self.switch("unpack", add.unpack.as_ref().map(|on| on.value));
                self.transfer(&add.transfer);
            }
            InstructionKind::Workdir(word) => self.word("WORKDIR", word),
            InstructionKind::User(word) => self.word("USER", word),
            InstructionKind::Stopsignal(word) => self.word("STOPSIGNAL", word),
            InstructionKind::Maintainer(word) => self.word("MAINTAINER", word),
            InstructionKind::Cmd(command) => {
                self.text.push_str("CMD");
                self.command(command);
            }
            InstructionKind::Entrypoint(command) => {
                self.text.push_str("ENTRYPOINT");
                self.command(command);
            }
            InstructionKind::Expose(words) => {
                self.text.push_str("EXPOSE");
                self.arguments(&values(words).join(" "));
            }
            InstructionKind::Volume(words) => {
                self.text.push_str("VOLUME");
                match self.plain(&values(words), &[]) {
                    Some(text) => self.arguments(&text),
                    None => self.array(&values(words)),
                }
            }
            InstructionKind::Shell(words) => {
                self.text.push_str("SHELL");
                self.array(&values(words));
            }
            InstructionKind::Healthcheck(check) => self.healthcheck(check),
            InstructionKind::Onbuild(onbuild) => {
                self.text.push_str("ONBUILD ");
                self.instruction(&onbuild.instruction.kind);
            }
        }
    }

    fn flag(&mut self, name: &str, value: Option<&Word>) {
        if let Some(value) = value {
            self.flag_text(name, &value.value);
        }
    }

    fn flag_text(&mut self, name: &str, value: &str) {
        let _ = write!(self.text, " --{name}=");
        for c in value.chars() {
            if c.is_whitespace() || matches!(c, '\\' | '\'' | '"' | '$') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
    }

    fn switch(&mut self, name: &str, on: Option<bool>) {
        if let Some(on) = on {
            self.flag_text(name, if on { "true" } else { "false" });
        }
    }

    /// What follows the flags.
    fn arguments(&mut self, text: &str) {
        self.text.push_str(if text.starts_with("--") { " -- " } else { " " });
        self.text.push_str(text);
    }

    fn word(&mut self, keyword: &str, word: &Word) {
        self.text.push_str(keyword);
        self.arguments(&word.value);
    }

    fn array(&mut self, words: &[&str]) {
        self.arguments(&serde_json::to_string(words).expect("strings are JSON"));
    }

    fn command(&mut self, command: &CommandLine) {
        match command {
            CommandLine::Shell(text) => self.arguments(&text.value),
            CommandLine::Exec(words) => self.array(&values(words)),
        }
    }

    /// `key=value …`, or `key value` where that alone says the same.
    fn pairs(&mut self, keyword: &str, pairs: &[KeyValue]) {
        self.text.push_str(keyword);
        let words: Vec<String> =
            pairs.iter().map(|pair| format!("{}={}", pair.key.value, pair.value.value)).collect();
        let text = words.join(" ");
        let line = Line::of(&text);
        let read = Part::whole(&line).quoted_words(self.escape);
        match pairs {
            [pair] if read.len() != 1 || read[0].text() != text => {
                // A key that ends in the escape character holds on to one blank.
                let blanks = if pair.key.value.ends_with(self.escape) { " \u{b}" } else { " " };
                self.arguments(&format!("{}{blanks}{}", pair.key.value, pair.value.value));
            }
            _ => self.arguments(&text),
        }
    }

    fn run(&mut self, run: &Run) {
        self.text.push_str("RUN");
        for mount in &run.mounts {
            self.flag_text("mount", &mount_text(mount));
        }
        if let Some(network) = &run.network {
            let value = match network.value {
                Network::Default => "default",
                Network::None => "none",
                Network::Host => "host",
            };
            self.flag_text("network", value);
        }
        if let Some(security) = &run.security {
            let value = match security.value {
                Security::Sandbox => "sandbox",
                Security::Insecure => "insecure",
            };
            self.flag_text("security", value);
        }
        for device in &run.devices {
            let mut fields = vec![format!("name={}", device.value.name)];
            fields.extend(device.value.required.then(|| "required".to_owned()));
            self.flag_text("device", &csv(&fields));
        }
        self.command(&run.command);
    }

    fn transfer(&mut self, transfer: &Transfer) {
        self.flag("chown", transfer.chown.as_ref());
        self.flag("chmod", transfer.chmod.as_ref());
        self.switch("link", transfer.link.map(|_| true));
        for pattern in &transfer.exclude {
            self.flag("exclude", Some(pattern));
        }
        let heredocs: Vec<String> =
            transfer.inline.iter().map(|source| heredoc_word(&source.heredoc)).collect();
        let mut words = values(&transfer.sources);
        words.push(&transfer.destination.value);
        match self.plain(&words, &heredocs) {
            Some(text) => self.arguments(&text),
            None => self.array(&words),
        }
    }

    /// Heredocs and words between blanks, if that is read as the same words again.
    fn plain(&self, words: &[&str], heredocs: &[String]) -> Option<String> {
        // The heredocs come first: no quote that stands open can hide them there.
        let all: Vec<&str> = heredocs.iter().map(String::as_str).chain(words.to_vec()).collect();
        let text = all.join(" ");
        let line = Line::of(&text);
        let part = Part::whole(&line);
        let found = shell_words(&text).iter().filter_map(|word| Heredoc::of_word(word)).count();
        let same = part.text() == text
            && !text.contains('\n')
            && matches!(json(&part), Json::Other)
            && part.blank_separated().iter().map(|word| word.value.as_str()).eq(all)
            && found == heredocs.len()
            && words.iter().all(|word| Heredoc::of_word(word).is_none())
            && !continuation(&text, self.escape).1;
        (same || !heredocs.is_empty()).then_some(text)
    }

    fn healthcheck(&mut self, check: &Healthcheck) {
        self.text.push_str("HEALTHCHECK");
        for (name, value) in [
            ("interval", check.interval),
            ("timeout", check.timeout),
            ("start-period", check.start_period),
            ("start-interval", check.start_interval),
        ] {
            if value != 0 {
                self.flag_text(name, &format!("{value}ns"));
            }
        }
        if check.retries != 0 {
            self.flag_text("retries", &check.retries.to_string());
        }
        match &check.command {
            None => self.text.push_str(" NONE"),
            Some(CommandLine::Shell(text)) => {
                let _ = write!(self.text, " CMD {}", text.value);
            }
            Some(CommandLine::Exec(words)) => {
                self.text.push_str(" CMD");
                self.array(&values(words));
            }
        }
    }
}

fn values(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.value.as_str()).collect()
}

/// The value of `--mount`.
fn mount_text(mount: &Mount) -> String {
    let mut fields = vec![format!("type={:?}", mount.kind).to_lowercase()];
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
        fields.extend(word.as_ref().map(|word| format!("{key}={}", word.value)));
    }
    fields.extend(mount.read_only.map(|on| format!("readonly={on}")));
    fields.extend(mount.sharing.map(|sharing| match sharing {
        Sharing::Shared => "sharing=shared".to_owned(),
        Sharing::Private => "sharing=private".to_owned(),
        Sharing::Locked => "sharing=locked".to_owned(),
    }));
    if mount.required {
        fields.push("required".to_owned());
    }
    csv(&fields)
}

fn csv(fields: &[String]) -> String {
    let quoted = fields.iter().map(|field| {
        if field.contains(['"', ',']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(",")
}

/// A word such as `3<<-"EOF"`.
fn heredoc_word(heredoc: &Heredoc) -> String {
    let mut word = heredoc.descriptor.map_or_else(String::new, |number| number.to_string());
    word.push_str(if heredoc.strip_tabs { "<<-" } else { "<<" });
    if !heredoc.expand {
        word.push('"');
    }
    for c in heredoc.name.chars() {
        let special = if heredoc.expand {
            !c.is_alphanumeric() && !matches!(c, '_' | '.')
        } else {
            matches!(c, '"' | '\\' | '$')
        };
        if special {
            word.push('\\');
        }
        word.push(c);
    }
    if !heredoc.expand {
        word.push('"');
    }
    word
}

/// What the instructions say, without places and without the text that they were written in.
pub fn kinds(dockerfile: &Dockerfile) -> Vec<InstructionKind> {
    let mut kinds: Vec<InstructionKind> =
        dockerfile.instructions.iter().map(|instruction| instruction.kind.clone()).collect();
    kinds.iter_mut().for_each(forget_places);
    kinds
}

fn forget_places(kind: &mut InstructionKind) {
    match kind {
        InstructionKind::From(from) => {
            forget([&mut from.image].into_iter().chain(&mut from.platform).chain(&mut from.name));
        }
        InstructionKind::Arg(declarations) => {
            for declaration in declarations {
                forget([&mut declaration.name].into_iter().chain(&mut declaration.default));
            }
        }
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            forget(pairs.iter_mut().flat_map(|pair| [&mut pair.key, &mut pair.value]));
        }
        InstructionKind::Run(run) => {
            for mount in &mut run.mounts {
                mount.span = Span::default();
                let words = [&mut mount.id, &mut mount.from, &mut mount.source, &mut mount.target];
                let more = [&mut mount.env, &mut mount.mode, &mut mount.uid, &mut mount.gid];
                forget(words.into_iter().chain(more).chain([&mut mount.size]).flatten());
            }
            run.network.iter_mut().for_each(|network| network.span = Span::default());
            run.security.iter_mut().for_each(|security| security.span = Span::default());
            run.devices.iter_mut().for_each(|device| device.span = Span::default());
            forget_command(&mut run.command);
            run.heredocs.iter_mut().for_each(|heredoc| heredoc.body.span = Span::default());
        }
        InstructionKind::Copy(copy) => {
            forget(&mut copy.from);
            copy.parents.iter_mut().for_each(|span| *span = Span::default());
            forget_transfer(&mut copy.transfer);
        }
        InstructionKind::Add(add) => {
            forget(&mut add.checksum);
            for switch in [&mut add.keep_git_dir, &mut add.unpack].into_iter().flatten() {
                switch.span = Span::default();
            }
            forget_transfer(&mut add.transfer);
        }
        InstructionKind::Workdir(word)
        | InstructionKind::User(word)
        | InstructionKind::Stopsignal(word)
        | InstructionKind::Maintainer(word) => forget([word]),
        InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => {
            forget_command(command);
        }
        InstructionKind::Expose(words)
        | InstructionKind::Volume(words)
        | InstructionKind::Shell(words) => forget(words),
        InstructionKind::Healthcheck(check) => {
            check.command.iter_mut().for_each(forget_command);
        }
        InstructionKind::Onbuild(onbuild) => {
            onbuild.trigger.clear();
            let inner = onbuild.instruction.as_mut();
            (inner.span, inner.keyword) = (Span::default(), Span::default());
            inner.text.clear();
            forget_places(&mut inner.kind);
        }
    }
}

fn forget<'a>(words: impl IntoIterator<Item = &'a mut Word>) {
    words.into_iter().for_each(|word| word.span = Span::default());
}

fn forget_command(command: &mut CommandLine) {
    match command {
        CommandLine::Shell(text) => forget([text]),
        CommandLine::Exec(words) => forget(words),
    }
}

fn forget_transfer(transfer: &mut Transfer) {
    forget(transfer.sources.iter_mut().chain([&mut transfer.destination]));
    forget(transfer.chown.iter_mut().chain(&mut transfer.chmod).chain(&mut transfer.exclude));
    transfer.link.iter_mut().for_each(|span| *span = Span::default());
    for source in &mut transfer.inline {
        source.span = Span::default();
        source.heredoc.body.span = Span::default();
    }
}
