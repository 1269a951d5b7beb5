//! kubeconfig files: several are one, in which whoever says a thing first has said it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::KubernetesError;
use super::config::{Config, Credential, read};
use super::plugin::Plugin;
use crate::net::{Identity, Url};
use crate::yaml::{self, YamlError};

/// A file that was read.
#[derive(Debug)]
pub struct Document {
    /// The file; paths in it are relative to its directory.
    pub path: PathBuf,
    /// What it says.
    pub value: Value,
}

/// What the caller says beside the files.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Another context than the current one.
    pub context: Option<String>,
}

impl Document {
    /// Reads a file, YAML or JSON.
    pub fn read(path: &Path) -> Result<Self, KubernetesError> {
        let bytes = read(path)?;
        let fail = |problem: String| KubernetesError::Config {
            place: path.display().to_string(),
            problem,
        };
        let text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".to_owned()))?;
        // A problem has its place in front, as in `file:line:column`.
        let wrong = |error: YamlError| KubernetesError::Config {
            place: format!("{}:{}", path.display(), error.place),
            problem: error.problem,
        };
        let stream = yaml::parse(&text).map_err(wrong)?;
        let value = match stream.documents.as_slice() {
            [] => Value::Null,
            [document] => yaml::to_json(&text, document).map_err(wrong)?,
            _ => return Err(fail("it holds more than one document".to_owned())),
        };
        if !value.is_object() && !value.is_null() {
            return Err(fail("it is not a kubeconfig".to_owned()));
        }
        Ok(Self { path: path.to_owned(), value })
    }
}

/// A named entry of a list, with the file that has it.
struct Entry<'a> {
    file: &'a Path,
    place: String,
    value: &'a Value,
}

/// The server and the user of a context. `None` if the files say nothing at all.
pub fn kubeconfig(
    documents: &[Document],
    choice: &Choice,
) -> Result<Option<Config>, KubernetesError> {
    let current = documents
        .iter()
        .find_map(|d| d.value["current-context"].as_str().filter(|c| !c.is_empty()));
    let Some(name) = choice.context.as_deref().or(current) else {
        let empty = |list: &str| documents.iter().all(|d| names(d, list).next().is_none());
        if empty("contexts") && empty("clusters") {
            return Ok(None);
        }
        let files: Vec<_> = documents.iter().map(|d| d.path.display().to_string()).collect();
        let known = all_names(documents, "contexts");
        return Err(KubernetesError::Config {
            place: files.join(", "),
            problem: format!("there is no current-context; the contexts are {known}"),
        });
    };
    let context = find(documents, "contexts", "context", name)?;
    let cluster = context.text("cluster").ok_or_else(|| context.error("it names no cluster"))?;
    let cluster = find(documents, "clusters", "cluster", cluster)?;
    let mut config = of_cluster(&cluster)?;
    if let Some(namespace) = context.text("namespace") {
        namespace.clone_into(&mut config.namespace);
    }
    if let Some(user) = context.text("user") {
        let user = find(documents, "users", "user", user)?;
        config.identity = identity(&user)?;
        config.credential = credential(&user, &cluster)?;
    }
    Ok(Some(config))
}

fn names<'a>(document: &'a Document, list: &str) -> impl Iterator<Item = &'a str> {
    document.value[list].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str())
}

fn all_names(documents: &[Document], list: &str) -> String {
    let names: Vec<&str> = documents.iter().flat_map(|d| names(d, list)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn find<'a>(
    documents: &'a [Document],
    list: &str,
    what: &str,
    name: &str,
) -> Result<Entry<'a>, KubernetesError> {
    for document in documents {
        let mut entries = document.value[list].as_array().into_iter().flatten();
        if let Some(entry) = entries.find(|entry| entry["name"] == name) {
            let place = format!("{}: {what} {name:?}", document.path.display());
            return Ok(Entry { file: &document.path, place, value: &entry[what] });
        }
    }
    let files: Vec<_> = documents.iter().map(|d| d.path.display().to_string()).collect();
    let known = all_names(documents, list);
    Err(KubernetesError::Config {
        place: files.join(", "),
        problem: format!("there is no {what} {name:?}; there are {known}"),
    })
}

