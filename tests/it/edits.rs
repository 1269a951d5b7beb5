//! Edited manifests as their readers read them: kubectl, kustomize (which is in kubectl) and helm
//! see the values that were asked for, and everything else as before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use yado::gitops::edits::{Changed, Edit, Flag, Options, edit_files};

use crate::support::{WorkDir, tool, write};

/// A file of `testdata/yaml` before and after its edits.
struct Case {
    name: String,
    path: String,
    old: Vec<u8>,
    new: Vec<u8>,
    edits: Vec<Edit>,
    changes: Vec<Changed>,
    /// Whether something is made or removed by the edits, so that more than values differ.
    makes: bool,
}

fn cases() -> Vec<Case> {
    let testdata = std::env::var_os("TESTDATA").map(PathBuf::from);
    let testdata =
        testdata.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(testdata.join("yaml")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if let Ok(flags) = std::fs::read_to_string(folder.join("edit"))
            && folder.join("expect.diff").exists()
            && !flags.contains("--edits")
        {
            cases.extend(load(&name, &folder, &flags));
        }
    }
    cases
}

fn load(name: &str, folder: &Path, flags: &str) -> Vec<Case> {
    let mut options = Options::default();
    let mut edits = Vec::new();
    for line in flags.lines() {
        let (flag, value) = line.split_once(' ').unwrap_or((line, ""));
        match flag {
            "--all" => options.all = true,
            "--add" => options.add = true,
            "--pin" => options.pin = Some(value.parse().unwrap()),
            "--namespace" => options.namespace = Some(value.into()),
            "--image" => options.image = Some(value.into()),
            flag => {
                let flag = Flag::ALL.into_iter().find(|known| known.name() == flag).unwrap();
                edits.push(Edit::parse(flag, value).unwrap());
            }
        }
    }
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<(String, Vec<u8>)> = entries
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .filter(|(name, _)| name != "edit" && name != "expect.diff")
        .collect();
    // What lies in folders of the case is left to the unit tests.
    let Ok(edited) = edit_files(&files, &edits, &options) else { return Vec::new() };
    let makes = options.add || edits.iter().any(|edit| edit.flag == Flag::StrategicPatch);
    let case = |file: yado::gitops::edits::Edited| Case {
        name: name.to_owned(),
        old: files.iter().find(|(path, _)| *path == file.path).unwrap().1.clone(),
        path: file.path,
        new: file.bytes,
        edits: edits.clone(),
        changes: file.changes,
        makes,
    };
    edited.into_iter().map(case).collect()
}

/// The leaves in which two values differ, as texts; nothing stands for one that is not there.
fn different(old: &Value, new: &Value, found: &mut Vec<(Option<String>, Option<String>)>) {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        // A value that is not written, as in `tag:`.
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match (old, new) {
        _ if old == new => {}
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).for_each(|(old, new)| different(old, new, found));
        }
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                match new.get(key) {
                    Some(other) => different(value, other, found),
                    None => found.push((Some(text(value)), None)),
                }
            }
            let added = new.iter().filter(|(key, _)| !old.contains_key(*key));
            found.extend(added.map(|(_, value)| (None, Some(text(value)))));
        }
        _ => found.push((Some(text(old)), Some(text(new)))),
    }
}

/// What an edit says of a value, null being nothing as it is for `different`.
fn said(change: &Changed) -> (Option<String>, Option<String>) {
    let text = |value: &Option<String>| value.as_deref().map(|t| t.replace("null", ""));
    (text(&change.old), text(&change.new))
}

/// Holds what a reader has seen of two versions of a file against what the edits say of it.
fn judge(case: &Case, old: &Value, new: &Value) {
    let mut seen = Vec::new();
    different(old, new, &mut seen);
    let mut said: Vec<_> = case.changes.iter().map(said).collect();
    said.sort();
    seen.sort();
    assert_eq!(seen, said, "{}/{}", case.name, case.path);
}

/// Whether kubectl takes it for objects: it wants both keys and a name, and cuts a file at `---`,
/// so that it cannot read one that begins with a directive.
fn is_object(case: &Case) -> bool {
    let text = String::from_utf8_lossy(&case.new);
    ["kind", "apiVersion", "metadata"].iter().all(|key| text.contains(key))
        && !text.trim_start_matches('\u{feff}').contains("%YAML")
        && !case.path.starts_with("kustomization")
}

