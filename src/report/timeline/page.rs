//! The page: HTML with its style, its script and the record as JSON in it.
//!
//! Nothing is loaded from elsewhere, and the page's own policy (CSP) lets nothing
//! else than its own script run. What a Dockerfile or a server says is text on it:
//! `escape` for HTML, `embed` for the JSON in its script element.
//! What a reader without scripts needs is written here; `page.js` draws the
//! waterfall.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::super::units;
use super::path::{Item, Of, critical_path};
use super::record::{End, Kind, Micros, Outcome, Record, Transfer};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How many parts of the critical path the table names.
const LONGEST: usize = 10;

/// What the script draws; times are microseconds.
#[derive(Serialize)]
struct Data<'a> {
    wall: Micros,
    lanes: Vec<Lane<'a>>,
    path: Vec<Part>,
}

/// A stage, or what is the whole image's.
#[derive(Serialize)]
struct Lane<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    whole: bool,
    rows: Vec<Row<'a>>,
}

/// A step, or a transfer of no step.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    /// `2/5`.
    step: String,
    text: String,
    end: &'static str,
    /// From when to when, its transfers included.
    a: Micros,
    b: Micros,
    #[serde(skip_serializing_if = "is_zero")]
    lines: u64,
    spans: Vec<Bar<'a>>,
    moves: Vec<Move<'a>>,
}

/// A part of a step's time.
#[derive(Serialize)]
struct Bar<'a> {
    k: &'static str,
    a: Micros,
    b: Micros,
    /// The stage that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    w: Option<&'a str>,
}

/// A transfer.
#[derive(Serialize)]
struct Move<'a> {
    k: &'static str,
    name: &'a str,
    a: Micros,
    b: Micros,
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "is_zero_times")]
    again: u32,
    #[serde(skip_serializing_if = "is_false")]
    open: bool,
}

/// A part of the critical path: lane, row in it, and transfer in that.
#[derive(Serialize)]
struct Part {
    k: &'static str,
    a: Micros,
    b: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero_times(value: &u32) -> bool {
    *value == 0
}

/// The page of a build.
pub(super) fn page(record: &Record) -> String {
    let path = critical_path(record);
    let mut page = String::with_capacity(64 * 1024);
    let mut rest = HTML;
    while let Some((before, name, after)) = placeholder(rest) {
        page += before;
        page += &part(name, record, &path).unwrap_or_default();
        rest = after;
    }
    page + rest
}

/// The text before the first `{{name}}`, the name, and the text after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once("{{")?;
    let (name, after) = after.split_once("}}")?;
    Some((before, name, after))
}

/// What stands for a name of the template.
fn part(name: &str, record: &Record, path: &[Item]) -> Option<String> {
    let text = match name {
        "style" => STYLE.to_owned(),
        "script" => SCRIPT.to_owned(),
        "style-hash" => hash(STYLE),
        "script-hash" => hash(SCRIPT),
        "title" => escape(&format!("{} – yado build", heading(record))),
        "heading" => escape(&heading(record)),
        "facts" => facts(record),
        "failure" => failure(record),
        "shares" => shares(record, path),
        "legend" => legend(record, path),
        "longest" => longest(record, path),
        "messages" => messages(record),
        "table" => table(record),
        "version" => env!("CARGO_PKG_VERSION").to_owned(),
        "data" => embed(&data(record, path)),
        _ => return None,
    };
    Some(text)
}

/// A source of a content security policy (CSP 3, §2.3.1).
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// Text as text of an element, or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '&' => safe += "&amp;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    safe
}

/// JSON that no text in it can bring out of its script element. Outside of strings JSON has
/// none of these characters, so they can be escaped as strings have it.
fn embed(data: &Data<'_>) -> String {
    // Strings and numbers always have a JSON form.
    let json = serde_json::to_string(data).unwrap_or_default();
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A time with milliseconds where they say something; the script has the same rule.
fn time(micros: Micros) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three figures are shown")]
    let (millis, seconds) = (micros as f64 / 1e3, micros as f64 / 1e6);
    match micros {
        0..995 => format!("{millis:.2} ms"),
        995..9_950 => format!("{millis:.1} ms"),
        9_950..999_500 => format!("{millis:.0} ms"),
        999_500..9_995_000 => format!("{seconds:.2} s"),
        9_995_000..59_995_000 => format!("{seconds:.1} s"),
        _ => units::duration(std::time::Duration::from_micros(micros)),
    }
}

/// `part` of the whole time, in percent.
fn percent(part: Micros, record: &Record) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two figures are shown")]
    let percent = part as f64 / record.wall.max(1) as f64 * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.05 => "&lt; 0.1 %".to_owned(),
        ..0.95 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

fn heading(record: &Record) -> String {
    match &record.end {
        Some(End::Finished { names, .. }) if !names.is_empty() => names.join(", "),
        Some(End::Finished { image: Some(image), .. }) => image.clone(),
        Some(End::Failed { .. }) => "failed build".to_owned(),
        _ => "build".to_owned(),
    }
}