impl Entry<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.value[name].as_str().filter(|text| !text.is_empty())
    }

    fn error(&self, problem: impl Into<String>) -> KubernetesError {
        KubernetesError::Config { place: self.place.clone(), problem: problem.into() }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let dir = self.file.parent().unwrap_or(Path::new(""));
        self.text(name).map(|path| dir.join(path))
    }

    /// `NAME-data`, else the file that `NAME` names.
    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, KubernetesError> {
        let data = format!("{name}-data");
        if let Some(text) = self.text(&data) {
            let bytes = STANDARD.decode(text.trim());
            return bytes.map(Some).map_err(|_| self.error(format!("{data} is not base64")));
        }
        self.path(name).map(|path| read(&path)).transpose()
    }
}

fn of_cluster(cluster: &Entry<'_>) -> Result<Config, KubernetesError> {
    let server = cluster.text("server").ok_or_else(|| cluster.error("it names no server"))?;
    // Without a scheme it is http, unless something is said of TLS; as kubectl reads it.
    let tls = ["certificate-authority", "certificate-authority-data"];
    let tls = tls.iter().any(|name| cluster.text(name).is_some())
        || cluster.value["insecure-skip-tls-verify"] == true;
    let scheme = if tls { "https" } else { "http" };
    let with_scheme =
        if server.contains("://") { server.to_owned() } else { format!("{scheme}://{server}") };
    let url: Url = with_scheme
        .parse()
        .map_err(|_| cluster.error(format!("server {server:?} is not a URL")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(cluster.error(format!("server {server:?} is neither http nor https")));
    }
    if cluster.text("tls-server-name").is_some_and(|name| Some(name) != url.host_str()) {
        return Err(cluster
            .error("tls-server-name is not supported; use the name of the certificate in server"));
    }
    let mut config = Config::new(url);
    config.authorities = cluster.bytes("certificate-authority")?.into_iter().collect();
    config.unverified = cluster.value["insecure-skip-tls-verify"] == true;
    if let Some(proxy) = cluster.text("proxy-url") {
        let scheme = proxy.split("://").next().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err(cluster.error("proxy-url is neither http nor https; no other is supported"));
        }
        config.proxy = Some(proxy.to_owned());
    }
    Ok(config)
}

