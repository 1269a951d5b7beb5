//! The exact output of each sink, with a clock that the test moves.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::text::tests::nasty;
use super::*;

/// A writer whose text the test reads, and which may break after some writes.
#[derive(Clone)]
struct Out {
    text: Arc<Mutex<Vec<u8>>>,
    writes: Arc<AtomicUsize>,
    limit: usize,
}

impl Out {
    fn new(limit: usize) -> Self {
        Self { text: Arc::default(), writes: Arc::default(), limit }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writes.fetch_add(1, Ordering::Relaxed) >= self.limit {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink, what it wrote, and its clock in milliseconds.
struct Bench {
    sink: Arc<dyn Sink>,
    out: Out,
    time: Arc<AtomicU64>,
}

const COLUMNS: u16 = 60;

impl Bench {
    fn new(mode: Mode) -> Self {
        Self::with(mode, Out::new(usize::MAX), false, COLUMNS)
    }

    fn with(mode: Mode, out: Out, colour: bool, columns: u16) -> Self {
        let time = Arc::new(AtomicU64::new(0));
        let now = Arc::clone(&time);
        let options = Options {
            clock: Clock::new(move || Duration::from_millis(now.load(Ordering::Relaxed))),
            colour,
            size: Box::new(move || Size { columns, rows: 24 }),
            refresh: None,
        };
        Self { sink: sink(mode, Box::new(out.clone()), options), out, time }
    }

    fn at(&self, millis: u64, event: Event) -> &Self {
        self.time.store(millis, Ordering::Relaxed);
        self.sink.event(event);
        self
    }

    fn lines(&self) -> Vec<String> {
        self.out.text().lines().map(str::to_owned).collect()
    }

    /// What a terminal of [`COLUMNS`] shows now.
    fn screen(&self) -> Vec<String> {
        Shown::after(&self.out.text(), COLUMNS.into())
    }
}

fn started(step: u32, instruction: &str) -> Event {
    let instruction = instruction.to_owned();
    Event::StepStarted { step, stage: "build".to_owned(), number: step, total: 5, instruction }
}

fn output(step: u32, line: &str) -> Event {
    Event::StepOutput { step, stream: Stream::Stdout, line: line.to_owned() }
}

fn finished(step: u32, cached: bool) -> Event {
    Event::StepFinished { step, cached }
}

fn failed(step: u32) -> Event {
    Event::StepFailed { step }
}

fn pull(total: Option<u64>) -> Event {
    let name = "sha256:abc123…".to_owned();
    Event::TransferStarted { transfer: 1, kind: TransferKind::Pull, name, total, step: None }
}

fn progress(done: u64) -> Event {
    Event::TransferProgress { transfer: 1, done }
}

const PULLED: Event = Event::TransferFinished { transfer: 1 };

fn warning(message: &str) -> Event {
    Event::Warning { message: message.to_owned() }
}

fn note(message: &str) -> Event {
    Event::Note { message: message.to_owned() }
}

fn done() -> Event {
    Event::Finished {
        image: Some("sha256:feed".to_owned()),
        names: vec!["localhost:5000/app:1.0".to_owned()],
        size: 80_300_000,
        steps: 12,
        cached: 7,
    }
}

fn application(sync: &str, health: &str, waits_for: Option<&str>) -> Event {
    Event::Application {
        application: "web".to_owned(),
        revision: "3f2a".to_owned(),
        sync: sync.to_owned(),
        health: health.to_owned(),
        operation: "Running".to_owned(),
        waits_for: waits_for.map(str::to_owned),
    }
}

fn resource(name: &str, sync: &str, health: &str, message: &str) -> Event {
    Event::Resource {
        application: "web".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        sync: sync.to_owned(),
        health: health.to_owned(),
        message: message.to_owned(),
    }
}

/// What is tested, the events with their times, the lines.
type Case = (&'static str, Vec<(u64, Event)>, &'static [&'static str]);

#[test]
fn plain_lines() {
    let cases: Vec<Case> = vec![
        (
            "a step that runs",
            vec![
                (100, started(3, "RUN make")),
                (512, output(3, "cc -c x.c")),
                (63_512, output(3, "")),
                (1_300, finished(3, false)),
            ],
            &["#3 [build 3/5] RUN make", "#3 0.412 cc -c x.c", "#3 63.412", "#3 DONE 1.2s"],
        ),
        (
            "a cached step and one that fails",
            vec![
                (0, started(1, "COPY . .")),
                (5, finished(1, true)),
                (9, started(2, "RUN x")),
                (9, failed(2)),
            ],
            &["#1 [build 1/5] COPY . .", "#1 CACHED", "#2 [build 2/5] RUN x", "#2 ERROR"],
        ),
        (
            "a transfer is silent until it is over",
            vec![
                (0, pull(Some(12_300_000))),
                (200, progress(5_000)),
                (410, progress(12_300_000)),
                (410, PULLED),
            ],
            &["pull sha256:abc123… 12.3 MB 0.4s (30 MB/s)"],
        ),
        (
            "a long transfer speaks every ten seconds",
            vec![
                (0, pull(Some(500_000_000))),
                (9_999, progress(100_000_000)),
                (10_000, progress(120_000_000)),
                (19_999, progress(130_000_000)),
                (20_000, progress(140_000_000)),
                (21_000, PULLED),
            ],
            &[
                "pull sha256:abc123… 120 MB of 500 MB 10.0s (12 MB/s)",
                "pull sha256:abc123… 140 MB of 500 MB 20.0s (7.0 MB/s)",
                "pull sha256:abc123… 140 MB of 500 MB 21.0s (6.7 MB/s)",
            ],
        ),
        (
            "messages",
            vec![(0, warning("old syntax")), (0, note("isolation: user namespace"))],
            &["warning: old syntax", "note: isolation: user namespace"],
        ),
        (
            "the summary",
            vec![(12_400, done())],
            &[
                "image sha256:feed",
                "name localhost:5000/app:1.0",
                "12 steps (7 cached), 80.3 MB in 12.4s",
            ],
        ),
        (
            "the summary without an image",
            vec![(
                1_000,
                Event::Finished { image: None, names: vec![], size: 0, steps: 1, cached: 0 },
            )],
            &["1 step (0 cached) in 1.0s"],
        ),
        (
            "a failure is the command's to print",
            vec![(0, Event::Failed { message: "x".into() })],
            &[],
        ),
        (
            "events of nothing known",
            vec![(5, progress(1)), (5, PULLED), (7, output(9, "x")), (8, finished(9, false))],
            &["#9 0.000 x", "#9 DONE 0.0s"],
        ),
    ];
    for (name, events, expected) in cases {
        let bench = Bench::new(Mode::Plain);
        for (time, event) in events {
            bench.at(time, event);
        }
        assert_eq!(bench.lines(), expected, "{name}");
    }
}

#[test]
fn json_lines() {
    let bench = Bench::new(Mode::Json);
    bench
        .at(1, started(3, "RUN make"))
        .at(2, output(3, "a\u{1b}[0m\n\0"))
        .at(3, finished(3, false))
        .at(4, failed(4))
        .at(5, pull(None))
        .at(6, progress(10))
        .at(7, PULLED)
        .at(8, warning("w"))
        .at(9, note("n"))
        .at(10, done())
        .at(11, Event::Failed { message: "no".to_owned() });
    let expected = [
        r#"{"time":0,"event":"begin","version":1}"#,
        r#"{"time":1,"event":"step-started","step":3,"stage":"build","number":3,"total":5,"instruction":"RUN make"}"#,
        r#"{"time":2,"event":"step-output","step":3,"stream":"stdout","line":"a\u001b[0m\n\u0000"}"#,
        r#"{"time":3,"event":"step-finished","step":3,"cached":false}"#,
        r#"{"time":4,"event":"step-failed","step":4}"#,
        r#"{"time":5,"event":"transfer-started","transfer":1,"kind":"pull","name":"sha256:abc123…","total":null}"#,
        r#"{"time":6,"event":"transfer-progress","transfer":1,"done":10}"#,
        r#"{"time":7,"event":"transfer-finished","transfer":1}"#,
        r#"{"time":8,"event":"warning","message":"w"}"#,
        r#"{"time":9,"event":"note","message":"n"}"#,
        r#"{"time":10,"event":"finished","image":"sha256:feed","names":["localhost:5000/app:1.0"],"size":80300000,"steps":12,"cached":7}"#,
        r#"{"time":11,"event":"failed","message":"no"}"#,
    ];
    assert_eq!(bench.lines(), expected);
}

/// The page must name what the lines hold.
#[test]
fn json_is_documented() {
    let page = include_str!("../../docs/events.md");
    let bench = Bench::new(Mode::Json);
    for event in [started(1, ""), output(1, ""), finished(1, true), failed(1), pull(None)] {
        bench.at(0, event);
    }
    bench.at(0, progress(1)).at(0, PULLED).at(0, warning("")).at(0, note("")).at(0, done());
    bench.at(0, application("", "", Some(""))).at(0, resource("", "", "", ""));
    bench.at(0, Event::ApplicationFinished { application: String::new(), good: true });
    bench.at(0, Event::Failed { message: String::new() });
    for line in bench.lines() {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        let event = line["event"].as_str().unwrap();
        let section = page.split("\n### ").find(|part| part.starts_with(&format!("`{event}`")));
        let section = section.unwrap_or_else(|| panic!("{event} has no section"));
        for field in line.keys().filter(|field| !["time", "event"].contains(&field.as_str())) {
            assert!(section.contains(&format!("| `{field}` |")), "{event}.{field}");
        }
    }
}

#[test]
fn applications_have_their_resources_below_them() {
    let ended = |good| Event::ApplicationFinished { application: "web".to_owned(), good };
    let events = |bench: &Bench| {
        bench.at(0, application("OutOfSync", "", Some("the operation\u{1b}[1m")));
        bench.at(10, resource("api", "OutOfSync", "Healthy", ""));
        bench.at(20, resource("web", "Synced", "Progressing", "1 of 2 updated"));
        bench.at(30, application("Synced", "Progressing", None));
        bench.at(40, resource("api", "Synced", "Healthy", ""));
    };
    let plain = Bench::new(Mode::Plain);
    events(&plain);
    plain.at(1500, ended(true)).at(1600, ended(false));
    let expected = [
        "web: OutOfSync, health unknown, operation Running, at 3f2a; waits for the operation",
        "web: Deployment shop/api: OutOfSync Healthy",
        "web: Deployment shop/web: Synced Progressing: 1 of 2 updated",
        "web: Synced, Progressing, operation Running, at 3f2a",
        "web: Deployment shop/api: Synced Healthy",
        "web DONE 1.5s",
        "web ERROR",
    ];
    assert_eq!(plain.lines(), expected);

    let terminal = Bench::with(Mode::Terminal, Out::new(usize::MAX), false, 100);
    let screen = || Shown::after(&terminal.out.text(), 100);
    events(&terminal);
    let row =
        "    Deployment shop/web                      Synced     Progressing  0.0s  1 of 2 updated";
    let head = "  web: Synced, Progressing, operation Running, at 3f2a  0.0s";
    assert_eq!(screen(), [head, row]);
    terminal.at(1500, ended(true));
    assert_eq!(screen(), ["✓ web: Synced, Progressing, operation Running, at 3f2a  1.5s"]);
}

#[test]
fn quiet_says_nothing() {
    let bench = Bench::new(Mode::Quiet);
    bench.at(0, started(1, "RUN x")).at(0, warning("w")).at(0, done());
    assert_eq!(bench.out.text(), "");
}

#[test]
fn a_closed_pipe_ends_the_writing_and_nothing_else() {
    for mode in [Mode::Plain, Mode::Json, Mode::Terminal] {
        let bench = Bench::with(mode, Out::new(1), false, COLUMNS);
        for step in 0..9 {
            bench.at(0, started(step, "RUN x")).at(0, finished(step, false));
        }
        assert_eq!(bench.out.writes.load(Ordering::Relaxed), 2, "{mode:?}");
    }
}

#[test]
fn a_terminal_shows_what_runs_and_keeps_what_is_done() {
    let bench = Bench::new(Mode::Terminal);
    // Without a refresh, a line is drawn anew when something happens to it.
    let shows = |expected: &[&str]| assert_eq!(bench.screen(), expected);

    bench.at(0, note("isolation: user namespace"));
    bench.at(0, started(1, "COPY . .")).at(50, started(2, "RUN make"));
    bench.at(1_050, output(2, "\u{1b}[32mcc\u{1b}[0m -c 宿.c\r"));
    shows(&[
        "note: isolation: user namespace",
        "  [build 1/5] COPY . .  0.0s",
        "  [build 2/5] RUN make  1.0s  cc -c 宿.c",
    ]);
    bench.at(1_100, finished(1, true)).at(1_200, pull(Some(80_000_000)));
    bench.at(2_200, progress(12_300_000));
    shows(&[
        "note: isolation: user namespace",
        "✓ [build 1/5] COPY . .  CACHED",
        "  [build 2/5] RUN make  1.0s  cc -c 宿.c",
        "  pull sha256:abc123…  12.3 MB of 80.0 MB  12 MB/s",
    ]);
    bench.at(2_300, PULLED).at(2_350, finished(2, false));
    bench.at(2_400, started(3, "RUN left behind")).at(12_400, done());
    shows(&[
        "note: isolation: user namespace",
        "✓ [build 1/5] COPY . .  CACHED",
        "✓ [build 2/5] RUN make  2.3s",
        "image sha256:feed",
        "name localhost:5000/app:1.0",
        "12 steps (7 cached), 80.3 MB in 12.4s",
    ]);
}

/// What runs at once stays in its order, and the transfers of a step with it.
#[test]
fn a_terminal_shows_steps_that_run_side_by_side() {
    let bench = Bench::with(Mode::Terminal, Out::new(usize::MAX), false, 80);
    let shows = |expected: &[&str]| assert_eq!(Shown::after(&bench.out.text(), 80), expected);
    let begins = |step: u32, stage: &str, instruction: &str| Event::StepStarted {
        step,
        stage: stage.to_owned(),
        number: 1,
        total: 2,
        instruction: instruction.to_owned(),
    };
    let phase = |step, phase, waits_for: Option<&str>| Event::StepPhase {
        step,
        phase,
        waits_for: waits_for.map(str::to_owned),
    };
    let moves = |transfer, kind, name: &str, total, step| Event::TransferStarted {
        transfer,
        kind,
        name: name.to_owned(),
        total,
        step,
    };
    bench.at(0, begins(1, "base", "RUN apt-get update && apt-get install --yes build-essential"));
    bench.at(0, begins(2, "web", "RUN npm ci")).at(0, begins(3, "docs", "RUN mkdocs build"));
    bench
        .at(0, begins(4, "rust", "RUN cargo build"))
        .at(0, begins(5, "app", "COPY --from=rust /x /"));
    bench.at(0, phase(2, Phase::Prepare, None)).at(0, phase(3, Phase::Queue, None));
    bench.at(0, phase(4, Phase::Queue, Some("base"))).at(0, phase(5, Phase::Queue, Some("rust")));
    bench.at(0, moves(7, TransferKind::Pull, "c3371c3e3a0d", Some(80_000_000), Some(2)));
    bench.at(0, moves(8, TransferKind::Unpack, "c3371c3e3a0d", None, Some(2)));
    bench.at(0, moves(9, TransferKind::Pull, "documents", None, None));
    bench.at(1_000, output(1, "Get:1 http://deb.debian.org bookworm InRelease"));
    bench.at(2_000, Event::TransferProgress { transfer: 7, done: 40_000_000 });
    bench.at(2_000, Event::TransferProgress { transfer: 8, done: 20_000_000 });
    for step in 1..=5 {
        // Any event of a step draws it with the time of now.
        bench.at(2_000, output(step, if step == 1 { "Get:2 http://deb.debian.org" } else { "" }));
    }
    shows(&[
        "  [base 1/2] RUN apt-get update && apt-get i…  2.0s  Get:2 http://deb.debian.org",
        "  [web 1/2] RUN npm ci  2.0s",
        "  [web 1/2] pull c3371c3e3…  [==========          ]  40.0 MB of 80.0 MB  20 MB/s",
        "  [web 1/2] unpack c3371c3e3a0d  20.0 MB  10 MB/s",
        "  [docs 1/2] RUN mkdocs build  2.0s  waits for its turn",
        "  [rust 1/2] RUN cargo build  2.0s  waits for base",
        "  [app 1/2] COPY --from=rust /x /  2.0s  waits for rust",
        "  pull documents  0 B",
    ]);
    // A step is done before its upload is; what waited goes on.
    bench.at(2_000, moves(10, TransferKind::Push, "20c7dde4a176", None, Some(1)));
    bench.at(3_000, finished(1, false)).at(3_000, phase(4, Phase::Run, None));
    bench.at(3_000, Event::TransferFinished { transfer: 9 });
    bench.at(3_000, finished(3, true)).at(3_000, failed(2));
    shows(&[
        "✓ [base 1/2] RUN apt-get update && apt-get install --yes build-essential  3.0s",
        "✓ [docs 1/2] RUN mkdocs build  CACHED",
        "✗ [web 1/2] RUN npm ci  ERROR 3.0s",
        "",
        "  [base 1/2] push 20c7dde4a176  0 B",
        "  [web 1/2] pull c3371c3e3…  [==========          ]  40.0 MB of 80.0 MB  20 MB/s",
        "  [web 1/2] unpack c3371c3e3a0d  20.0 MB  10 MB/s",
        "  [rust 1/2] RUN cargo build  3.0s",
        "  [app 1/2] COPY --from=rust /x /  2.0s  waits for rust",
    ]);
}

#[test]
fn a_terminal_prints_the_last_output_of_a_failed_step() {
    let bench = Bench::new(Mode::Terminal);
    bench.at(0, started(1, "RUN make"));
    for number in 1..=22 {
        bench.at(0, output(1, &format!("line {number} {}", "x".repeat(70))));
    }
    bench.at(1_200, failed(1)).at(1_300, Event::Failed { message: "step failed".to_owned() });
    let text = bench.out.text();
    assert!(!text.contains("\n  line 2 "), "{text}");
    for number in 3..=22 {
        assert!(text.contains(&format!("  line {number} {}\n", "x".repeat(70))), "{number}");
    }
    let screen = bench.screen();
    assert_eq!(screen[..2], ["✗ [build 1/5] RUN make  ERROR 1.2s", "  … 2 lines before"]);
    assert_eq!(screen.len(), 2 + 20 * 2, "each line takes two");
}

#[test]
fn a_terminal_that_is_dropped_leaves_nothing_moving() {
    let bench = Bench::new(Mode::Terminal);
    bench.at(0, started(1, "RUN make")).at(0, pull(None));
    assert_eq!(bench.screen().len(), 2);
    let Bench { sink, out, .. } = bench;
    drop(sink);
    assert_eq!(Shown::after(&out.text(), COLUMNS.into()), Vec::<String>::new());
}

/// Steps end while other threads draw: what stays is whole, whatever the order.
#[test]
fn a_terminal_is_drawn_by_many_threads() {
    let out = Out::new(usize::MAX);
    let options = Options {
        clock: Clock::new(|| Duration::ZERO),
        colour: false,
        size: Box::new(|| Size { columns: COLUMNS, rows: 24 }),
        refresh: Some(Duration::from_millis(1)),
    };
    let sink = sink(Mode::Terminal, Box::new(out.clone()), options);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let sink = &sink;
            scope.spawn(move || {
                for step in (0..20).map(|number| thread * 20 + number) {
                    sink.event(started(step, "RUN make"));
                    (0..5).for_each(|number| sink.event(output(step, &format!("line {number}"))));
                    sink.event(finished(step, false));
                }
            });
        }
    });
    sink.event(Event::Failed { message: String::new() });
    let mut seen = Shown::after(&out.text(), COLUMNS.into());
    let mut expected: Vec<String> =
        (0..80).map(|step| format!("✓ [build {step}/5] RUN make  0.0s")).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_bar_needs_room() {
    let bench = Bench::with(Mode::Terminal, Out::new(usize::MAX), false, 80);
    bench.at(0, pull(Some(80_000_000))).at(1_000, progress(20_000_000));
    let expected = ["  pull sha256:abc123…  [=====               ]  20.0 MB of 80.0 MB  20 MB/s"];
    assert_eq!(Shown::after(&bench.out.text(), 80), expected);
}

#[test]
fn colours_only_repeat_words() {
    let [plain, coloured] = [false, true].map(|colour| {
        let bench = Bench::with(Mode::Terminal, Out::new(usize::MAX), colour, COLUMNS);
        bench.at(0, started(1, "RUN a")).at(0, output(1, "text")).at(0, finished(1, false));
        bench.at(0, started(2, "RUN b")).at(0, failed(2)).at(0, warning("w"));
        bench.at(0, started(3, "RUN c")).at(0, output(3, "text"));
        (bench.out.text().contains("\u{1b}[32m"), bench.screen())
    });
    assert_eq!((plain.0, coloured.0), (false, true));
    assert_eq!(plain.1, coloured.1);
}

#[test]
fn the_tail_keeps_what_failed() {
    let bench = Bench::new(Mode::Quiet);
    let tail = Tail::new(Arc::clone(&bench.sink));
    for event in [
        started(1, "RUN a"),
        started(2, "RUN b\u{1b}[0m"),
        output(1, "of one"),
        output(2, "first"),
        finished(1, false),
    ] {
        tail.event(event);
    }
    (0..LINES).for_each(|number| tail.event(output(2, &format!("\u{1b}[1m{number}"))));
    assert_eq!(tail.failed(), []);
    tail.event(failed(2));
    let [failed] = <[FailedStep; 1]>::try_from(tail.failed()).unwrap();
    assert_eq!((failed.step, failed.instruction.as_str()), (2, "RUN b"));
    assert_eq!(failed.output.before, 1);
    let expected: Vec<String> = (0..LINES).map(|number| number.to_string()).collect();
    assert_eq!(failed.output.lines, expected);
}

proptest! {
    /// Whatever a step prints, each event is the lines that it should be.
    #[test]
    fn nasty_output_stays_on_its_line(texts in proptest::collection::vec(nasty(), 1..5), repeat in 1_usize..50) {
        for (mode, lines) in [(Mode::Plain, 1), (Mode::Json, 1)] {
            let bench = Bench::new(mode);
            let before = bench.lines().len();
            bench.at(0, started(1, &texts[0]));
            for text in &texts {
                bench.at(0, output(1, &text.repeat(repeat))).at(0, warning(text));
            }
            prop_assert_eq!(bench.lines().len(), before + lines * (1 + 2 * texts.len()));
            let controls = |c: char| c.is_control() && c != '\n';
            prop_assert!(mode == Mode::Json || !bench.out.text().contains(controls));
        }
        for colour in [false, true] {
            let bench = Bench::with(Mode::Terminal, Out::new(usize::MAX), colour, COLUMNS);
            bench.at(0, started(1, "RUN first")).at(0, started(2, &texts[0]));
            for text in &texts {
                bench.at(0, output(2, &text.repeat(repeat)));
            }
            let screen = bench.screen();
            prop_assert_eq!(screen.len(), 2, "{:?}", screen);
            prop_assert_eq!(&screen[0], "  [build 1/5] RUN first  0.0s");
            bench.at(0, finished(2, true)).at(0, finished(1, false));
            let screen = bench.screen();
            prop_assert_eq!(screen.len(), 2, "{:?}", screen);
            prop_assert!(screen[0].ends_with("  CACHED"), "{:?}", screen);
            prop_assert_eq!(&screen[1], "✓ [build 1/5] RUN first  0.0s");
        }
    }
}

/// As much of a terminal as the sink uses, so that tests see what people do.
struct Shown {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    columns: usize,
}

/// What stands in the second column of a wide character.
const COVERED: char = '\u{fffe}';

impl Shown {
    fn after(text: &str, columns: usize) -> Vec<String> {
        let mut shown = Self { rows: vec![vec![]], row: 0, column: 0, columns };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\u{1b}' => {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    shown.control(&rest[1..end], rest.as_bytes()[end]);
                    rest = &rest[end + 1..];
                }
                '\r' => shown.column = 0,
                '\n' => {
                    shown.down(1);
                    shown.column = 0;
                }
                c => shown.put(c),
            }
        }
        let line = |row: Vec<char>| -> String {
            let text: String = row.into_iter().filter(|c| *c != COVERED).collect();
            text.trim_end().to_owned()
        };
        let mut rows: Vec<String> = shown.rows.into_iter().map(line).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn control(&mut self, parameter: &str, last: u8) {
        let count = || parameter.parse::<usize>().unwrap();
        match last {
            b'A' => self.row = self.row.saturating_sub(count()),
            b'B' => self.down(count()),
            b'K' => self.rows[self.row].clear(),
            b'm' => {}
            _ => panic!("the sink does not use {parameter}{}", char::from(last)),
        }
        // A line that is full wraps with the next character only; any movement forgets that.
        self.column = self.column.min(self.columns - 1);
    }

    fn down(&mut self, count: usize) {
        self.row += count;
        let rows = self.rows.len().max(self.row + 1);
        self.rows.resize(rows, vec![]);
    }

    fn put(&mut self, c: char) {
        let width = super::text::char_width(c);
        assert!(!c.is_control(), "{c:?} reached the terminal");
        if self.column + width > self.columns {
            self.down(1);
            self.column = 0;
        }
        if width == 0 {
            return;
        }
        let row = &mut self.rows[self.row];
        row.resize(row.len().max(self.column + width), ' ');
        row[self.column] = c;
        if width == 2 {
            row[self.column + 1] = COVERED;
        }
        self.column += width;
    }
}