/// What kubectl reads in the files of a folder, each a list of objects, by the name of the file.
fn kubectl(folder: &Path) -> Vec<Value> {
    let printed = tool(
        Command::new("kubectl")
            .args(["patch", "--local", "--type=merge", "--patch={}", "--output=json", "--filename"])
            .arg(folder),
    );
    let values = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    values.map(Result::unwrap).collect()
}

#[test]
fn kubectl_reads_what_was_asked_for_and_nothing_else() {
    let cases: Vec<Case> = cases().into_iter().filter(is_object).filter(|c| !c.makes).collect();
    assert!(cases.len() >= 120, "only {} files", cases.len());
    let work = WorkDir::new();
    for case in &cases {
        let name = case.path.replace("in.", &format!("{}.", case.name));
        write(&work.path("old").join(&name), &case.old);
        write(&work.path("new").join(&name), &case.new);
    }
    let (old, new) = (kubectl(&work.path("old")), kubectl(&work.path("new")));
    assert_eq!(old.len(), new.len());
    let mut seen = Vec::new();
    old.iter().zip(&new).for_each(|(old, new)| different(old, new, &mut seen));
    let mut said: Vec<_> = cases.iter().flat_map(|case| &case.changes).map(said).collect();
    said.sort();
    seen.sort();
    assert_eq!(seen, said);
}

#[test]
fn a_strategic_patch_is_what_kubectl_makes_of_it() {
    let work = WorkDir::new();
    let mut compared = 0;
    for case in cases() {
        let [edit] = &case.edits[..] else { continue };
        let text = String::from_utf8_lossy(&case.old).into_owned();
        // kubectl takes JSON, and patches each object of a file, of kinds that it knows.
        if edit.flag != Flag::StrategicPatch
            || serde_json::from_str::<Value>(&edit.text).is_err()
            || text.matches("kind:").count() != 1
            || text.contains("Rollout")
            || text.contains("%YAML")
        {
            continue;
        }
        let folder = work.path(&case.name);
        let (old, new) = (folder.join("old/in.yaml"), folder.join("new/in.yaml"));
        write(&old, &case.old);
        write(&new, &case.new);
        let theirs = tool(
            Command::new("kubectl")
                .args(["patch", "--local", "--type=strategic", "--output=json"])
                .arg(format!("--patch={}", edit.text))
                .arg("--filename")
                .arg(&old),
        );
        let theirs: Value = serde_json::from_str(&theirs).unwrap();
        let [ours] = &kubectl(&folder.join("new"))[..] else { panic!("{}: one object", case.name) };
        assert_eq!(sorted(ours), sorted(&theirs), "{}", case.name);
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} patches");
}

/// A value in which the lists that are merged by a name are in the order of the names: kubectl puts
/// new items in front, where in a file they go to the end. And a strategy that it removes is an empty
/// mapping for it, which says the same.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let said =
                |key: &str, value: &Value| key != "strategy" || *value != serde_json::json!({});
            let pairs = map.iter().filter(|(key, value)| said(key, value));
            Value::Object(pairs.map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            if items.iter().all(|item| item.get("name").is_some()) {
                items.sort_by_key(|item| item["name"].to_string());
            } else if items.iter().all(|item| item.as_str().is_some_and(|i| i.contains(".com/"))) {
                items.sort_by_key(ToString::to_string);
            }
            Value::Array(items)
        }
        other => other.clone(),
    }
}

#[test]
fn helm_reads_what_was_asked_for_and_nothing_else() {
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.path.starts_with("values") || case.name.starts_with("set-"))
        .filter(|case| case.path != "in.json" && !case.makes)
        // An alias has no text of its own that could be said to be the old one.
        .filter(|case| case.name != "set-over-alias")
        .collect();
    assert!(cases.len() >= 50, "only {} files", cases.len());
    let work = WorkDir::new();
    let chart = work.path("chart");
    write(&chart.join("Chart.yaml"), "apiVersion: v2\nname: all\nversion: 1.0.0\n");
    // As a values file is read, each of them.
    write(
        &chart.join("templates/all.yaml"),
        "{{ range $path, $_ := .Files.Glob \"files/**\" }}\n---\n\
         {{ dict \"path\" $path \"value\" ($.Files.Get $path | fromYaml) | toJson }}\n{{ end }}\n",
    );
    for case in &cases {
        write(&chart.join("files/old").join(&case.name), &case.old);
        write(&chart.join("files/new").join(&case.name), &case.new);
    }
    let printed = tool(Command::new("helm").arg("template").arg(&chart));
    let read: BTreeMap<String, Value> = printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|value| (value["path"].as_str().unwrap().to_owned(), value["value"].clone()))
        .collect();
    assert_eq!(read.len(), 2 * cases.len());
    for case in &cases {
        let value = |when: &str| &read[&format!("files/{when}/{}", case.name)];
        judge(case, value("old"), value("new"));
    }
}

