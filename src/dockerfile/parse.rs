//! Logical lines to typed instructions.

use super::flags::Flags;
use super::lines::{self, Line};
use super::words::{Json, Part, json};
use super::{
    Add, ArgDeclaration, CommandLine, Copy, Device, Diagnostic, Dockerfile, From, Healthcheck,
    Heredoc, InlineSource, Instruction, InstructionKind, KeyValue, Network, Onbuild, Run, Security,
    Source, Span, Spanned, Transfer, Word, mount,
};

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Health checks cannot run more often than this, in nanoseconds (Docker's limit).
const SHORTEST_INTERVAL: u64 = 1_000_000;

/// Parses a Dockerfile; whatever cannot be understood is left out and remarked on.
pub fn parse(source: &Source) -> (Dockerfile, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let lines = lines::split(source, &mut diagnostics);
    if lines.logical.is_empty() {
        diagnostics.push(
            Diagnostic { span: None, ..Diagnostic::error(Span::default(), "no instructions") }
                .with_help("a Dockerfile begins with FROM, or with ARG and FROM"),
        );
    }
    let mut instructions = Vec::new();
    for line in &lines.logical {
        let mut parser =
            Parser { line, escape: lines.escape, diagnostics: &mut diagnostics, in_onbuild: false };
        instructions.extend(parser.instruction(Part::whole(line)));
    }
    let dockerfile = Dockerfile {
        source: source.clone(),
        directives: lines.directives,
        escape: lines.escape,
        instructions,
    };
    (dockerfile, diagnostics)
}

struct Parser<'a> {
    line: &'a Line,
    escape: char,
    diagnostics: &'a mut Vec<Diagnostic>,
    in_onbuild: bool,
}

