//! The loop against a repository in memory: races, refusals, lost answers, newer changes.

use std::time::Duration;

use super::testing::{At, Fake};
use super::*;
use crate::gitops::edits::Flag;
use crate::gitops::{Classified, Kind};
use crate::report::Event;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";

fn values(tag: &str) -> String {
    format!("image:\n  repository: r/app\n  tag: \"{tag}\" # ours\n")
}

/// One file of values with the tag 1.
fn fake() -> Fake {
    Fake::new(&[("app/values.yaml", &values("1")), ("other.yaml", "x: 1\n")])
}

fn author(name: &str) -> Author {
    Author { name: name.to_owned(), email: "yado@localhost".to_owned(), seconds: 0, offset: 0 }
}

/// Sets the tag.
fn request(tag: &str) -> PatchRequest {
    let millisecond = Duration::from_millis(1);
    let pace = Retry { attempts: 1, base: millisecond, cap: millisecond, server_cap: millisecond };
    PatchRequest {
        branch: None,
        base: None,
        paths: vec!["app/values.yaml".to_owned()],
        edits: vec![Edit::parse(Flag::HelmImage, &format!("image=r/app:{tag}")).unwrap()],
        options: Options::default(),
        texts: Texts::default(),
        author: author("yado"),
        committer: author("yado"),
        on_conflict: OnConflict::default(),
        max_attempts: 20,
        pace,
        push_options: Vec::new(),
        pull: Pull::default(),
        dry_run: false,
    }
}

fn of_source(tag: &str, commit: &str, run: &str) -> PatchRequest {
    let texts = Texts {
        source_commit: Some(commit.to_owned()),
        run: Some(run.to_owned()),
        ..Texts::default()
    };
    PatchRequest { texts, ..request(tag) }
}

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

fn run(fake: &Fake, request: &PatchRequest) -> Result<Patched, PatchError> {
    run_with(fake, request, None)
}

fn run_with(
    fake: &Fake,
    request: &PatchRequest,
    opener: Option<Opener<'_>>,
) -> Result<Patched, PatchError> {
    let sink = Silent;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(patch_at(fake, request, opener, &sink))
}

#[test]
fn a_change_lands_once() {
    let fake = fake();
    let before = fake.tip("main").unwrap().commit.id;
    let patched = run(&fake, &request("2")).unwrap();
    assert!(patched.changed);
    assert_eq!((patched.previous, patched.attempts), (Some(before), 1));
    assert_eq!(patched.commit, Some(fake.tip("main").unwrap().commit.id));
    assert_eq!(patched.files.len(), 1);
    assert_eq!(fake.text("main", "app/values.yaml"), values("2"));
    assert_eq!(fake.subjects("main"), ["Update app to 2", "first"]);
    let again = run(&fake, &request("2")).unwrap();
    assert!(!again.changed);
    assert_eq!((again.commit, again.pull_url), (patched.commit, None));
    assert_eq!(fake.subjects("main").len(), 2, "no empty commit");
}

#[test]
fn lost_races_are_run_again() {
    let fake = fake().script([
        At::Other("other.yaml", "x: 2\n", "a"),
        At::Other("app/values.yaml", "image: {repository: r/app, tag: x}\n", "b"),
        At::Refuse("cannot lock ref"),
        At::Push,
    ]);
    let patched = run(&fake, &request("2")).unwrap();
    assert_eq!(patched.attempts, 4);
    assert_eq!(fake.subjects("main"), ["Update app to 2", "b", "a", "first"]);
    assert_eq!(fake.text("main", "other.yaml"), "x: 2\n");
    assert!(fake.text("main", "app/values.yaml").contains('2'));
}

#[test]
fn somebody_else_may_do_the_same() {
    let same = "image:\n  repository: r/app\n  tag: \"2\"\n";
    let fake = fake().script([At::Other("app/values.yaml", same, "a")]);
    let patched = run(&fake, &request("2")).unwrap();
    assert!(!patched.changed);
    assert_eq!(patched.attempts, 2);
}

#[test]
fn attempts_are_counted() {
    let faster = || At::Other("other.yaml", "x: 2\n", "a");
    let fake = fake().script([faster(), At::Other("other.yaml", "x: 3\n", "b"), faster()]);
    let request = PatchRequest { max_attempts: 3, ..request("2") };
    let error = run(&fake, &request).unwrap_err();
    assert_eq!(error.to_string(), "main was changed by others each time, in 3 attempts");
    assert_eq!(error.kind(), Kind::Conflict);
}

