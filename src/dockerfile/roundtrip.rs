//! Text → instructions → text → the same instructions: for every case of `testdata/dockerfile`
//! and for generated files, which have every instruction and flag, heredocs, quotes and escapes.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

use super::print::{is_ambiguous, kinds, print};
use super::*;

/// The print of a text without errors says the same, and is its own print. Returns whether
/// there was something to compare.
fn assert_round_trip(text: &str) -> Result<bool, TestCaseError> {
    let (first, remarks) = parse(&Source::new("D", text));
    if remarks.iter().any(|remark| remark.severity == Severity::Error)
        || first.instructions.iter().any(is_ambiguous)
    {
        return Ok(false);
    }
    let printed = print(&first);
    let (second, remarks) = parse(&Source::new("D", &*printed));
    let errors: Vec<_> = remarks.iter().filter(|r| r.severity == Severity::Error).collect();
    prop_assert!(errors.is_empty(), "{text:?}\n{printed:?}\n{errors:?}");
    prop_assert_eq!(kinds(&first), kinds(&second), "{:?}\n{:?}", text, printed);
    prop_assert_eq!(&print(&second), &printed);
    Ok(true)
}

#[test]
fn every_case_without_errors_can_be_printed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dockerfile");
    let mut compared = 0;
    for case in std::fs::read_dir(root).unwrap() {
        let text = std::fs::read_to_string(case.unwrap().path().join("Dockerfile")).unwrap();
        compared += usize::from(assert_round_trip(&text).unwrap());
    }
    assert!(compared >= 50, "only {compared} cases");
}

fn each<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().concat()
}

