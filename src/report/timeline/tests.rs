//! Synthetic builds: what is remembered, what was waited for, what stands on the page.
//!
//! A build is written as lines: a time in milliseconds, what happens, to whom.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::super::text::tests::nasty;
use super::super::{Phase, Stream, TransferKind};
use super::path::{Item, Of, critical_path};
use super::record::{Kind, Outcome};
use super::*;

/// Reads a build:
///
/// ```text
/// 0 step 1 a 1/2 RUN make     a step begins
/// 1 queue 1 b                 a phase, perhaps with the stage that it waits for
/// 1 pull 7 1 layer            a transfer begins, perhaps a step's, perhaps with a name
/// 3 moved 7 1000              its bytes
/// 5 end 7                     a transfer ends
/// 5 done 1                    a step ends; also cached, failed
/// 9 finished                  the build ends; also broken
/// ```
fn build(script: &str) -> Record {
    let mut record = Record::default();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (time, rest) = line.split_once(' ').unwrap();
        let time: f64 = time.parse().unwrap();
        record.take(Duration::from_nanos((time * 1e6) as u64), &event(rest));
    }
    assert!(record.end.is_some(), "{script}");
    record
}

fn event(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |at: usize| words[at].parse::<u32>().unwrap();
    let phase = |phase| Event::StepPhase {
        step: number(1),
        phase,
        waits_for: words.get(2).map(ToString::to_string),
    };
    let transfer = |kind| Event::TransferStarted {
        transfer: number(1).into(),
        kind,
        name: words.get(3).map_or(format!("t{}", words[1]), ToString::to_string),
        total: None,
        step: words.get(2).map(|step| step.parse().unwrap()),
    };
    match words[0] {
        "step" => Event::StepStarted {
            step: number(1),
            stage: words[2].to_owned(),
            number: words[3].split('/').next().unwrap().parse().unwrap(),
            total: words[3].split('/').nth(1).unwrap().parse().unwrap(),
            instruction: words[4..].join(" "),
        },
        "queue" => phase(Phase::Queue),
        "key" => phase(Phase::Key),
        "prepare" => phase(Phase::Prepare),
        "run" => phase(Phase::Run),
        "snapshot" => phase(Phase::Snapshot),
        "pull" => transfer(TransferKind::Pull),
        "unpack" => transfer(TransferKind::Unpack),
        "compress" => transfer(TransferKind::Compress),
        "push" => transfer(TransferKind::Push),
        "export" => transfer(TransferKind::Export),
        "moved" => Event::TransferProgress { transfer: number(1).into(), done: number(2).into() },
        "end" => Event::TransferFinished { transfer: number(1).into() },
        "done" => Event::StepFinished { step: number(1), cached: false },
        "cached" => Event::StepFinished { step: number(1), cached: true },
        "failed" => Event::StepFailed { step: number(1) },
        "finished" => Event::Finished {
            image: Some("sha256:feed".to_owned()),
            names: vec!["localhost/app:1".to_owned()],
            size: 80_300_000,
            steps: 1,
            cached: 0,
        },
        "broken" => Event::Failed { message: "error: it broke\n  here".to_owned() },
        word => panic!("{word}"),
    }
}

/// The path as lines: from, to, kind, and the step's or the transfer's number.
fn told(record: &Record) -> Vec<String> {
    // Whole milliseconds, or tenths of them.
    let millis = |micros: u64| match (micros / 1000, micros % 1000 / 100) {
        (whole, 0) => whole.to_string(),
        (whole, tenths) => format!("{whole}.{tenths}"),
    };
    let tell = |item: Item| {
        let of = match item.of {
            Of::Step(at) => format!(" #{}", record.steps[at].id),
            Of::Transfer(at) => format!(" {}", record.transfers[at].name),
            Of::Nothing => String::new(),
        };
        format!("{}-{} {}{of}", millis(item.from), millis(item.to), item.kind.word())
    };
    critical_path(record).into_iter().map(tell).collect()
}