/// One line of figures.
fn facts(record: &Record) -> String {
    let mut facts = Vec::new();
    let wall = time(record.wall);
    facts.push(match record.end {
        Some(End::Failed { .. }) => format!("<b class=\"failed\">failed after {wall}</b>"),
        _ => format!("<b>{wall}</b>"),
    });
    let cached = record.steps.iter().filter(|step| step.outcome == Outcome::Cached).count();
    let steps = record.steps.len();
    let plural = if steps == 1 { "" } else { "s" };
    facts.push(format!("{steps} step{plural}, {cached} cached"));
    for (kind, word) in [(Kind::Pull, "pulled"), (Kind::Upload, "uploaded")] {
        let transfers = record.transfers.iter().filter(|transfer| transfer.kind == kind);
        let bytes: u64 = transfers.map(|transfer| transfer.done).sum();
        if bytes > 0 {
            facts.push(format!("{} {word}", units::size(bytes)));
        }
    }
    if let Some(End::Finished { image: Some(image), size, .. }) = &record.end {
        facts.push(format!("image of {}", units::size(*size)));
        facts.push(escape(image));
    }
    facts.join(" · ")
}

fn failure(record: &Record) -> String {
    match &record.end {
        Some(End::Failed { message }) => {
            format!("<pre class=\"failed\">{}</pre>", escape(message))
        }
        _ => String::new(),
    }
}

/// What each kind has of the critical path.
fn by_kind(path: &[Item]) -> impl Iterator<Item = (Kind, Micros)> {
    Kind::ALL.into_iter().map(|kind| {
        let items = path.iter().filter(|item| item.kind == kind);
        (kind, items.map(|item| item.to - item.from).sum())
    })
}

/// One bar for the whole path, of 1000 units.
fn shares(record: &Record, path: &[Item]) -> String {
    let mut rects = String::new();
    let mut x = 0.0;
    for (kind, sum) in by_kind(path).filter(|(_, sum)| *sum > 0) {
        #[expect(clippy::cast_precision_loss, reason = "it is a picture")]
        let width = sum as f64 / record.wall.max(1) as f64 * 1000.0;
        let word = kind.word();
        let _ = write!(
            rects,
            "<rect class=\"{word}\" x=\"{x:.2}\" width=\"{width:.2}\" height=\"10\"/>"
        );
        x += width;
    }
    rects
}

fn legend(record: &Record, path: &[Item]) -> String {
    let mut legend = String::new();
    for (kind, sum) in by_kind(path) {
        let (word, meaning) = (kind.word(), kind.meaning());
        let (class, share) = match sum {
            0 => (" class=\"none\"", String::new()),
            _ => ("", format!(" <b>{}</b>", percent(sum, record))),
        };
        let _ = write!(
            legend,
            "<li{class} data-kind=\"{word}\" data-us=\"{sum}\" title=\"{meaning}\"><span class=\"swatch {word}\"></span>{word}{share}</li>"
        );
    }
    legend
        + "<li title=\"what the build waited for, from its begin to its end\"><span class=\"swatch path\"></span>critical path</li>"
}

/// The longest parts of the critical path.
fn longest(record: &Record, path: &[Item]) -> String {
    let mut items: Vec<(usize, &Item)> = path.iter().enumerate().collect();
    items.sort_by_key(|(at, item)| (std::cmp::Reverse(item.to - item.from), *at));
    let mut rows = String::new();
    for (at, item) in items.into_iter().take(LONGEST) {
        let took = item.to - item.from;
        let of = match item.of {
            Of::Step(step) => named(record, step),
            Of::Transfer(transfer) => {
                let transfer = &record.transfers[transfer];
                let of = transfer.step.map(|step| format!(" of {}", named(record, step)));
                format!("{}{}", transfer.name, of.unwrap_or_default())
            }
            Of::Nothing => item.kind.meaning().to_owned(),
        };
        let word = item.kind.word();
        let _ = write!(
            rows,
            "<tr data-at=\"{at}\"><td class=\"n\">{}<td class=\"n\">{}<td><span class=\"swatch {word}\"></span>{word}<td class=\"what code\">{}",
            time(took),
            percent(took, record),
            escape(&of)
        );
    }
    rows
}

/// A step as the plain output heads it.
fn named(record: &Record, step: usize) -> String {
    let step = &record.steps[step];
    format!("[{} {}/{}] {}", step.stage, step.number, step.total, step.instruction)
}

fn messages(record: &Record) -> String {
    if record.messages.is_empty() {
        return String::new();
    }
    let mut list = String::from(
        "<section id=\"messages\" aria-labelledby=\"h-said\"><h2 id=\"h-said\">Warnings and notes</h2><ul>",
    );
    for message in &record.messages {
        let word = if message.warning { "warning: " } else { "" };
        let (at, text) = (time(message.at), escape(&message.text));
        let _ = write!(list, "<li><span class=\"at\">{at}</span> {word}{text}</li>");
    }
    if record.more_messages > 0 {
        let _ = write!(list, "<li>and {} more</li>", record.more_messages);
    }
    list + "</ul></section>"
}