impl Parser<'_> {
    fn fail(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    fn instruction(&mut self, whole: Part<'_>) -> Option<Instruction> {
        let (keyword_part, rest) = whole.keyword();
        let keyword = keyword_part.word();
        let name = keyword.value.to_ascii_uppercase();
        if !KEYWORDS.contains(&name.as_str()) {
            let diagnostic = if name.is_empty() {
                Diagnostic::error(whole.line.whole(), "a continuation mark without an instruction")
            } else {
                let message = format!("unknown instruction {:?}", keyword.value);
                Diagnostic::error(keyword.span, message).suggesting(&name, KEYWORDS)
            };
            self.diagnostics.push(diagnostic);
            return None;
        }
        let (flag_words, arguments) = rest.take_flags();
        let flags = Flags::read(&name, &flag_words, self.diagnostics);
        let kind = self.kind(&name, keyword.span, &flags, rest, arguments)?;
        Some(Instruction {
            span: whole.word().span,
            keyword: keyword.span,
            kind,
            text: whole.text().to_owned(),
        })
    }

    fn kind(
        &mut self,
        name: &str,
        keyword: Span,
        flags: &Flags,
        rest: Part<'_>,
        arguments: Part<'_>,
    ) -> Option<InstructionKind> {
        if arguments.is_empty() && name != "CMD" && name != "ENTRYPOINT" {
            self.fail(keyword, format!("{name} needs an argument"));
            return None;
        }
        Some(match name {
            "FROM" => InstructionKind::From(self.from(flags, arguments)?),
            "ARG" => InstructionKind::Arg(self.arg(arguments)?),
            "ENV" => InstructionKind::Env(self.key_values(name, arguments)?),
            "LABEL" => InstructionKind::Label(self.key_values(name, arguments)?),
            "RUN" => InstructionKind::Run(self.run(flags, arguments)?),
            "COPY" => InstructionKind::Copy(Copy {
                transfer: self.transfer(name, flags, arguments)?,
                from: flags.text("from"),
                parents: flags.on("parents"),
            }),
            "ADD" => InstructionKind::Add(Add {
                transfer: self.transfer(name, flags, arguments)?,
                checksum: flags.text("checksum"),
                keep_git_dir: flags.switch("keep-git-dir"),
                unpack: flags.switch("unpack"),
            }),
            "WORKDIR" => InstructionKind::Workdir(arguments.word()),
            "USER" => InstructionKind::User(arguments.word()),
            "STOPSIGNAL" => InstructionKind::Stopsignal(arguments.word()),
            "MAINTAINER" => InstructionKind::Maintainer(arguments.word()),
            "CMD" => InstructionKind::Cmd(self.command(arguments)?),
            "ENTRYPOINT" => InstructionKind::Entrypoint(self.command(arguments)?),
            "EXPOSE" => InstructionKind::Expose(arguments.blank_separated()),
            "VOLUME" => InstructionKind::Volume(self.volume(arguments)?),
            "HEALTHCHECK" => InstructionKind::Healthcheck(self.healthcheck(flags, arguments)?),
            "SHELL" => InstructionKind::Shell(self.shell(arguments)?),
            _ => InstructionKind::Onbuild(self.onbuild(keyword, rest)?),
        })
    }

    fn from(&mut self, flags: &Flags, arguments: Part<'_>) -> Option<From> {
        let mut words = arguments.blank_separated().into_iter();
        let image = words.next()?;
        let name = match (words.next(), words.next(), words.next()) {
            (None, _, _) => None,
            (Some(word), Some(name), None) if word.value.eq_ignore_ascii_case("as") => {
                Some(self.stage_name(&name)?)
            }
            (Some(word), _, _) => {
                let span = Span::new(word.span.start, arguments.word().span.end);
                let error =
                    Diagnostic::error(span, "FROM has one argument, or three: image AS name");
                let is_as = word.value.eq_ignore_ascii_case("as");
                let error = error.with_help(format!("write FROM {} AS name", image.value));
                let error = if is_as { error } else { error.suggesting(&word.value, ["AS"]) };
                self.diagnostics.push(error);
                return None;
            }
        };
        Some(From { platform: flags.text("platform"), image, name })
    }

    fn stage_name(&mut self, word: &Word) -> Option<Word> {
        let name = word.value.to_lowercase();
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
            });
        if !good {
            self.diagnostics.push(
                Diagnostic::error(word.span, format!("invalid stage name {:?}", word.value))
                    .with_help("a stage name is a letter and then letters, digits, '-', '_', '.'"),
            );
            return None;
        }
        Some(Spanned::new(name, word.span))
    }

    fn arg(&mut self, arguments: Part<'_>) -> Option<Vec<ArgDeclaration>> {
        let mut declarations = Vec::new();
        for word in arguments.quoted_words(self.escape) {
            let (name, default) = match word.split_pair() {
                Some((name, value)) => (name, Some(value)),
                None => (word.word(), None),
            };
            if name.value.is_empty() {
                self.fail(name.span, "ARG has an empty name");
                return None;
            }
            declarations.push(ArgDeclaration { name, default });
        }
        Some(declarations)
    }

    fn key_values(&mut self, name: &str, arguments: Part<'_>) -> Option<Vec<KeyValue>> {
        let words = arguments.quoted_words(self.escape);
        let first = words.first()?;
        if !first.text().contains('=') {
            // The old form: one key, and the rest of the line is its value.
            let (key, value) = arguments.keyword();
            if value.is_empty() {
                self.diagnostics.push(
                    Diagnostic::error(key.word().span, format!("{name} without a value"))
                        .with_help(format!("write {name} {}=value", key.text())),
                );
                return None;
            }
            return Some(vec![KeyValue { key: key.word(), value: value.word() }]);
        }
        let mut pairs = Vec::new();
        for part in &words {
            let word = part.word();
            let Some((key, value)) = part.split_pair() else {
                self.diagnostics.push(
                    Diagnostic::error(word.span, format!("no '=' in {:?}", word.value)).with_help(
                        format!("write {name} key=value; quote a value that has blanks"),
                    ),
                );
                return None;
            };
            if key.value.is_empty() {
                self.fail(word.span, format!("{name} has an empty name"));
                return None;
            }
            pairs.push(KeyValue { key, value });
        }
        Some(pairs)
    }

    fn command(&mut self, arguments: Part<'_>) -> Option<CommandLine> {
        match json(&arguments) {
            Json::Strings(words) => Some(CommandLine::Exec(words)),
            Json::NotStrings => {
                self.fail(arguments.word().span, "the exec form is an array of strings only");
                None
            }
            // CMD and ENTRYPOINT without an argument reset what was inherited.
            Json::Other if arguments.is_empty() => Some(CommandLine::Exec(Vec::new())),
            Json::Other => Some(CommandLine::Shell(arguments.word())),
        }
    }

    fn run(&mut self, flags: &Flags, arguments: Part<'_>) -> Option<Run> {
        let mounts =
            flags.list("mount").iter().map(|flag| mount::read(flag, self.diagnostics)).collect();
        let network = flags.text("network").and_then(|word| {
            let value = match word.value.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                other => {
                    self.diagnostics.push(
                        Diagnostic::error(
                            word.span,
                            format!("--network is default, none or host, not {other:?}"),
                        )
                        .suggesting(other, ["default", "none", "host"]),
                    );
                    return None;
                }
            };
            Some(Spanned::new(value, word.span))
        });
        let security = flags.text("security").and_then(|word| {
            let value = match word.value.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    let message = format!("--security is sandbox or insecure, not {other:?}");
                    self.fail(word.span, message);
                    return None;
                }
            };
            Some(Spanned::new(value, word.span))
        });
        let mut devices = Vec::new();
        for word in flags.list("device") {
            match device(&word.value) {
                Ok(device) => devices.push(Spanned::new(device, word.span)),
                Err(message) => self.fail(word.span, message),
            }
        }
        let command = self.command(arguments)?;
        let heredocs = self.line.heredocs.clone();
        for heredoc in heredocs.iter().filter(|heredoc| heredoc.name.contains('/')) {
            let message = format!("the heredoc name {:?} has a '/' in it", heredoc.name);
            self.fail(arguments.word().span, message);
        }
        Some(Run { mounts, network, security, devices, command, heredocs })
    }

    fn transfer(&mut self, name: &str, flags: &Flags, arguments: Part<'_>) -> Option<Transfer> {
        let (mut words, exec) = match json(&arguments) {
            Json::Strings(words) => (words, true),
            Json::NotStrings => {
                self.fail(arguments.word().span, "the exec form is an array of strings only");
                return None;
            }
            Json::Other => (arguments.blank_separated(), false),
        };
        let destination = words.pop();
        let (Some(destination), false) = (destination, words.is_empty()) else {
            self.diagnostics.push(
                Diagnostic::error(
                    arguments.word().span,
                    format!("{name} needs a source and a destination"),
                )
                .with_help(format!("write {name} source… destination")),
            );
            return None;
        };
        // In exec form `<<EOF` is a path like others.
        let announced = |word: &Word| if exec { None } else { Heredoc::of_word(&word.value) };
        if announced(&destination).is_some() {
            self.fail(destination.span, format!("the destination of {name} cannot be a heredoc"));
            return None;
        }
        let mut sources = Vec::new();
        let mut inline = Vec::new();
        // The bodies were collected in the order of the words.
        let mut unused = self.line.heredocs.clone().into_iter().peekable();
        for word in words {
            let Some(document) = announced(&word) else {
                sources.push(word);
                continue;
            };
            let Some(heredoc) = unused.next_if(|heredoc| heredoc.name == document.name) else {
                let message = format!("the heredoc {:?} of {name} has no body", document.name);
                self.diagnostics.push(
                    Diagnostic::error(word.span, message)
                        .with_help("a quote around it, or one without its pair, makes it text"),
                );
                return None;
            };
            inline.push(InlineSource { span: word.span, heredoc });
        }
        let nameless = |heredoc: &Heredoc| heredoc.name.contains(['/', ' ', '\t']);
        if unused.next().is_some() || inline.iter().any(|source| nameless(&source.heredoc)) {
            self.fail(
                arguments.word().span,
                format!("the heredoc names of {name} are file names: no blanks, no '/'"),
            );
            return None;
        }
        Some(Transfer {
            sources,
            inline,
            destination,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.on("link"),
            exclude: flags.list("exclude"),
        })
    }

    fn volume(&mut self, arguments: Part<'_>) -> Option<Vec<Word>> {
        let words = match json(&arguments) {
            Json::Strings(words) => words,
            Json::NotStrings => {
                self.fail(arguments.word().span, "the exec form is an array of strings only");
                return None;
            }
            Json::Other => arguments.blank_separated(),
        };
        if words.is_empty() || words.iter().any(|word| word.value.trim().is_empty()) {
            self.fail(arguments.word().span, "VOLUME has an empty path");
            return None;
        }
        Some(
            words
                .into_iter()
                .map(|word| Spanned::new(word.value.trim().to_owned(), word.span))
                .collect(),
        )
    }

    fn shell(&mut self, arguments: Part<'_>) -> Option<Vec<Word>> {
        match json(&arguments) {
            Json::Strings(words) if !words.is_empty() => Some(words),
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(arguments.word().span, "SHELL is a JSON array of strings")
                        .with_help("write SHELL [\"/bin/bash\", \"-c\"]"),
                );
                None
            }
        }
    }

    fn healthcheck(&mut self, flags: &Flags, arguments: Part<'_>) -> Option<Healthcheck> {
        let (kind, rest) = arguments.keyword();
        let mut check = Healthcheck::default();
        match kind.text().to_ascii_uppercase().as_str() {
            "NONE" => {
                if !rest.is_empty() {
                    self.fail(rest.word().span, "HEALTHCHECK NONE has no arguments");
                    return None;
                }
                return Some(check);
            }
            "CMD" => {}
            other => {
                self.diagnostics.push(
                    Diagnostic::error(kind.word().span, "HEALTHCHECK is followed by CMD or NONE")
                        .suggesting(other, ["CMD", "NONE"]),
                );
                return None;
            }
        }
        let command = self.command(rest)?;
        if matches!(&command, CommandLine::Exec(words) if words.is_empty()) {
            self.fail(kind.word().span, "HEALTHCHECK CMD needs a command");
            return None;
        }
        check.command = Some(command);
        check.interval = self.duration(flags, "interval");
        check.timeout = self.duration(flags, "timeout");
        check.start_period = self.duration(flags, "start-period");
        check.start_interval = self.duration(flags, "start-interval");
        if let Some(word) = flags.text("retries") {
            match word.value.parse::<u32>() {
                Ok(retries) if i32::try_from(retries).is_ok() => check.retries = retries.into(),
                _ => self.fail(word.span, "--retries is a number from 0 up"),
            }
        }
        Some(check)
    }

    fn duration(&mut self, flags: &Flags, name: &str) -> u64 {
        let Some(word) = flags.text(name) else { return 0 };
        match duration(&word.value) {
            Some(nanoseconds) if nanoseconds == 0 || nanoseconds >= SHORTEST_INTERVAL => {
                return nanoseconds;
            }
            Some(_) => self.fail(word.span, format!("--{name} is 1ms or more")),
            None => self.diagnostics.push(
                Diagnostic::error(word.span, format!("--{name} is no duration: {:?}", word.value))
                    .with_help("a duration is numbers with units, such as 30s, 1m30s or 500ms"),
            ),
        }
        0
    }

    fn onbuild(&mut self, keyword: Span, rest: Part<'_>) -> Option<Onbuild> {
        let (inner, _) = rest.keyword();
        let name = inner.text().to_ascii_uppercase();
        if self.in_onbuild || matches!(name.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
            let span = if self.in_onbuild { keyword } else { inner.word().span };
            self.fail(span, format!("{name} cannot be a trigger of ONBUILD"));
            return None;
        }
        self.in_onbuild = true;
        let instruction = Box::new(self.instruction(rest)?);
        let mut trigger = instruction.text.clone();
        for heredoc in &self.line.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.body.value);
            trigger.push_str(&heredoc.name);
        }
        Some(Onbuild { trigger, instruction })
    }
}