fn identity(user: &Entry<'_>) -> Result<Option<Identity>, KubernetesError> {
    match (user.bytes("client-certificate")?, user.bytes("client-key")?) {
        (Some(certificates), Some(key)) => Ok(Some(Identity { certificates, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(user.error("client-certificate has no client-key")),
        (None, Some(_)) => Err(user.error("client-key has no client-certificate")),
    }
}

fn credential(user: &Entry<'_>, cluster: &Entry<'_>) -> Result<Credential, KubernetesError> {
    if user.value["auth-provider"].is_object() {
        let name = user.value["auth-provider"]["name"].as_str().unwrap_or("?");
        return Err(user.error(format!(
            "auth-provider {name:?} is not supported, nor by kubectl 1.26 or newer; use exec"
        )));
    }
    for key in ["as", "as-uid", "as-groups", "as-user-extra"] {
        if user.value[key].as_str().is_some_and(|text| !text.is_empty())
            || user.value[key].is_array()
            || user.value[key].is_object()
        {
            return Err(user.error(format!("{key}: impersonation is not supported")));
        }
    }
    // A file that is written anew goes before the token that was in it once.
    if let Some(path) = user.path("tokenFile") {
        return Ok(Credential::TokenFile(path));
    }
    if let Some(token) = user.text("token") {
        return Ok(Credential::Token(token.to_owned()));
    }
    if let Some(username) = user.text("username") {
        let password = user.text("password").unwrap_or_default().to_owned();
        return Ok(Credential::Basic { username: username.to_owned(), password });
    }
    if user.value["exec"].is_object() {
        return Ok(Credential::Plugin(Box::new(plugin(user, cluster)?)));
    }
    Ok(Credential::None)
}

fn plugin(user: &Entry<'_>, cluster: &Entry<'_>) -> Result<Plugin, KubernetesError> {
    let place = format!("{}: exec", user.place);
    let exec = Entry { file: user.file, place, value: &user.value["exec"] };
    let api_version = exec.text("apiVersion").unwrap_or_default();
    let known = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
    if !known.contains(&api_version) {
        let known = known.join(" nor ");
        return Err(exec.error(format!("apiVersion {api_version:?} is neither {known}")));
    }
    if exec.text("interactiveMode") == Some("Always") {
        return Err(exec.error("interactiveMode is Always; there is nobody to ask here"));
    }
    let command = exec.text("command").ok_or_else(|| exec.error("it names no command"))?;
    // A name alone is looked for in PATH.
    let command = match exec.path("command") {
        Some(path) if command.contains('/') => path,
        _ => PathBuf::from(command),
    };
    let strings = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    let args = exec.value["args"].as_array().into_iter().flatten().map(strings);
    let args = args.collect::<Option<_>>().ok_or_else(|| exec.error("args are not strings"))?;
    let env = exec.value["env"].as_array().into_iter().flatten();
    let env = env.map(|entry| strings(&entry["name"]).zip(strings(&entry["value"])));
    let env = env.collect::<Option<_>>().ok_or_else(|| exec.error("env is not NAME and VALUE"))?;
    let wants_cluster = exec.value["provideClusterInfo"] == true;
    let told = wants_cluster.then(|| about(cluster)).transpose()?;
    Ok(Plugin {
        api_version: api_version.to_owned(),
        command,
        args,
        env,
        install: exec.text("installHint").map(str::to_owned),
        cluster: told,
    })
}

/// What a program may be told of the cluster.
fn about(cluster: &Entry<'_>) -> Result<Value, KubernetesError> {
    let mut told = json!({"server": cluster.value["server"]});
    if let Some(bytes) = cluster.bytes("certificate-authority")? {
        told["certificate-authority-data"] = STANDARD.encode(bytes).into();
    }
    for key in ["insecure-skip-tls-verify", "proxy-url"] {
        if !cluster.value[key].is_null() {
            told[key] = cluster.value[key].clone();
        }
    }
    let extensions = cluster.value["extensions"].as_array().into_iter().flatten();
    let mut config = extensions.filter(|e| e["name"] == "client.authentication.k8s.io/exec");
    if let Some(extension) = config.next() {
        told["config"] = extension["extension"].clone();
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, value: Value) -> Document {
        Document { path: path.into(), value }
    }

    fn one_user(user: &Value) -> Document {
        document(
            "/etc/k/config",
            json!({
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": "https://k:6443"}}],
                "users": [{"name": "u", "user": user}],
            }),
        )
    }

    #[test]
    fn who_says_a_thing_first_has_said_it() {
        let first = document(
            "/a/first",
            json!({
                "current-context": "one",
                "contexts": [{"name": "one", "context": {"cluster": "k", "namespace": "shop"}}],
            }),
        );
        let second = document(
            "/b/second",
            json!({
                "current-context": "two",
                "contexts": [
                    {"name": "one", "context": {"cluster": "none"}},
                    {"name": "two", "context": {"cluster": "l"}},
                ],
                "clusters": [
                    {"name": "k", "cluster": {"server": "https://k:6443/prefix"}},
                    {"name": "l", "cluster": {"server": "l:8080"}},
                ],
            }),
        );
        let documents = [first, second];
        for (context, server, namespace) in [
            (None, "https://k:6443/prefix", "shop"),
            (Some("one"), "https://k:6443/prefix", "shop"),
            (Some("two"), "http://l:8080/", "default"),
        ] {
            let choice = Choice { context: context.map(str::to_owned) };
            let config = kubeconfig(&documents, &choice).expect("valid").expect("a context");
            assert_eq!((config.server.as_str(), &*config.namespace), (server, namespace));
        }
        let choice = Choice { context: Some("three".into()) };
        let error = kubeconfig(&documents, &choice).expect_err("no such context").to_string();
        assert!(error.contains("\"three\"") && error.contains("one, one, two"), "{error}");
        assert!(kubeconfig(&[], &Choice::default()).expect("nothing").is_none());
    }

    #[test]
    fn users_log_in_in_many_ways() {
        for (user, expected) in [
            (json!({}), "None"),
            (json!({"token": "t"}), "Token"),
            (json!({"token": "t", "tokenFile": "t"}), "TokenFile"),
            (json!({"username": "u", "password": "p"}), "Basic"),
            (
                json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x"}}),
                "Plugin",
            ),
        ] {
            let documents = [one_user(&user)];
            let config = kubeconfig(&documents, &Choice::default()).expect("valid").expect("one");
            assert_eq!(format!("{:?}", config.credential), expected, "{user}");
        }
        let documents = [one_user(&json!({"tokenFile": "t", "client-key-data": "a2V5",
                                         "client-certificate-data": "Y2VydA=="}))];
        let config = kubeconfig(&documents, &Choice::default()).expect("valid").expect("one");
        let Credential::TokenFile(path) = &config.credential else { panic!("a file") };
        assert_eq!(path, Path::new("/etc/k/t"));
        assert_eq!(config.identity.expect("an identity").key, b"key");
    }

    #[test]
    fn files_are_yaml() {
        let temp = crate::testing::TempDir::new("kubeconfig");
        let path = temp.path().join("config");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("write");
            Document::read(&path)
        };
        let document = read("current-context: c # the one\nusers: []\n").expect("valid");
        assert_eq!(document.value, json!({"current-context": "c", "users": []}));
        assert_eq!(read("").expect("empty").value, Value::Null);
        for (text, said) in [
            ("a: [", "config:"),
            ("just text", "not a kubeconfig"),
            ("a: 1\n---\nb: 2\n", "more than one"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_not_supported_is_said() {
        let exec = |extra: Value| {
            let mut exec =
                json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "../bin/x"});
            let object = exec.as_object_mut().expect("an object");
            object.extend(extra.as_object().expect("an object").clone());
            json!({ "exec": exec })
        };
        for (user, said) in [
            (json!({"auth-provider": {"name": "gcp"}}), "gcp"),
            (json!({"as": "root"}), "impersonation"),
            (json!({"client-key-data": "a2V5"}), "client-certificate"),
            (json!({"client-key-data": "%", "client-certificate-data": "%"}), "base64"),
            (exec(json!({"interactiveMode": "Always"})), "interactiveMode"),
            (exec(json!({"apiVersion": "client.authentication.k8s.io/v1alpha1"})), "v1alpha1"),
            (exec(json!({"args": [1]})), "args"),
        ] {
            let error = kubeconfig(&[one_user(&user)], &Choice::default()).expect_err("must fail");
            assert!(error.to_string().contains(said), "{error}");
        }
        let mut other = one_user(&json!({}));
        for (key, value, said) in [
            ("tls-server-name", "other", "tls-server-name"),
            ("proxy-url", "socks5://p:1", "proxy-url"),
            ("server", "ftp://x", "neither http nor https"),
        ] {
            let before = other.value["clusters"][0]["cluster"].clone();
            other.value["clusters"][0]["cluster"][key] = value.into();
            let documents = std::slice::from_ref(&other);
            let error = kubeconfig(documents, &Choice::default()).expect_err("must fail");
            assert!(error.to_string().contains(said), "{error}");
            other.value["clusters"][0]["cluster"] = before;
        }
    }

    #[test]
    fn a_program_is_found_beside_its_file_and_told_of_the_cluster() {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "../bin/x",
            "args": ["a"], "env": [{"name": "N", "value": "v"}], "provideClusterInfo": true,
        });
        let config = kubeconfig(&[one_user(&json!({ "exec": exec }))], &Choice::default());
        let config = config.expect("valid").expect("a context");
        let Credential::Plugin(plugin) = config.credential else { panic!("a program") };
        assert_eq!(plugin.command, Path::new("/etc/k/../bin/x"));
        assert_eq!((plugin.args.len(), plugin.env.len()), (1, 1));
        assert_eq!(plugin.cluster, Some(json!({"server": "https://k:6443"})));
    }
}
