//! Any text: no panic, no hang; places are places of the text; the print of what was understood
//! says the same; planning and checking it does not panic either.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use yado_fuzz::dockerfile::print::{is_ambiguous, kinds, print};
use yado_fuzz::dockerfile::{
    CheckOptions, Diagnostic, Ignore, Severity, Source, Span, parse, render,
};
use yado_fuzz::image::{ImageConfig, Platform};
use yado_fuzz::plan::{
    Asked, ImageRequest, PlanOptions, Stages, Wanted, examine, outline, targets,
};

fuzz_target!(|text: &str| {
    let source = Source::new("Dockerfile", text);
    let (dockerfile, remarks) = parse(&source);
    let _ = render(&remarks, &source);
    check_places(text, &remarks);
    for instruction in &dockerfile.instructions {
        check_place(text, instruction.span);
        check_place(text, instruction.keyword);
    }
    // Debug shows every place of every word.
    for span in places(&format!("{dockerfile:?}")) {
        check_place(text, span);
    }

    let platform: Platform = "linux/arm64/v8".parse().expect("a platform");
    let options = PlanOptions {
        build_args: vec![("V".to_owned(), "value a*b".to_owned())],
        target: None,
        build_platform: platform.clone(),
        platform,
        labels: vec![("l".to_owned(), "v".to_owned())],
        contexts: BTreeMap::new(),
    };
    // An image whose name begins with `n` cannot be had.
    let base: ImageConfig = serde_json::from_str(BASE).expect("a configuration");
    let image = |request: &ImageRequest| {
        let missing = format!("{request:?}").contains("library/n");
        (request.clone(), (!missing).then(|| base.clone()))
    };
    let mut find =
        |wanted: &Wanted, _: Asked| Ok::<_, Infallible>(wanted.keys().map(image).collect());
    let ignore = Ignore::parse("*.md\n!a.md\n").expect("an ignore file");
    let Ok(examined) = examine(&source, &options, Some(&ignore), Stages::All, &mut find);
    let (checks, mistakes) = CheckOptions::of(&dockerfile, None);
    let _ = render(&mistakes, &source);
    let mut remaining = examined.diagnostics;
    checks.retain(&dockerfile, &mut remaining);
    remaining.extend(checks.failure(&remaining));
    let _ = render(&remaining, &source);
    let _ = outline(&dockerfile, &options);
    targets(&dockerfile).iter().for_each(|target| check_place(text, target.span));

    let good = remarks.iter().all(|remark| remark.severity == Severity::Warning);
    if good && !dockerfile.instructions.iter().any(is_ambiguous) {
        let printed = print(&dockerfile);
        let (again, remarks) = parse(&Source::new("Dockerfile", printed.as_str()));
        let errors: BTreeSet<&str> = remarks
            .iter()
            .filter(|remark| remark.severity == Severity::Error)
            .map(|remark| remark.message.as_str())
            .collect();
        assert!(errors.is_empty(), "{printed:?} {errors:?}");
        assert_eq!(kinds(&dockerfile), kinds(&again), "{printed:?}");
        assert_eq!(print(&again), printed);
    }
});

/// A base image with triggers of its own.
const BASE: &str = r#"{"architecture":"arm64","os":"linux","config":{
    "Env":["PATH=/bin"],"Shell":["/bin/sh","-ec"],"User":"app",
    "OnBuild":["COPY . /src/$V","RUN <<E\nmake\nE"]}}"#;

fn check_places(text: &str, remarks: &[Diagnostic]) {
    remarks.iter().filter_map(|remark| remark.span).for_each(|span| check_place(text, span));
}

fn check_place(text: &str, span: Span) {
    assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{span:?}");
}

/// The places in a debug text; strings in it may hold what looks like one, so these are cut out.
fn places(debug: &str) -> Vec<Span> {
    let mut bare = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in debug.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted => bare.push(c),
            _ => {}
        }
    }
    let number = |text: &str| text.parse().expect("a number");
    bare.split("Span { start: ")
        .skip(1)
        .map(|rest| {
            let (start, rest) = rest.split_once(", end: ").expect("an end");
            let (end, _) = rest.split_once(" }").expect("a brace");
            Span { start: number(start), end: number(end) }
        })
        .collect()
}