#[test]
fn the_critical_path() {
    // What is tested, the build, the path.
    let cases: &[(&str, &str, &[&str])] = &[
        ("nothing at all", "5 finished", &["0-5 other"]),
        ("no time at all", "0 step 1 a 1/1 X\n0 done 1\n0 finished", &[]),
        (
            "a step without phases ran",
            "2 step 1 a 1/1 RUN x\n8 done 1\n9 finished",
            &["0-2 other", "2-8 run #1", "8-9 other"],
        ),
        (
            "a cached step without phases was looked up",
            "1 step 1 a 1/2 RUN x
             2 cached 1
             2 step 2 a 2/2 RUN y
             3 cached 2
             3 finished",
            &["0-1 other", "1-2 key #1", "2-3 key #2"],
        ),
        (
            "phases, and the transfers in them",
            "0 step 1 a 1/1 RUN x
             0 key 1
             1 prepare 1
             1 pull 1 1
             3 unpack 2 1
             6 end 1
             7 end 2
             8 run 1
             20 snapshot 1
             21 compress 3 1
             24 end 3
             25 done 1
             25 finished",
            &[
                "0-1 key #1",
                // The pull went on while it was unpacked; it was unpacked until 7.
                "1-3 unpack #1",
                "3-7 unpack t2",
                "7-8 unpack #1",
                "8-20 run #1",
                "20-21 snapshot #1",
                "21-24 compress t3",
                "24-25 snapshot #1",
            ],
        ),
        (
            "a layer that is unpacked as fast as it comes",
            "0 step 1 a 1/1 RUN x
             0 prepare 1
             1 pull 1 1 layer
             1 unpack 2 1 layer
             8 end 1
             9 end 2
             9 done 1
             9 finished",
            &["0-1 unpack #1", "1-8 pull layer", "8-9 unpack layer"],
        ),
        (
            "a layer that comes faster than it is unpacked",
            "0 step 1 a 1/1 RUN x
             0 prepare 1
             1 pull 1 1 layer
             1 unpack 2 1 layer
             5 end 1
             9 end 2
             9 done 1
             9 finished",
            &["0-1 unpack #1", "1-9 unpack layer"],
        ),
        (
            "a step that waited before it began",
            "0 step 1 a 1/1 RUN x
             0 queue 2 a
             6 done 1
             6 step 2 b 1/1 COPY --from=a
             6 run 2
             7 done 2
             7 finished",
            &["0-6 run #1", "6-7 run #2"],
        ),
        (
            "of parallel pulls the last one counts, and the one before where it ends",
            "0 step 1 a 1/1 RUN x
             0 prepare 1
             0 pull 1 1
             0 pull 2 1
             4 end 1
             4 pull 3 1
             6 end 2
             9 end 3
             10 run 1
             11 done 1
             11 finished",
            &["0-4 pull t1", "4-9 pull t3", "9-10 unpack #1", "10-11 run #1"],
        ),
        (
            "a stage that waits for another",
            "0 step 1 build 1/1 RUN make
             0 step 2 app 1/2 RUN small
             3 done 2
             3 step 3 app 2/2 COPY --from=build
             3 queue 3 build
             10 done 1
             10 key 3
             11 run 3
             12 done 3
             12 finished",
            &["0-10 run #1", "10-11 key #3", "11-12 run #3"],
        ),
        (
            "a stage that did not have to wait",
            "0 step 1 build 1/1 RUN make
             0 step 2 app 1/2 RUN large
             3 done 1
             9 done 2
             9 step 3 app 2/2 COPY --from=build
             9 queue 3 build
             10 run 3
             12 done 3
             12 finished",
            &["0-9 run #2", "9-10 queue #3", "10-12 run #3"],
        ),
        (
            "a layer that is still compressed when its stage is over is waited for, an upload is not",
            "0 step 1 build 1/1 RUN make
             4 done 1
             4 compress 1 1
             4 push 2 1
             0 step 2 app 1/1 COPY --from=build
             0 queue 2 build
             7 end 1
             7 run 2
             8 end 2
             9 done 2
             9 finished",
            &["0-4 run #1", "4-7 compress t1", "7-9 run #2"],
        ),
        (
            "its turn comes when another step ends",
            "0 step 1 a 1/1 RUN a
             0 step 2 b 1/1 RUN b
             0 step 3 c 1/1 RUN c
             0 queue 3
             4 done 1
             5 run 3
             9 done 2
             12 done 3
             12 finished",
            &["0-4 run #1", "4-5 queue #3", "5-12 run #3"],
        ),
        (
            "its turn comes for a reason that nobody knows",
            "0 step 1 c 1/1 RUN c\n0 queue 1\n5 run 1\n12 done 1\n12 finished",
            &["0-5 queue #1", "5-12 run #1"],
        ),
        (
            "an upload behind the steps that is over before them",
            "0 step 1 a 1/2 RUN x
             4 done 1
             4 push 1 1
             4 step 2 a 2/2 RUN y
             6 end 1
             9 done 2
             9 finished",
            &["0-4 run #1", "4-9 run #2"],
        ),
        (
            "an upload that the build waits for",
            "0 step 1 a 1/2 RUN x
             4 done 1
             5 push 1 1
             5 step 2 a 2/2 RUN y
             6 done 2
             9 end 1
             9.5 push 2
             10 end 2
             10 finished",
            &["0-4 run #1", "4-5 other", "5-9 upload t1", "9-9.5 other", "9.5-10 upload t2"],
        ),
        (
            "uploads one after another",
            "0 step 1 a 1/2 RUN x
             4 done 1
             4 push 1 1
             4 step 2 a 2/2 RUN y
             6 done 2
             9 end 1
             9 push 2 2
             12 end 2
             12 finished",
            &["0-4 run #1", "4-9 upload t1", "9-12 upload t2"],
        ),
        (
            "an upload that begins while its layer is made",
            "0 step 1 a 1/1 RUN x
             0 run 1
             4 snapshot 1
             5 push 1 1
             7 done 1
             9 end 1
             9 finished",
            &["0-4 run #1", "4-5 snapshot #1", "5-9 upload t1"],
        ),
        (
            "the documents of a base before the first step",
            "1 pull 1\n3 end 1\n4 step 1 a 1/1 RUN x\n9 done 1\n9 finished",
            &["0-1 other", "1-3 pull t1", "3-4 other", "4-9 run #1"],
        ),
        (
            "the step that failed, not the one that was stopped because of it",
            "0 step 1 a 1/1 RUN x
             0 step 2 b 1/2 RUN y
             2 done 2
             2 step 3 b 2/2 RUN z
             5 failed 3
             6 broken",
            &["0-2 run #2", "2-5 run #3", "5-6 other"],
        ),
        (
            "an interrupted build",
            "0 step 1 a 1/1 RUN x\n1 pull 1 1\n6 broken",
            &["0-1 run #1", "1-6 pull t1"],
        ),
        (
            "an end that is reported a little late",
            "0 step 1 a 1/2 RUN x
             1 compress 1 1
             4 done 1
             4 step 2 a 2/2 RUN y
             4.3 end 1
             9 done 2
             9 finished",
            &["0-1 run #1", "1-4 compress t1", "4-9 run #2"],
        ),
    ];
    for (what, script, expected) in cases {
        // Events come in the order of their times, scripts are written as they are read.
        let mut lines: Vec<&str> = script.lines().map(str::trim).collect();
        lines.sort_by_key(|line| {
            (line.split(' ').next().unwrap().parse::<f64>().unwrap() * 1000.0) as u64
        });
        assert_eq!(told(&build(&lines.join("\n"))), *expected, "{what}");
    }
}