#[test]
fn kustomize_deploys_the_image_that_was_asked_for() {
    let mut compared = 0;
    let work = WorkDir::new();
    for case in cases() {
        let [edit] = &case.edits[..] else { continue };
        let kustomization = case.path.to_lowercase().starts_with("kustomization");
        let text = String::from_utf8_lossy(&case.new).into_owned();
        if edit.flag != Flag::KustomizeImage || !kustomization || !text.contains("resources") {
            continue;
        }
        let root = work.path(&case.name);
        let images = |bytes: &[u8], when: &str| deployed(&root.join(when), &case.path, bytes);
        let (old, new) = (images(&case.old, "old"), images(&case.new, "new"));
        let name = edit.text.split_once('=').map_or_else(|| parts(&edit.text).0, |(name, _)| name);
        for (container, image) in &new {
            let before = &old[container];
            if container != &called(name) {
                assert_eq!(image, before, "{}", case.name);
                continue;
            }
            assert_eq!(image, &wanted(&edit.text, before), "{}: from {before}", case.name);
            compared += 1;
        }
    }
    assert!(compared >= 30, "only {compared} kustomizations");
}

/// Name, tag and digest of an image.
fn parts(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A tag is behind the last colon; a port has a path behind it.
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag), digest),
        _ => (name, None, digest),
    }
}

/// What an image becomes: what is said is new, `*` keeps, and of tag and digest the one that is
/// not said goes.
fn wanted(edit: &str, before: &str) -> String {
    let (name, tag, digest) = match edit.split_once('=') {
        Some((_, rest)) => parts(rest),
        None => ("", parts(edit).1, parts(edit).2),
    };
    let (old_name, old_tag, old_digest) = parts(before);
    let mut image = if matches!(name, "" | "*") { old_name } else { name }.to_owned();
    let one = |new: Option<&str>, old: Option<&str>, other: Option<&str>| match new {
        Some("*") => old.map(str::to_owned),
        Some(new) => Some(new.to_owned()),
        None => old.filter(|_| matches!(other, None | Some("*"))).map(str::to_owned),
    };
    if let Some(tag) = one(tag, old_tag, digest) {
        image = format!("{image}:{tag}");
    }
    if let Some(digest) = one(digest, old_digest, tag) {
        image = format!("{image}@{digest}");
    }
    image
}

/// The images that the entries of the corpus name.
const IMAGES: [&str; 8] =
    ["acme/web", "acme/api", "b", "zeta", "alpha", "mid", "reg.example.com:5000/web", "other"];

fn called(image: &str) -> String {
    image.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// The images of the containers of what a kustomization makes of a base, by container.
fn deployed(root: &Path, path: &str, bytes: &[u8]) -> BTreeMap<String, String> {
    let one = |image: &&str| format!("      - {{name: {}, image: \"{image}:0\"}}\n", called(image));
    let containers = IMAGES.iter().map(one).collect::<Vec<_>>().concat();
    write(&root.join("base/kustomization.yaml"), "resources: [web.yaml]\n");
    write(
        &root.join("base/web.yaml"),
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  \
             selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
             metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n{containers}"
        ),
    );
    let text = String::from_utf8_lossy(bytes);
    let overlay = root.join("overlays/one");
    write(&overlay.join(path), bytes);
    write(
        &overlay.join("ingress.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ingress}\n",
    );
    write(&root.join("overlays/base/kustomization.yaml"), "resources: [../../base]\n");
    // Cases that were written by hand have the base beside them.
    let mut target = overlay;
    if text.contains("Component") {
        target = root.join("overlays/all");
        write(&target.join("kustomization.yaml"), "components: [../one]\n");
    }
    let printed = tool(Command::new("kubectl").arg("kustomize").arg(&target));
    let stream = yado::yaml::parse(&printed).unwrap();
    let mut objects =
        stream.documents.iter().map(|one| yado::yaml::to_json(&printed, one).unwrap());
    let web = objects.find(|object| object["kind"] == "Deployment").unwrap();
    let containers = web["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    containers.iter().map(|one| (text(&one["name"]), text(&one["image"]))).collect()
}
