//! `--timeline` in Chromium: what its page shows of real builds, held against the events
//! of `--progress=json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Document, Options, Output, Registry, Tag, WorkDir, Yado};

/// Adds a timeline and events to a build.
fn recorded(build: Yado) -> Yado {
    build.flags(["--timeline", "page.html", "--progress", "json"])
}

/// A page, what is embedded in it, and the events of its build.
struct Shown {
    document: Document,
    data: Value,
    events: Vec<Value>,
}

impl Shown {
    /// What is true of every page is checked here.
    fn of(work: &WorkDir, output: &Output) -> Self {
        let events: Vec<Value> =
            output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let document = Document::open(work, &work.path("page.html"));
        let root = document.named("html")[0];
        assert_eq!(root.attribute("data-error"), "", "{}", document.html);
        assert_eq!(root.attribute("data-ready"), "yes", "{}", document.html);
        assert_eq!(document.named("script").len(), 2, "the data and the page's own");
        let data: Value = serde_json::from_str(&document.id("data").text).unwrap();
        let shown = Self { document, data, events };
        shown.covers_the_time();
        shown.has_what_json_has();
        shown
    }

    fn events(&self, name: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == name).collect()
    }

    fn rows(&self) -> impl Iterator<Item = &Value> {
        let lanes = self.data["lanes"].as_array().unwrap().iter();
        lanes.flat_map(|lane| lane["rows"].as_array().unwrap())
    }

    /// The parts of the critical path follow upon each other from the begin to the end, which
    /// is between the last two events.
    fn covers_the_time(&self) {
        let mut at = 0;
        for part in self.data["path"].as_array().unwrap() {
            assert_eq!(part["a"].as_u64(), Some(at), "{}", self.data["path"]);
            at = part["b"].as_u64().unwrap();
        }
        assert_eq!(self.data["wall"], at);
        let sums = self.document.named("li").into_iter().map(|li| li.attribute("data-us"));
        let sum: u64 =
            sums.filter(|sum| !sum.is_empty()).map(|sum| sum.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, at, "the legend's shares");
        let [.., before, last] = self.events.as_slice() else { panic!("too few events") };
        assert!(before["time"].as_u64().unwrap() <= at / 1000, "{before}, {at} µs");
        assert!(at / 1000 <= last["time"].as_u64().unwrap(), "{last}, {at} µs");
    }

    /// The same steps and transfers, in the same stages, with the same bytes. A time is taken
    /// a little before that of the event's line.
    fn has_what_json_has(&self) {
        let rows: BTreeMap<u64, &Value> =
            self.rows().filter_map(|row| Some((row["id"].as_u64()?, row))).collect();
        assert_eq!(rows.len(), self.events("step-started").len());
        for event in self.events("step-started") {
            let row = rows[&event["step"].as_u64().unwrap()];
            assert_eq!(row["text"], event["instruction"]);
            let step = format!("{}/{}", event["number"], event["total"]);
            assert_eq!(row["step"], step);
            assert!(row["a"].as_u64().unwrap() / 1000 <= event["time"].as_u64().unwrap());
        }
        for event in self.events("step-finished") {
            let row = rows[&event["step"].as_u64().unwrap()];
            let end = if event["cached"] == true { "cached" } else { "done" };
            assert_eq!(row["end"], end, "{row}");
            assert!(row["b"].as_u64().unwrap() / 1000 <= event["time"].as_u64().unwrap());
        }
        let mut bytes = BTreeMap::new();
        for event in self.events("transfer-progress") {
            bytes.insert(event["transfer"].as_u64().unwrap(), event["done"].as_u64().unwrap());
        }
        let of_json = self.events("transfer-started").into_iter().map(|event| {
            let kind = event["kind"].as_str().unwrap().replace("push", "upload");
            let done = bytes.get(&event["transfer"].as_u64().unwrap()).copied();
            (kind, event["name"].as_str().unwrap().to_owned(), done.unwrap_or(0))
        });
        let moves = self.rows().flat_map(|row| row["moves"].as_array().unwrap());
        let of_page = moves.map(|transfer| {
            let text = |name: &str| transfer[name].as_str().unwrap().to_owned();
            (text("k"), text("name"), transfer["done"].as_u64().unwrap())
        });
        let (mut of_json, mut of_page) = (of_json.collect::<Vec<_>>(), of_page.collect::<Vec<_>>());
        of_json.sort();
        of_page.sort();
        assert_eq!(of_page, of_json);
    }

    /// The bars of a step.
    fn bars(&self, instruction: &str) -> Vec<&Tag> {
        let bars = self.document.with_classes("b main").into_iter();
        bars.filter(|bar| bar.attribute("aria-label").contains(instruction)).collect()
    }

    /// The text of the elements with these classes.
    fn texts(&self, classes: &str) -> Vec<&str> {
        self.document.with_classes(classes).iter().map(|tag| tag.text.as_str()).collect()
    }
}

