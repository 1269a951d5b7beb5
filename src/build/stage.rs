//! One stage: its layers and history grow step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::base::{Image, Layer};
use super::contexts::Contexts;
use super::schedule::{Board, Jobs, Once};
use super::tree::Tree;
use super::{BuildError, BuildRequest, Env, Uploads, steps, unseen};
use crate::cache::{Cache, Record, RecordedLayer, Steps};
use crate::context::ContextError;
use crate::image::{Descriptor, Digest, History, ImageConfig, RuntimeConfig};
use crate::plan::{Base, FileSource, ImageRequest, Stage, StageId, Step, StepKind};
use crate::report::{Event, Phase};

/// A stage so far, and at its end.
#[derive(Clone, Debug)]
pub(super) struct StageResult {
    pub(super) layers: Vec<Layer>,
    /// How many of them are the base image's.
    pub(super) base_layers: usize,
    /// How many rows of the history are.
    pub(super) base_history: usize,
    /// The base's configuration with the history so far.
    pub(super) config: ImageConfig,
    /// What was made of the files, those of the stages below included.
    pub(super) steps: Steps,
    /// Seconds since 1970.
    pub(super) epoch: i64,
}

impl StageResult {
    /// The image that the stage is, with the configuration that its instructions gave it.
    pub(super) fn into_image(mut self, runtime: &RuntimeConfig, author: Option<&str>) -> Image {
        self.config.config = runtime.clone();
        if let Some(author) = author {
            self.config.author = Some(author.to_owned());
        }
        self.config.created = Some(rfc3339(self.epoch));
        self.config.rootfs.diff_ids =
            self.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        Image { config: self.config, layers: self.layers }
    }

    /// Takes what a step made before, which is remembered under `keys`.
    fn take(&mut self, step: &Step, keys: &[&Digest], record: Record) {
        for key in keys {
            self.steps.add(key, &record, false);
        }
        let layer = record.layer.map(|layer| Layer { diff_id: layer.diff_id, blob: layer.blob });
        self.push(step, layer);
    }

    fn push(&mut self, step: &Step, layer: Option<Layer>) {
        self.config.history.push(History {
            created: Some(rfc3339(self.epoch)),
            created_by: Some(step.created_by.clone()),
            comment: Some("yado".to_owned()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        self.layers.extend(layer);
    }
}

/// What all stages share.
pub(super) struct Shared<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) env: &'a Env,
    pub(super) bases: &'a BTreeMap<ImageRequest, Image>,
    pub(super) contexts: Contexts<'a>,
    pub(super) cache: Cache,
    pub(super) board: Board,
    pub(super) jobs: Jobs,
    /// What stages are called.
    pub(super) names: BTreeMap<StageId, String>,
    /// The stages that others begin with or take files from.
    pub(super) read: BTreeSet<StageId>,
    /// Steps that are at work, by their keys.
    pub(super) once: Once<Digest>,
    /// How many steps were remembered.
    pub(super) cached: AtomicU32,
    /// Stages whose files only become layers.
    pub(super) alone: BTreeSet<StageId>,
    /// Pushes, and of which stages.
    pub(super) uploads: Option<(&'a Uploads, BTreeSet<StageId>)>,
}

/// What a step knows.
pub(super) struct Context<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) env: &'a Env,
    pub(super) bases: &'a BTreeMap<ImageRequest, Image>,
    pub(super) contexts: &'a Contexts<'a>,
    /// The stages that it takes files from.
    pub(super) stages: BTreeMap<StageId, Arc<StageResult>>,
    /// Its number in the build.
    pub(super) step: u32,
    /// Whether the files of the stage are looked at after it. If not they need not be on
    /// disk; who wants them nevertheless unpacks the layer.
    pub(super) files_wanted: bool,
}