fn device(text: &str) -> Result<Device, String> {
    let mut device = Device { name: String::new(), required: false };
    let fields = mount::fields(text).ok_or("--device: a quote has no end, or is within a field")?;
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", value) => {
                device.required = mount::truth(value)
                    .ok_or_else(|| "--device: required is true or false".to_owned())?;
            }
            ("name", Some(name)) if device.name.is_empty() => name.clone_into(&mut device.name),
            ("name", Some(_)) => return Err("--device has two names".to_owned()),
            // Names of devices have a '=' in them: vendor.com/class=name.
            _ if device.name.is_empty() => field.clone_into(&mut device.name),
            _ => return Err(format!("--device has no option {field:?}")),
        }
    }
    if device.name.is_empty() {
        return Err("--device has no name".to_owned());
    }
    Ok(device)
}

/// Nanoseconds of a duration in Go's notation, such as `1m30s`, `1.5h`, `0`.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let length = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(length);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in fraction.bytes() {
            scale /= 10;
            total = total.checked_add(u64::from(digit - b'0') * scale)?;
        }
        rest = behind;
    }
    i64::try_from(total).ok().map(|_| total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, expected) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("1us", Some(1_000)),
            (".5s", Some(500_000_000)),
            ("0", Some(0)),
            ("+1s", Some(1_000_000_000)),
            ("30", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("1..2s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_devices() {
        for (text, expected) in [
            ("vendor.com/gpu=all", Some(("vendor.com/gpu=all", false))),
            ("vendor.com/gpu=all,required", Some(("vendor.com/gpu=all", true))),
            ("vendor.com/gpu=all,required=true", Some(("vendor.com/gpu=all", true))),
            ("vendor.com/gpu=all,Required=0", Some(("vendor.com/gpu=all", false))),
            ("name=vendor.com/gpu=all", Some(("vendor.com/gpu=all", false))),
            ("name=vendor.com/gpu=all,required", Some(("vendor.com/gpu=all", true))),
            ("\"vendor.com/gpu=a,b\",required", Some(("vendor.com/gpu=a,b", true))),
            ("vendor.com/gpu=all,name=other.com/gpu=all", None),
            ("vendor.com/gpu=all,required=perhaps", None),
            ("vendor.com/gpu=all,other", None),
            ("required", None),
            ("", None),
            ("\"open", None),
        ] {
            let expected = expected.map(|(name, required)| Device { name: name.into(), required });
            assert_eq!(device(text).ok(), expected, "{text}");
        }
    }
}