/// All steps and transfers, in the order in which they began.
fn table(record: &Record) -> String {
    let mut rows: Vec<(Micros, String)> = Vec::new();
    for step in &record.steps {
        let row = format!(
            "<tr><td>{}<td class=\"n\">{}/{}<td class=\"what code\">{}<td class=\"n\">{}<td class=\"n\">{}<td><td>{}",
            escape(&step.stage),
            step.number,
            step.total,
            escape(&step.instruction),
            time(step.begun),
            time(step.end - step.begun),
            step.outcome.word()
        );
        rows.push((step.begun, row));
    }
    for transfer in &record.transfers {
        let (stage, number) = transfer.step.map_or_else(Default::default, |step| {
            let step = &record.steps[step];
            (escape(&step.stage), format!("{}/{}", step.number, step.total))
        });
        let row = format!(
            "<tr><td>{stage}<td class=\"n\">{number}<td class=\"what\">{} {}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td>{}",
            transfer.kind.word(),
            escape(&transfer.name),
            time(transfer.begun),
            time(transfer.end - transfer.begun),
            units::size(transfer.done),
            if transfer.ended { Outcome::Done.word() } else { Outcome::Stopped.word() }
        );
        rows.push((transfer.begun, row));
    }
    rows.sort_by_key(|(begun, _)| *begun);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The record by lanes, in the order in which they began; what is no step's comes last.
fn data<'a>(record: &'a Record, path: &[Item]) -> Data<'a> {
    let mut lanes: Vec<Lane<'a>> = Vec::new();
    // The lane and the row of each step, and the rest of the way to each transfer.
    let mut steps = Vec::with_capacity(record.steps.len());
    let mut transfers = vec![(0, 0, 0); record.transfers.len()];
    for step in &record.steps {
        let lane = lanes.iter().position(|lane| lane.name == step.stage).unwrap_or_else(|| {
            lanes.push(Lane { name: &step.stage, whole: false, rows: Vec::new() });
            lanes.len() - 1
        });
        steps.push((lane, lanes[lane].rows.len()));
        let spans = step.spans();
        let spans = spans.into_iter().map(|span| Bar {
            k: span.kind.word(),
            a: span.from,
            b: span.to,
            w: span.waits_for,
        });
        lanes[lane].rows.push(Row {
            id: Some(step.id),
            step: format!("{}/{}", step.number, step.total),
            text: step.instruction.clone(),
            end: step.outcome.word(),
            a: step.begun,
            b: step.end,
            lines: step.lines,
            spans: spans.collect(),
            moves: Vec::new(),
        });
    }
    let mut whole = Vec::new();
    let image = lanes.len();
    for (at, transfer) in record.transfers.iter().enumerate() {
        let drawn = moved(transfer);
        if let Some(step) = transfer.step {
            let (lane, row) = steps[step];
            let moves = &mut lanes[lane].rows[row].moves;
            transfers[at] = (lane, row, moves.len());
            moves.push(drawn);
        } else {
            transfers[at] = (image, whole.len(), 0);
            whole.push(Row {
                id: None,
                step: String::new(),
                text: format!("{} {}", drawn.k, transfer.name),
                end: Outcome::Done.word(),
                a: transfer.begun,
                b: transfer.end,
                lines: 0,
                spans: Vec::new(),
                moves: vec![drawn],
            });
        }
    }
    if !whole.is_empty() {
        lanes.push(Lane { name: "", whole: true, rows: whole });
    }
    let path = path.iter().map(|item| {
        let (l, r, t) = match item.of {
            Of::Step(step) => (Some(steps[step].0), Some(steps[step].1), None),
            Of::Transfer(at) => {
                let (lane, row, transfer) = transfers[at];
                (Some(lane), Some(row), Some(transfer))
            }
            Of::Nothing => (None, None, None),
        };
        Part { k: item.kind.word(), a: item.from, b: item.to, l, r, t }
    });
    Data { wall: record.wall, path: path.collect(), lanes }
}

fn moved(transfer: &Transfer) -> Move<'_> {
    Move {
        k: transfer.kind.word(),
        name: &transfer.name,
        a: transfer.begun,
        b: transfer.end,
        done: transfer.done,
        total: transfer.total,
        again: transfer.again,
        open: !transfer.ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_template_stands_for_something() {
        let mut rest = HTML;
        let mut names = 0;
        while let Some((_, name, after)) = placeholder(rest) {
            assert!(part(name, &Record::default(), &[]).is_some(), "{name}");
            (rest, names) = (after, names + 1);
        }
        assert_eq!(names, HTML.matches("{{").count());
    }

    #[test]
    fn times_have_three_figures() {
        for (micros, text) in [
            (0, "0.00 ms"),
            (994, "0.99 ms"),
            (999, "1.0 ms"),
            (9_949, "9.9 ms"),
            (9_950, "10 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (9_994_999, "9.99 s"),
            (9_995_000, "10.0 s"),
            (59_994_999, "60.0 s"),
            (59_995_000, "1m00s"),
            (3_720_000_000, "1h02m"),
        ] {
            assert_eq!(time(micros), text, "{micros}");
        }
    }
}