/// A word of a path, a name or a value: plain, quoted, escaped, with variables.
fn word() -> impl Strategy<Value = String> {
    let part = select(vec![
        "a",
        "b/c",
        "x.y",
        "1",
        "é",
        "日",
        "$V",
        "${V}",
        "${V:-w}",
        "${V#p*}",
        "${V//a/b}",
        "\\ ",
        "\\\\",
        "\\\"",
        "\\'",
        "'q r'",
        "\"s t\"",
        "'\"'",
        "\"'\"",
        "''",
        "\"\"",
        "`",
        "\\$",
        ":",
        "@",
        ",",
        "*",
        "?",
        "[",
        "]",
        "-",
        "#",
        "<",
        ">",
        "&&",
        "|",
        "\u{a0}",
        "~",
    ]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
}

fn words(most: usize) -> impl Strategy<Value = String> {
    let blank = select(vec![" ", "  ", "\t", " \\\n  ", " \\\n# remark\n", " `\n"]);
    prop::collection::vec((word(), blank), 1..most).prop_map(|words| {
        let parts: Vec<String> = words.into_iter().map(|(word, blank)| word + blank).collect();
        let text = parts.concat();
        text.trim_end_matches(['\\', '\n', '`', ' ', '\t']).to_owned()
    })
}

fn array() -> impl Strategy<Value = String> {
    let word = select(vec!["a", "b c", "\\n", "\\\"", "\\u00e9", "$V", "<<EOF", "--x", "", "'"]);
    prop::collection::vec(word, 0..4).prop_map(|words| {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        format!("[{}]", words.join(", "))
    })
}

fn command() -> impl Strategy<Value = String> {
    prop_oneof![words(5), array(), words(3).prop_map(|words| format!("-- {words}"))]
}

fn flags(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = prop_oneof![
        word(),
        select(vec!["true", "false", "", "0755", "'a b'"]).prop_map(Into::into)
    ];
    prop::collection::vec((select(names), value), 0..3)
        .prop_map(|flags| each(&flags, |(name, value)| format!("--{name}={value} ")))
}

fn mount() -> impl Strategy<Value = String> {
    // Quotes of the fields, which the flag has to leave alone.
    let field = select(vec![
        "id=a",
        "source=/s",
        "from=base",
        "target=/u",
        "ro",
        "rw",
        "rw=false",
        "readonly=true",
        "sharing=locked",
        "required",
        "mode=0755",
        "uid=1",
        "gid=$G",
        "size=1m",
        "env=E",
        r#"\"target=/a,b\""#,
        r#"\"src=/\"\"q\""#,
    ]);
    let kind = select(vec!["bind", "cache", "tmpfs", "secret", "ssh"]);
    (kind, prop::collection::vec(field, 0..4)).prop_map(|(kind, fields)| {
        let fields = each(&fields, |field| format!(",{field}"));
        format!("--mount=type={kind},target=/t{fields} ")
    })
}

/// The words of heredocs, and the lines that follow.
fn heredocs() -> impl Strategy<Value = (String, String)> {
    let name = select(vec![
        ("<<EOF", "EOF"),
        ("<<-EOF", "EOF"),
        ("<<'EOF'", "EOF"),
        ("3<<-\"E.F\"", "E.F"),
        ("<<E'O'F", "EOF"),
        ("<<$E", "$E"),
        ("<<eo\\'f", "eo'f"),
        ("<<\"a\\$\"", "a$"),
    ]);
    let body = select(vec!["", "a\n", "\ta $V\n\tb\n", "'\"\\\n", "# x\n\n<<A\n", "é\r\n"]);
    prop::collection::vec((name, body), 1..3).prop_map(|documents| {
        let words: Vec<&str> = documents.iter().map(|((word, _), _)| *word).collect();
        let bodies = each(&documents, |((_, end), body)| format!("{body}{end}\n"));
        (words.join(" "), bodies)
    })
}

fn trigger() -> impl Strategy<Value = String> {
    let pairs = prop::collection::vec((word(), word()), 1..3)
        .prop_map(|pairs| each(&pairs, |(key, value)| format!("K{key}={value} ")));
    let transfer = &["chown", "chmod", "link", "exclude", "from", "parents"];
    let fetch = &["chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack"];
    let times =
        select(vec!["", "--interval=5s ", "--timeout=1m30s --retries=3 ", "--start-period=1.5h "]);
    prop_oneof![
        (mount(), flags(&["network"]), command())
            .prop_map(|(mount, flags, command)| format!("RUN {mount}{flags}{command}\n")),
        (
            select(vec!["", "--network=host ", "--security=insecure ", "--device=v/c=d,required "]),
            command()
        )
            .prop_map(|(flags, command)| format!("RUN {flags}{command}\n")),
        (select(vec!["", "cat "]), heredocs(), select(vec!["", " > /x", " | sh"])).prop_map(
            |(before, (word, bodies), after)| format!("RUN {before}{word}{after}\n{bodies}")
        ),
        (flags(transfer), words(4), word()).prop_map(|(f, s, d)| format!("COPY {f}{s} {d}\n")),
        (flags(fetch), array()).prop_map(|(f, words)| format!("ADD {f}{words}\n")),
        (flags(fetch), words(3), heredocs(), words(3), word()).prop_map(
            |(f, a, (words, bodies), b, d)| format!("ADD {f}{a} {words} {b} {d}\n{bodies}")
        ),
        words(4).prop_map(|words| format!("ARG A{words}\n")),
        pairs.prop_map(|pairs| format!("ENV {pairs}\n")),
        (word(), words(4)).prop_map(|(key, value)| format!("LABEL K{key} {value}\n")),
        (select(vec!["CMD", "ENTRYPOINT"]), command()).prop_map(|(k, c)| format!("{k} {c}\n")),
        (select(vec!["WORKDIR", "USER", "STOPSIGNAL", "EXPOSE", "VOLUME"]), words(3))
            .prop_map(|(keyword, words)| format!("{keyword} {words}\n")),
        (select(vec!["VOLUME", "SHELL"]), array()).prop_map(|(k, words)| format!("{k} {words}\n")),
        (times, command())
            .prop_map(|(flags, command)| format!("HEALTHCHECK {flags}CMD {command}\n")),
        Just("HEALTHCHECK NONE\n".to_owned()),
    ]
}

fn instruction() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => trigger(),
        1 => trigger().prop_map(|trigger| format!("onbuild {trigger}")),
        1 => (flags(&["platform"]), word(), select(vec!["", " AS one", " as Two-2"]))
            .prop_map(|(flags, image, name)| format!("FROM {flags}{image}{name}\n")),
        1 => words(3).prop_map(|words| format!("MAINTAINER {words}\n")),
    ]
}

fn file() -> impl Strategy<Value = String> {
    let head = select(vec!["", "# escape=`\n", "# syntax=x\n# check=skip=all\n", "# remark\n\n"]);
    (head, prop::collection::vec(instruction(), 1..4))
        .prop_map(|(head, instructions)| head.to_owned() + &instructions.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn generated_files_can_be_printed(text in file()) {
        assert_round_trip(&text)?;
    }

    #[test]
    fn generated_instructions_can_be_printed(text in instruction()) {
        assert_round_trip(&text)?;
    }
}

/// Of the generated instructions, enough are without errors: else nothing is compared above.
#[test]
fn most_generated_instructions_are_good() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut good = 0;
    for _ in 0..500 {
        let text = instruction().new_tree(&mut runner).unwrap().current();
        good += usize::from(assert_round_trip(&text).unwrap());
    }
    assert!(good >= 250, "{good} of 500");
}