#[test]
fn refusals_are_final_if_nothing_moves() {
    for (reason, pushes) in [("pre-receive hook declined", 1), ("no", 5)] {
        let fake = fake().script((0..20).map(|_| At::Refuse(reason)));
        let error = run(&fake, &request("2")).unwrap_err();
        assert_eq!(error.to_string(), format!("main is not changed: {reason}"));
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(fake.pushes().len(), pushes, "{reason}");
        assert_eq!(fake.subjects("main"), ["first"]);
    }
}

#[test]
fn lost_answers_are_looked_after() {
    let taken = fake().script([At::Lost]);
    let patched = run(&taken, &request("2")).unwrap();
    assert!(patched.changed);
    assert_eq!(patched.commit, Some(taken.tip("main").unwrap().commit.id));
    assert_eq!(taken.subjects("main").len(), 2);
    assert_eq!((patched.files.len(), patched.attempts), (1, 1));
    let never = fake().script([At::Never]);
    let patched = run(&never, &request("2")).unwrap();
    assert_eq!((patched.changed, patched.attempts), (true, 2));
    assert_eq!(never.subjects("main").len(), 2);
    let always = fake().script((0..20).map(|_| At::Never));
    let request = PatchRequest { max_attempts: 3, ..request("2") };
    assert_eq!(run(&always, &request).unwrap_err().kind(), Kind::Unreachable);
}

#[test]
fn what_is_of_a_newer_source_stays() {
    let newer = || {
        let fake = fake().sources(OLD, NEW);
        run(&fake, &of_source("3", NEW, "b2")).unwrap();
        fake
    };
    let fake = newer();
    let error = run(&fake, &of_source("2", OLD, "b1")).unwrap_err();
    let expected =
        format!("app/values.yaml: image.tag is 3 already, built of {NEW}, which comes after {OLD}");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.kind(), Kind::Superseded);
    let overwrite =
        PatchRequest { on_conflict: OnConflict::Overwrite, ..of_source("2", OLD, "b1") };
    assert!(run(&fake, &overwrite).unwrap().changed);
    assert_eq!(fake.text("main", "app/values.yaml"), values("2"));
    // The other way round it is written, and so it is where nobody knows.
    assert!(run(&fake, &of_source("4", NEW, "b3")).unwrap().changed);
    let unknown = Fake::new(&[("app/values.yaml", &values("1"))]);
    run(&unknown, &of_source("3", NEW, "b2")).unwrap();
    assert!(run(&unknown, &of_source("2", OLD, "b1")).unwrap().changed);
    // During a race too.
    let message = "x\n\nImage: r/app:3\nSource-Commit: 2222222222222222222222222222222222222222";
    let three = "image:\n  repository: r/app\n  tag: \"3\"\n";
    let race =
        self::fake().sources(OLD, NEW).script([At::Other("app/values.yaml", three, message)]);
    assert_eq!(run(&race, &of_source("2", OLD, "b1")).unwrap_err().kind(), Kind::Superseded);
}

#[test]
fn one_run_makes_its_change_once() {
    let fake = fake();
    run(&fake, &of_source("2", OLD, "b1")).unwrap();
    fake.other("main", "app/values.yaml", &values("1"), "rolled back by hand", "ann");
    let patched = run(&fake, &of_source("2", OLD, "b1")).unwrap();
    assert!(!patched.changed);
    assert!(patched.note.unwrap().contains("of this run has changed it already"));
    assert_eq!(fake.text("main", "app/values.yaml"), values("1"));
    assert!(run(&fake, &of_source("2", OLD, "b2")).unwrap().changed, "another run");
}

#[test]
fn a_value_that_changes_meanwhile_can_be_an_error() {
    let three = "image:\n  repository: r/app\n  tag: \"3\"\n";
    let race = || fake().script([At::Other("app/values.yaml", three, "a")]);
    let request = PatchRequest { on_conflict: OnConflict::Fail, ..request("2") };
    let error = run(&race(), &request).unwrap_err();
    let expected = "app/values.yaml: image.tag was changed meanwhile, from 1 to 3";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.kind(), Kind::Conflict);
    let elsewhere = fake().script([At::Other("other.yaml", "x: 2\n", "a")]);
    assert!(run(&elsewhere, &request).unwrap().changed);
}

#[test]
fn branches_are_made_of_a_base() {
    let fake = fake();
    let mut request = PatchRequest { branch: Some("staging".into()), ..request("2") };
    let error = run(&fake, &request).unwrap_err();
    assert_eq!(error.kind(), Kind::NothingMatched);
    request.base = Some("main".to_owned());
    assert!(run(&fake, &request).unwrap().changed);
    assert_eq!(fake.subjects("staging"), ["Update app to 2", "first"]);
    assert_eq!(fake.subjects("main"), ["first"]);
    assert!(!run(&fake, &request).unwrap().changed);
}