/// Runs a stage; its steps have the numbers from `first` on.
pub(super) fn run(
    stage: &Stage,
    first: u32,
    shared: &Shared<'_>,
) -> Result<StageResult, BuildError> {
    let (request, env) = (shared.request, shared.env);
    let mut result = begin(stage, first, shared)?;
    shared.upload(stage, &result.layers, None);
    let mut tree = Tree::new(request.timestamps.times(result.epoch));
    let total = stage.working_steps();
    let mut number = 0;
    for (at, step) in stage.steps.iter().enumerate() {
        env.check_cancelled()?;
        if step.kind == StepKind::Config {
            result.push(step, None);
            continue;
        }
        let id = first + number;
        number += 1;
        let mut stages = BTreeMap::new();
        for source in step.file_sources() {
            if let FileSource::Stage(other) = source {
                stages.insert(*other, shared.wait(*other, id)?);
            }
        }
        let context = Context {
            request,
            env,
            bases: shared.bases,
            contexts: &shared.contexts,
            stages,
            step: id,
            files_wanted: shared.read.contains(&stage.id)
                || stage.steps[at + 1..].iter().any(Step::reads_stage),
        };
        tree.step = Some(id);
        env.sink.event(Event::StepStarted {
            step: id,
            stage: stage.name.clone(),
            number,
            total,
            instruction: step.text.clone(),
        });
        let layers = result.layers.len();
        let done = run_step(stage.id, step, &mut result, &mut tree, &context, shared);
        let cached = done.map_err(|source| {
            if matches!(source, BuildError::Interrupted) {
                return source;
            }
            env.sink.event(Event::StepFailed { step: id });
            BuildError::Step {
                stage: format!("{} {number}/{total}", stage.name),
                instruction: step.text.clone(),
                place: super::place(request, step.span),
                source: Box::new(source),
            }
        })?;
        shared.cached.fetch_add(u32::from(cached), Ordering::Relaxed);
        if result.layers.len() > layers {
            shared.upload(stage, &result.layers[layers..], Some(id));
        }
        env.sink.event(Event::StepFinished { step: id, cached });
    }
    Ok(result)
}

impl Context<'_> {
    /// Says what the step does from now on.
    pub(super) fn enter(&self, phase: Phase) {
        self.env.sink.event(Event::StepPhase { step: self.step, phase, waits_for: None });
    }
}

impl Shared<'_> {
    /// Pushes layers of a stage, if they are the image's.
    fn upload(&self, stage: &Stage, layers: &[Layer], step: Option<u32>) {
        if let Some((uploads, stages)) = &self.uploads
            && stages.contains(&stage.id)
        {
            for layer in layers {
                uploads.layer(layer, step, self.env);
            }
        }
    }

    /// What became of another stage, for the step `step`.
    fn wait(&self, other: StageId, step: u32) -> Result<Arc<StageResult>, BuildError> {
        self.board.wait(other, || {
            let name = self.names.get(&other).cloned();
            let phase = Phase::Queue;
            self.env.sink.event(Event::StepPhase { step, phase, waits_for: name });
        })
    }
}

/// What a stage begins with.
fn begin(stage: &Stage, first: u32, shared: &Shared<'_>) -> Result<StageResult, BuildError> {
    let request = shared.request;
    let missing = || BuildError::Internal("a stage's base is missing".to_owned());
    match &stage.base {
        Base::Scratch => Ok(StageResult {
            layers: Vec::new(),
            base_layers: 0,
            base_history: 0,
            config: ImageConfig::scratch(&request.options.platform),
            steps: Steps::default(),
            epoch: request.timestamps.epoch(None),
        }),
        Base::Stage(id) => Ok(StageResult::clone(&*shared.wait(*id, first)?)),
        Base::Image(wanted) => {
            let image = shared.bases.get(wanted).ok_or_else(missing)?.clone();
            let created = image.config.created.as_deref().and_then(parse_rfc3339);
            let epoch = request.timestamps.epoch(created);
            let mut config = image.config;
            complete_history(&mut config.history, image.layers.len(), created.map(rfc3339));
            let (base_layers, base_history) = (image.layers.len(), config.history.len());
            let steps = Steps::default();
            Ok(StageResult {
                layers: image.layers,
                base_layers,
                base_history,
                config,
                steps,
                epoch,
            })
        }
    }
}

/// Makes a base's history one that has as many rows with a layer as there are
/// layers: many tools write none, and readers pair rows and layers by number.
fn complete_history(history: &mut Vec<History>, layers: usize, created: Option<String>) {
    let mut rows = 0;
    for row in history.iter_mut().filter(|row| !row.empty_layer) {
        row.empty_layer = rows >= layers;
        rows += 1;
    }
    let missing = History {
        created,
        comment: Some("not in the history of the base image".to_owned()),
        ..History::default()
    };
    history.extend(std::iter::repeat_n(missing, layers.saturating_sub(rows)));
}