#[test]
fn what_makes_no_sense_is_passed_over() {
    let record = build(
        "0 queue 9 x
         0 run 9
         0 done 9
         0 end 9
         0 moved 9 5
         1 pull 1 9
         2 end 1
         3 finished
         4 step 1 a 1/1 RUN late",
    );
    assert_eq!((record.steps.len(), record.transfers.len(), record.wall), (0, 1, 3_000));
    assert_eq!(record.transfers[0].step, None);
}

#[test]
fn steps_are_remembered_with_their_phases() {
    let record = build(
        "1 step 1 a 1/2 RUN x
         2 queue 1 b
         3 queue 1 b
         4 run 1
         9 done 1
         9 step 2 a 2/2 RUN y
         10 failed 2
         10 step 3 b 1/1 RUN z
         12 broken",
    );
    let spans = record.steps[0].spans();
    let spans: Vec<_> = spans.iter().map(|s| (s.kind, s.from, s.to, s.waits_for)).collect();
    let expected = [(Kind::Queue, 1_000, 4_000, Some("b")), (Kind::Run, 4_000, 9_000, None)];
    assert_eq!(spans, expected);
    let outcomes: Vec<_> = record.steps.iter().map(|s| (s.outcome, s.end)).collect();
    let expected = [(Outcome::Done, 9_000), (Outcome::Failed, 10_000), (Outcome::Stopped, 12_000)];
    assert_eq!(outcomes, expected);
}