/// Where a bar begins, and how wide it is, in percent.
fn place(bar: &Tag) -> (f64, f64) {
    let style = bar.attribute("style");
    let value = |name: &str| {
        let value = style.split(';').find_map(|part| part.trim().strip_prefix(name));
        value.unwrap().trim().trim_end_matches('%').parse::<f64>().unwrap()
    };
    (value("left:"), value("width:"))
}

/// What is beside the page: half of one must not be left.
fn files(work: &WorkDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(work.path(".")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("page")).collect()
}

const TWO_STAGES: &str = "FROM {base} AS maker\n\
    RUN seq 200000 > /numbers\n\
    FROM {base}\n\
    COPY --from=maker /numbers /numbers\n\
    RUN wc -l /numbers; echo two\n";

#[test]
fn a_build_of_two_stages_and_its_repetition() {
    let work = WorkDir::new();
    let registry = Registry::start(Options::default());
    let name = format!("{}/app:1", registry.host);
    let build = || recorded(work.build(TWO_STAGES)).flags(["-t", &name, "--push"]);
    let output = build().succeeds();
    let shown = Shown::of(&work, &output);
    assert_eq!(files(&work), [work.path("./page.html")]);
    let document = &shown.document;
    assert_eq!(document.named("h1")[0].text, name);
    // A lane for each stage, one for the image.
    let lanes = document.with_classes("row lane");
    assert_eq!(lanes.len(), 3, "{}", document.html);
    assert_eq!(document.with_classes("row lane whole").len(), 1);
    assert!(shown.texts("name").contains(&"maker"));
    // Each step has bars, which lie where the data has them.
    let wall = shown.data["wall"].as_f64().unwrap();
    for row in shown.rows().filter(|row| row["id"].is_u64()) {
        let bars = shown.bars(row["text"].as_str().unwrap());
        let spans = row["spans"].as_array().unwrap();
        assert_eq!(bars.len(), spans.len(), "{row}");
        for (bar, span) in bars.into_iter().zip(spans) {
            assert!(bar.attribute("class").contains(span["k"].as_str().unwrap()));
            let (from, to) = (span["a"].as_f64().unwrap(), span["b"].as_f64().unwrap());
            let (left, width) = place(bar);
            assert!((left - from / wall * 100.0).abs() < 0.01, "{bar:?} {span}");
            assert!((width - (to - from) / wall * 100.0).abs() < 0.01, "{bar:?} {span}");
        }
    }
    // Uploads say how much, and the critical path is marked and told.
    let uploads = document.with_classes("b upload");
    assert!(uploads.len() >= 2, "{}", document.html);
    assert!(uploads.iter().all(|bar| bar.attribute("aria-label").contains("B, ")), "{uploads:?}");
    assert!(!document.with_classes("crit").is_empty());
    let on_path = |bar: &&Tag| bar.attribute("aria-label").contains("critical path: ");
    assert!(document.with_classes("b").into_iter().any(|bar| on_path(&bar)));
    let parts = shown.data["path"].as_array().unwrap().len();
    let told = document.named("tr").iter().filter(|tr| !tr.attribute("data-at").is_empty()).count();
    assert_eq!(told, parts.min(10));
    // One bar is reached by the tabulator key, the others from it.
    let reached = |bar: &&&Tag| bar.attribute("tabindex") == "0";
    assert_eq!(document.with_classes("b").iter().filter(reached).count(), 1);

    let output = build().succeeds();
    let shown = Shown::of(&work, &output);
    let cached = shown.events("step-finished").iter().filter(|e| e["cached"] == true).count();
    assert!(cached >= 3, "{}", output.stderr);
    assert_eq!(shown.document.with_classes("row cached").len(), cached);
    assert!(shown.document.with_classes("b iscached").len() >= cached);
    assert_eq!(shown.texts("time").iter().filter(|text| **text == "cached").count(), cached);
    assert_eq!(files(&work), [work.path("./page.html")]);
}

#[test]
fn a_build_that_fails_shows_where() {
    let work = WorkDir::new();
    let build = work.build("FROM {base}\nRUN echo good > /x\nRUN echo bad >&2; exit 3\n");
    let output = recorded(build).fails(3);
    let shown = Shown::of(&work, &output);
    let document = &shown.document;
    assert_eq!(document.with_classes("row failed").len(), 1);
    let failed = document.with_classes("b isfailed");
    assert_eq!(failed.len(), 1);
    let label = failed[0].attribute("aria-label");
    assert!(label.contains("exit 3") && label.contains("failed"), "{label}");
    assert!(label.contains("critical path: "), "{label}");
    let messages = shown.texts("failed");
    let message = shown.events("failed")[0]["message"].as_str().unwrap();
    assert!(messages.contains(&message), "{messages:?}");
    assert!(messages.iter().any(|text| text.starts_with("failed after ")), "{messages:?}");
}

