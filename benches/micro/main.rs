//! What the parts of a build cost, in counts that are the same whatever else the
//! machine does, held against `benches/budget.txt`.
//!
//! ```text
//! make bench-budget                    count, and fail above the budget
//! make bench-budget PARTS="parse tar"  only these
//! make bench-budget UPDATE=1           write what is counted as the new budget
//! ```
//!
//! Work in memory is counted in instructions (valgrind's callgrind; virtual machines rarely
//! have hardware counters). Work on files is counted in system calls (strace): it spends its
//! time in the kernel, and Debian 12's valgrind does not know `openat2`. This program starts
//! itself twice per case, to prepare only and to prepare and work; the difference is the work.
//!
//! yado itself is compiled as for a release but for the last link; what it uses is that of the
//! tests, where nothing must be compiled again for this.
//!
//! valgrind shows a program no SHA instructions, so sha2 takes its portable code there: what
//! hashes costs more here than it does outside.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod cases;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use cases::{CASES, Case};

/// How far a count may be from its budget, in percent: other compilers and C libraries give
/// a little more or less for the same source.
const TOLERANCE: u64 = 5;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Instructions,
    SystemCalls,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::SystemCalls => "system-calls",
        }
    }
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("micro: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo adds this to what it calls.
    arguments.retain(|argument| argument != "--bench");
    if let [mode, name, dir] = &arguments[..]
        && let Some(works) = match mode.as_str() {
            "--prepare" => Some(false),
            "--work" => Some(true),
            _ => None,
        }
    {
        let work = (find(name)?.prepare)(Path::new(dir))?;
        if works {
            work()?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let update = arguments.iter().any(|argument| argument == "--update");
    arguments.retain(|argument| argument != "--update");
    let chosen = if arguments.is_empty() {
        CASES.iter().collect()
    } else {
        arguments.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?
    };
    let counts = count_all(&chosen)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/budget.txt");
    let mut budget = read_budget(&file)?;
    if update {
        budget.extend(counts.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        budget.retain(|name, _| find(name).is_ok());
        fs::write(&file, budget_text(&budget))
            .with_context(|| format!("write {}", file.display()))?;
        println!("{} is written", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if compare(&chosen, &counts, &budget) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(name: &str) -> Result<&'static Case> {
    CASES.iter().find(|case| case.name == name).ok_or_else(|| {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        anyhow!("there is no case {name:?}, only {}", names.join(", "))
    })
}

/// Counts the cases, as many at once as there are cores.
fn count_all(cases: &[&'static Case]) -> Result<BTreeMap<&'static str, u64>> {
    let left = Mutex::new(cases.to_vec());
    let take = || left.lock().ok().and_then(|mut left| left.pop());
    let count_some = || {
        let mut counts = Vec::new();
        while let Some(case) = take() {
            counts.push((case.name, count(case).with_context(|| format!("count {}", case.name))?));
        }
        Ok(counts)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(count_some)).collect();
        let results = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread that counts panicked")))
        });
        Ok(results.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// The count of a case's work alone.
fn count(case: &Case) -> Result<u64> {
    let scratch = Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(case.name));
    let [prepared, worked] = ["--prepare", "--work"].map(|mode| {
        let dir = scratch.0.join(mode);
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        count_process(case, mode, &dir)
    });
    let (prepared, worked) = (prepared?, worked?);
    worked.checked_sub(prepared).ok_or_else(|| {
        anyhow!("preparing took {prepared} {}, with the work {worked}", case.unit.name())
    })
}

fn count_process(case: &Case, mode: &str, dir: &Path) -> Result<u64> {
    let summary = dir.with_extension("calls");
    let mut command = match case.unit {
        Unit::Instructions => {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            command
        }
        Unit::SystemCalls => {
            let mut command = Command::new("strace");
            // Not those of threads that wait for each other, of which there is no fixed number.
            command.args(["-f", "-c", "-U", "calls,name", "-e", "trace=%file,%desc", "-o"]);
            command.arg(&summary);
            command
        }
    };
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command
        .arg(env::current_exe()?)
        .args([mode, case.name])
        .arg(dir)
        .output()
        .with_context(|| format!("start {tool}; docker/install.sh installs it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{tool} ended with {}: {said}", output.status);
    }
    let count = match case.unit {
        Unit::Instructions => {
            said.lines().find_map(|line| line.split_once("Collected : ")?.1.into())
        }
        Unit::SystemCalls => None,
    };
    let total = fs::read_to_string(&summary).unwrap_or_default();
    let count = count.or_else(|| total.lines().last()?.strip_suffix("total"));
    count
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| anyhow!("{tool} gave no count: {said}{total}"))
}

/// A directory of its own, removed in the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The lines `NAME COUNT …` of the file; none if it is not there.
fn read_budget(file: &Path) -> Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, count) = (words.next(), words.next().and_then(|count| count.parse().ok()));
            name.map(str::to_owned).zip(count).ok_or_else(|| anyhow!("{}: {line}", file.display()))
        })
        .collect()
}

fn budget_text(budget: &BTreeMap<String, u64>) -> String {
    let mut text = "# What each case of benches/micro may cost, within 5 %.\n\
                    # Written by: make bench-budget UPDATE=1\n"
        .to_owned();
    for case in CASES {
        if let Some(count) = budget.get(case.name) {
            let _ = writeln!(text, "{:<12} {count:>12} {}", case.name, case.unit.name());
        }
    }
    text
}

/// Prints the counts; whether all are within their budgets.
fn compare(
    cases: &[&Case],
    counts: &BTreeMap<&'static str, u64>,
    budget: &BTreeMap<String, u64>,
) -> bool {
    let (mut holds, mut lower) = (true, false);
    println!("{:<12} {:>14} {:>14} {:>8}", "case", "counted", "budget", "");
    for case in cases {
        let count = counts[case.name];
        let Some(&allowed) = budget.get(case.name) else {
            println!("{:<12} {count:>14} {:>14}  no budget", case.name, "-");
            holds = false;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
        let change = (count as f64 / allowed as f64 - 1.0) * 100.0;
        let verdict = if count * 100 > allowed * (100 + TOLERANCE) {
            holds = false;
            "ABOVE"
        } else if count * 100 < allowed * (100 - TOLERANCE) {
            lower = true;
            "well below"
        } else {
            ""
        };
        let unit = case.unit.name();
        println!("{:<12} {count:>14} {allowed:>14} {change:>+7.1}% {unit} {verdict}", case.name);
    }
    for name in budget.keys().filter(|name| find(name).is_err()) {
        println!("{name:<12} has a budget and is no case");
        holds = false;
    }
    if !holds {
        println!(
            "\nMore than {TOLERANCE} % above the budget, or without one. Make it cheaper, or, when \
             it is worth its\nprice, write the new budget with `make bench-budget UPDATE=1` and say \
             why in the commit."
        );
    } else if lower {
        println!("\nLower the budget so that it stays so: make bench-budget UPDATE=1");
    }
    holds
}