/// However long a build talks, moves and warns, what is kept is of the size of its steps.
#[test]
fn what_happens_does_not_grow_the_memory() {
    let mut record = Record::default();
    let mut take = |event: &Event| record.take(Duration::ZERO, event);
    take(&event("step 1 a 1/1 RUN x"));
    take(&event("pull 1 1"));
    let line = "x".repeat(10_000);
    for number in 0..10_000 {
        take(&Event::TransferProgress { transfer: 1, done: number });
        take(&Event::StepOutput { step: 1, stream: Stream::Stdout, line: String::new() });
        take(&Event::StepPhase { step: 1, phase: Phase::Run, waits_for: None });
        take(&Event::Warning { message: line.clone() });
    }
    take(&Event::TransferProgress { transfer: 1, done: 3 });
    take(&event("finished"));
    let transfer = &record.transfers[0];
    assert_eq!((transfer.done, transfer.again), (3, 1));
    assert_eq!((record.steps[0].lines, record.steps[0].spans().len()), (10_000, 1));
    assert_eq!((record.messages.len(), record.more_messages), (100, 9_900));
    assert!(page::page(&record).len() < 200_000);
}

/// The parts that a page consists of beside what the build brings.
#[test]
fn a_page_is_small_and_loads_nothing() {
    let page = page::page(&build("5 finished"));
    assert!(page.len() < 40_000, "{} bytes", page.len());
    for word in ["://", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
    let policy = "content=\"default-src 'none'; script-src 'sha256-";
    assert!(page.contains(policy), "{page}");
    // No style and no handler in an attribute: the policy would stop them.
    assert!(!page.contains(" style=\"") && !page.contains(" onclick=\""));
}

/// What stands between the tags of the script element with the data.
fn data(page: &str) -> &str {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    rest.split_once("</script>").unwrap().0
}

/// A build whose every text is `text`.
fn says(text: &str) -> (Record, String) {
    let mut record = Record::default();
    let text = || text.to_owned();
    let events = [
        Event::Warning { message: text() },
        Event::StepStarted { step: 1, stage: text(), number: 1, total: 1, instruction: text() },
        Event::StepPhase { step: 1, phase: Phase::Queue, waits_for: Some(text()) },
        Event::TransferStarted {
            transfer: 1,
            kind: TransferKind::Pull,
            name: text(),
            total: None,
            step: Some(1),
        },
        Event::TransferStarted {
            transfer: 2,
            kind: TransferKind::Export,
            name: text(),
            total: None,
            step: None,
        },
        Event::StepFailed { step: 1 },
        Event::Failed { message: text() },
    ];
    for (at, event) in events.iter().enumerate() {
        record.take(Duration::from_millis(at as u64), event);
    }
    let page = page::page(&record);
    (record, page)
}

#[test]
fn nothing_that_a_build_says_is_more_than_text() {
    let plain = says("x").1;
    let tags = |page: &str| page.matches('<').count();
    for text in [
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "--> ]]> {{data}} {{script}}",
        "\" onfocus=alert(1) x='",
        "&lt;b&gt; <b>",
        "\u{2028}\u{2029}\u{202e}\u{0}",
        "\\u003c/script\\u003e \\",
    ] {
        let (record, page) = says(text);
        assert_eq!(tags(&page), tags(&plain), "{text:?}");
        let json = data(&page);
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let shown = super::super::one_line(text);
        let lane = &value["lanes"][0];
        assert_eq!(lane["name"], *shown, "{text:?}");
        assert_eq!(lane["rows"][0]["text"], *shown);
        assert_eq!(lane["rows"][0]["spans"][0]["w"], *shown);
        assert_eq!(lane["rows"][0]["moves"][0]["name"], *shown);
        assert_eq!(record.steps.len(), 1);
    }
}

#[test]
fn a_page_says_where_the_time_went() {
    let record = build(
        "0 step 1 a 1/2 RUN make
         0 prepare 1
         0 pull 1 1
         0 moved 1 12300000
         20 end 1
         21 run 1
         81 done 1
         81 step 2 a 2/2 COPY x
         82 cached 2
         82 push 2
         100 end 2
         100 finished",
    );
    let page = page::page(&record);
    for part in [
        "<h1>localhost/app:1</h1>",
        "<b>100 ms</b> · 2 steps, 1 cached · 12.3 MB pulled · image of 80.3 MB",
        "data-kind=\"pull\" data-us=\"20000\"",
        "<span class=\"swatch run\"></span>run <b>60 %</b>",
        "<span class=\"swatch upload\"></span>upload <b>18 %</b>",
        "60 %<td><span class=\"swatch run\"></span>run<td class=\"what code\">[a 1/2] RUN make",
        "pull<td class=\"what code\">t1 of [a 1/2] RUN make",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let value: serde_json::Value = serde_json::from_str(data(&page)).unwrap();
    assert_eq!(value["wall"], 100_000);
    assert_eq!(value["lanes"].as_array().unwrap().len(), 2);
    assert_eq!(value["lanes"][1]["whole"], true);
    assert_eq!(value["lanes"][0]["rows"][1]["end"], "cached");
    let part = serde_json::json!({"k": "pull", "a": 0, "b": 20_000, "l": 0, "r": 0, "t": 0});
    assert_eq!(value["path"][0], part);
}

/// The sink passes on what it hears; the last event is heard with the page.
#[test]
fn a_timeline_passes_events_on() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);
    impl Sink for Heard {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }
    let heard = Arc::new(Heard::default());
    let time = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&time);
    let clock = Clock::new(move || Duration::from_millis(now.load(Ordering::Relaxed)));
    let timeline = Timeline::new(Arc::<Heard>::clone(&heard) as Arc<dyn Sink>, clock);
    let events = [event("step 1 a 1/1 RUN x"), event("done 1")];
    for (at, event) in events.iter().enumerate() {
        time.store(10 * at as u64, Ordering::Relaxed);
        timeline.event(event.clone());
    }
    time.store(30, Ordering::Relaxed);
    let end = event("finished");
    let page = timeline.page(&end);
    assert_eq!(*heard.0.lock().unwrap(), events);
    timeline.event(end);
    let value: serde_json::Value = serde_json::from_str(data(&page)).unwrap();
    assert_eq!(
        (&value["wall"], &value["lanes"][0]["rows"][0]["b"]),
        (&30_000.into(), &10_000.into())
    );
}