#[test]
fn mistakes_change_nothing() {
    let fake = fake();
    let with = |change: fn(&mut PatchRequest)| {
        let mut request = request("2");
        change(&mut request);
        let error = run(&fake, &request).unwrap_err();
        (error.kind(), error.to_string())
    };
    for (change, kind, text) in [
        (
            (|r| r.paths = vec!["app/value.yaml".into()]) as fn(&mut PatchRequest),
            Kind::NothingMatched,
            "there is no file app/value.yaml; there is:\n  app/values.yaml",
        ),
        (
            |r| r.paths = vec!["a/b/c.yaml".into()],
            Kind::NothingMatched,
            "there is no file a/b/c.yaml; there is:\n  app\n  other.yaml",
        ),
        (
            |r| r.paths = vec!["**/*.json".into()],
            Kind::NothingMatched,
            "there is no file **/*.json",
        ),
        (|r| r.paths.clear(), Kind::Usage, "in which file? give --path"),
        (|r| r.edits.clear(), Kind::Usage, "nothing is to be changed"),
        (|r| r.texts.message = Some("{{x}}".into()), Kind::Usage, "{{x}} is no variable"),
        (|r| r.pull.title = Some("{{x}}".into()), Kind::Usage, "{{x}} is no variable"),
        (
            |r| r.edits = vec![Edit::parse(Flag::Set, "a.b=c").unwrap()],
            Kind::NothingMatched,
            "nothing matches",
        ),
    ] {
        let (found, said) = with(change);
        assert_eq!(found, kind, "{said}");
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(fake.pushes(), []);
    let dry = PatchRequest { dry_run: true, ..request("2") };
    let patched = run(&fake, &dry).unwrap();
    assert!(patched.changed && patched.commit.is_some());
    assert_eq!(fake.pushes(), []);
}

#[test]
fn refused_changes_become_pull_requests() {
    let url = "https://l/g/r/-/merge_requests/3";
    let pull = |when| Pull {
        when,
        labels: vec!["deploy".to_owned()],
        auto_merge: Some(MergeMethod::Merge),
        ..Pull::default()
    };
    let fake = fake().says(&format!("  {url}")).script([At::Refuse("protected branch")]);
    let fallback = PatchRequest { pull: pull(When::Refused), ..request("2") };
    let patched = run_with(&fake, &fallback, Some(Opener::PushOptions)).unwrap();
    assert_eq!(patched.pull_url.as_deref(), Some(url));
    assert!(patched.changed);
    let (branch, options) = fake.pushes()[1].clone();
    assert!(branch.starts_with("yado/app-"), "{branch}");
    assert!(options.contains(&"merge_request.title=Update app to 2".to_owned()), "{options:?}");
    assert!(options.contains(&"merge_request.target=main".to_owned()));
    assert_eq!(fake.subjects("main"), ["first"]);
    assert_eq!(fake.subjects(&branch), ["Update app to 2", "first"]);
    let lost = self::fake().script([At::Lost]);
    let alone = PatchRequest { pull: pull(When::Always), ..request("2") };
    assert!(run_with(&lost, &alone, Some(Opener::PushOptions)).unwrap().changed);
    // Once more: the branch is there.
    let always = PatchRequest { pull: pull(When::Always), ..request("2") };
    let again = run_with(&fake, &always, Some(Opener::PushOptions)).unwrap();
    assert!(!again.changed);
    assert_eq!(fake.pushes().len(), 2);
    // The branch itself moves on, so ours is made again on it.
    fake.other("main", "other.yaml", "x: 2\n", "a", "ann");
    let moved = run_with(&fake, &always, Some(Opener::PushOptions)).unwrap();
    assert!(moved.changed);
    assert_eq!(fake.subjects(&branch), ["Update app to 2", "a", "first"]);
    // What somebody has added there is not replaced.
    fake.other(&branch, "other.yaml", "x: 3\n", "review", "ann");
    let error = run_with(&fake, &always, Some(Opener::PushOptions)).unwrap_err();
    assert!(error.to_string().ends_with("has a commit of ann, which is not replaced"), "{error}");
    // It can have one name for all changes.
    let mut named = always.clone();
    named.pull.branch = Some("deploy/{{name}}".to_owned());
    named.pull.title = Some("{{name}} {{old}} -> {{new}}".to_owned());
    run_with(&fake, &named, Some(Opener::PushOptions)).unwrap();
    let (branch, options) = fake.pushes().pop().unwrap();
    assert_eq!(branch, "deploy/app");
    assert!(options.contains(&"merge_request.title=app 1 -> 2".to_owned()), "{options:?}");
}