#[test]
fn a_build_without_steps_has_a_page_too() {
    let work = WorkDir::new();
    let output = recorded(work.build("FROM {base}\nRUNN x\n")).fails(65);
    let shown = Shown::of(&work, &output);
    assert!(shown.document.id("waterfall").attributes.contains_key("hidden"));
    let pre = shown.document.named("pre");
    assert!(pre[0].text.contains("RUNN"), "{}", shown.document.html);
}

#[test]
fn an_interrupted_build_has_its_page() {
    let work = WorkDir::new();
    let build = work.build("FROM {base}\nRUN echo has-begun; exec sleep 61\n");
    let mut running = recorded(build).start();
    assert!(running.says(r#""line":"has-begun""#), "{}", running.stderr());
    running.signal(Signal::INT);
    let output = running.finish().with_code(130);
    let shown = Shown::of(&work, &output);
    assert!(shown.texts("failed").iter().any(|text| text.contains("interrupted")));
    assert_eq!(
        shown.bars("has-begun").len(),
        shown.rows().next().unwrap()["spans"].as_array().unwrap().len()
    );
}

/// Nothing that a Dockerfile says runs, or hides what follows.
#[test]
fn hostile_text_is_text() {
    let owned = "</script><script>document.documentElement.dataset.owned=1</script>";
    let image = "<img src=x onerror=document.documentElement.dataset.owned=1>";
    let lines = [
        format!("RUN true '{owned}'"),
        format!("RUN true '<!-- <script> {image}'"),
        format!(r#"RUN true "\" onfocus=alert(1) {image}" '"'"#),
        "RUN true '&lt;b&gt; </title></style></noscript> {{script}} ]]>'".to_owned(),
    ];
    let work = WorkDir::new();
    let build = work.build(&format!("FROM {{base}} AS evil\n{}\n", lines.join("\n")));
    let output = recorded(build).flags(["--label", &format!("a={owned}")]).succeeds();
    let shown = Shown::of(&work, &output);
    let root = shown.document.named("html")[0];
    assert!(!root.attributes.contains_key("data-owned"), "{}", shown.document.html);
    assert!(shown.document.named("img").is_empty() && shown.document.named("b").len() < 20);
    let texts = shown.texts("name code");
    for line in &lines {
        assert!(texts.contains(&line.as_str()), "{line:?} {texts:?}");
        assert!(!shown.bars(line).is_empty(), "{line}");
    }
}

/// The page's own policy holds if the escaping should not: what is not the page's own script
/// or style has no effect.
#[test]
fn the_policy_of_the_page_stops_other_scripts() {
    let work = WorkDir::new();
    recorded(work.build("FROM scratch\nLABEL a=b\n")).succeeds();
    let page = fs::read_to_string(work.path("page.html")).unwrap();
    let evil = "<script>document.documentElement.dataset.owned=1</script>\
        <img src=x onerror=document.documentElement.dataset.owned=2>";
    for (policy, stops) in [(true, true), (false, false)] {
        let page = page.replacen("<main>", &format!("<main>{evil}"), 1);
        // Without the policy, to see that the test can see it.
        let name = if policy { "Content-Security-Policy" } else { "nothing" };
        let page = page.replacen("Content-Security-Policy", name, 1);
        let document = Document::open(&work, &work.write("changed.html", page));
        let root = document.named("html")[0];
        assert_eq!(root.attribute("data-ready"), "yes");
        assert_eq!(!root.attributes.contains_key("data-owned"), stops, "{policy}");
    }
}

/// Better before the build than after it.
#[test]
fn a_page_that_cannot_be_written_stops_the_build_before_it_begins() {
    let work = WorkDir::new();
    fs::create_dir(work.path("there")).unwrap();
    for (path, why) in
        [("nowhere/page.html", "there is no directory"), ("there", "it is a directory")]
    {
        let build = work.build("FROM {base}\nRUN true\n").flags(["--progress", "json"]);
        let output = build.flags(["--timeline", path]).fails(73).says(why).says(path);
        assert!(!output.stderr.contains("step-started"), "{}", output.stderr);
        assert!(!work.path("store").exists(), "nothing was done");
    }
    // What reads the page at once is written to as it is.
    let build = work.build("FROM scratch\nLABEL a=b\n");
    build.flags(["--timeline", "/dev/null"]).succeeds();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    // A page that is there is replaced.
    work.write("page.html", "old");
    let output = recorded(work.build("FROM scratch\nLABEL a=b\n")).succeeds();
    Shown::of(&work, &output);
}