/// One line of a build of a few steps and transfers; most are in no order that makes sense.
fn any_event() -> impl Strategy<Value = String> {
    let step = 0..6_u32;
    prop_oneof![
        (step.clone(), 0..3_u32, 1..4_u32)
            .prop_map(|(s, stage, n)| format!("step {s} {stage} {n}/4 RUN")),
        (step.clone(), "queue|key|prepare|run|snapshot")
            .prop_map(|(s, phase)| format!("{phase} {s}")),
        (step.clone(), 0..3_u32).prop_map(|(s, stage)| format!("queue {s} {stage}")),
        (step.clone(), "done|cached|failed").prop_map(|(s, end)| format!("{end} {s}")),
        (0..8_u32, "pull|unpack|compress|push|export").prop_map(|(t, kind)| format!("{kind} {t}")),
        (0..8_u32, step, "pull|unpack|compress|push|export")
            .prop_map(|(t, s, kind)| format!("{kind} {t} {s}")),
        (0..8_u32).prop_map(|t| format!("end {t}")),
    ]
}

proptest! {
    /// Whatever happens, the path covers all of the time once, and the page can be made.
    #[test]
    fn the_path_covers_the_time(
        events in proptest::collection::vec((0..3_u64, any_event()), 0..60),
        end in "finished|broken",
    ) {
        let mut now = 0;
        let mut script = String::new();
        for (later, event) in events {
            now += later;
            script.extend([now.to_string(), " ".to_owned(), event, "\n".to_owned()]);
        }
        let record = build(&format!("{script}{} {end}", now + 1));
        let mut at = 0;
        for item in critical_path(&record) {
            prop_assert_eq!(item.from, at, "{}", &script);
            prop_assert!(item.to > item.from);
            at = item.to;
        }
        prop_assert_eq!(at, record.wall);
        let page = page::page(&record);
        prop_assert!(serde_json::from_str::<serde_json::Value>(data(&page)).is_ok());
    }

    #[test]
    fn nasty_text_stays_text(text in nasty()) {
        let page = says(&text).1;
        prop_assert_eq!(page.matches('<').count(), says("x").1.matches('<').count());
        prop_assert!(serde_json::from_str::<serde_json::Value>(data(&page)).is_ok());
    }
}