/// Runs a step, or takes what it made before; says which.
fn run_step(
    id: StageId,
    step: &Step,
    state: &mut StageResult,
    tree: &mut Tree,
    context: &Context<'_>,
    shared: &Shared<'_>,
) -> Result<bool, BuildError> {
    let env = context.env;
    context.enter(Phase::Key);
    let key = steps::key(step, state, context)?;
    let _alone = shared.once.hold(&key, env)?;
    if !context.request.no_cache
        && let Some(record) = shared.cache.look_up(&key)
    {
        state.take(step, &[&key], record);
        return Ok(true);
    }
    let unseen = if shared.request.eager_base || !shared.alone.contains(&id) {
        0
    } else {
        unseen::layers(step, state, context)
    };
    // What is made without the base's files is remembered apart: where they are at hand
    // they decide.
    let inputs = key;
    let key = if unseen > 0 { unseen::key(&inputs) } else { inputs.clone() };
    if unseen > 0
        && !context.request.no_cache
        && let Some(record) = shared.cache.look_up(&key)
    {
        state.take(step, &[&key], record);
        return Ok(true);
    }
    let _turn = shared.jobs.take(env, || context.enter(Phase::Queue))?;
    let mut content_key = None;
    if !context.request.no_cache && unseen == 0 {
        content_key = steps::content_key(step, state, context)?;
    }
    if let Some(content_key) = &content_key
        && let Some(record) = shared.cache.look_up(content_key)
    {
        // Next time nothing need be read.
        shared.cache.remember(&key, &record)?;
        state.take(step, &[&key, content_key], record);
        return Ok(true);
    }
    let layer = if unseen > 0 {
        let mut alone = Tree::new(context.request.timestamps.times(state.epoch));
        (alone.step, alone.unseen) = (Some(context.step), unseen);
        steps::run(step, state, &mut alone, context)?
    } else {
        steps::run(step, state, tree, context)?
    };
    // Else the cache would give for these files what others became.
    let local = |from: &&FileSource| matches!(from, FileSource::Context | FileSource::Named(_));
    if step.file_sources().iter().any(local) && steps::key(step, state, context)? != inputs {
        return Err(ContextError::Changed.into());
    }
    let recorded = layer.as_ref().map(|layer| RecordedLayer {
        diff_id: layer.diff_id.clone(),
        blob: Descriptor::new(&layer.blob.media_type, layer.blob.digest.clone(), layer.blob.size),
    });
    let record = Record { layer: recorded };
    for key in [Some(&key), content_key.as_ref()].into_iter().flatten() {
        shared.cache.remember(key, &record)?;
        state.steps.add(key, &record, true);
    }
    state.push(step, layer);
    Ok(false)
}

/// A time as RFC 3339 in UTC; `seconds` since 1970.
pub(super) fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// Seconds since 1970 of an RFC 3339 time; fractions are dropped.
fn parse_rfc3339(text: &str) -> Option<i64> {
    let number = |range| digits(text.get(range)?);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), ..] if rest.len() == 6 => {
            // The base's author wrote this: no byte need be what it should be.
            let (hours, minutes) = (digits(rest.get(1..3)?)?, digits(rest.get(4..6)?)?);
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Year, month and day of a number of days since 1970 (proleptic Gregorian).
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The number of days from 1970 to a date: the inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (315_532_800, "1980-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_763_724_271, "2025-11-21T11:24:31Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(parse_rfc3339(text), Some(seconds), "{text}");
        }
        for (text, seconds) in [
            ("2025-11-21T11:24:31.123456789Z", Some(1_763_724_271)),
            ("2025-11-21T12:24:31+01:00", Some(1_763_724_271)),
            ("2025-11-21T12:24:31", None),
            ("yesterday", None),
            ("2024-01-01T00:00:00+\u{20ac}ab", None),
            ("2024-01-01T00:00:00+0\u{20ac}0", None),
            ("2024-01-01T00:00:00-+1:+1", None),
            ("2024-01-0\u{20ac}00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), seconds, "{text}");
        }
    }
}
