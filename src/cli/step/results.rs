//! The results of a step, as Tekton takes them: a small file each.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::OutputFormat;
use crate::cli::exit::CliError;

/// Where Tekton collects the results of a Task.
const TEKTON: &str = "/tekton/results";
/// How much Tekton keeps of all results of a Task together, by default.
const LIMIT: usize = 4096;

/// Names and values, in the order in which they are shown.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Results(
    Vec<(&'static str, String)>,
    serde_json::Map<String, serde_json::Value>,
);

/// Reads `NAME=PATH`.
pub(super) fn file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("expected NAME=PATH".to_owned()),
    }
}

impl Results {
    /// Adds a result.
    pub(in crate::cli) fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    /// Adds what only the JSON object has.
    pub(in crate::cli) fn detail(&mut self, name: &str, value: serde_json::Value) {
        self.1.insert(name.to_owned(), value);
    }

    /// Writes each to a file of its name in `dir` (or where Tekton expects it), and those that are
    /// in `named` to their own places too. A file appears whole or not at all; no line end is added.
    pub(super) fn write(
        &self,
        dir: Option<&Path>,
        named: &[(String, PathBuf)],
    ) -> Result<(), CliError> {
        let mut files = Vec::new();
        for (name, path) in named {
            let value = self.0.iter().find(|(known, _)| known == name);
            // One that this run has not come to is empty.
            files.push((path.clone(), value.map_or("", |(_, value)| value.as_str())));
        }
        let tekton = Path::new(TEKTON);
        if let Some(dir) = dir.or_else(|| tekton.is_dir().then_some(tekton)) {
            let size: usize = self.0.iter().map(|(_, value)| value.len()).sum();
            if size > LIMIT {
                return Err(CliError::Output(format!(
                    "the results have {size} bytes; Tekton keeps {LIMIT} of a Task"
                )));
            }
            std::fs::create_dir_all(dir).map_err(|e| failed(dir, &e))?;
            files.extend(self.0.iter().map(|(name, value)| (dir.join(name), value.as_str())));
        }
        for (path, value) in files {
            write(&path, value.as_bytes()).map_err(|e| failed(&path, &e))?;
        }
        Ok(())
    }

    /// Prints all of them to standard output.
    pub(super) fn print(&self, format: OutputFormat) -> Result<(), CliError> {
        let text = match format {
            OutputFormat::Text => {
                let line = |(name, value): &(&str, String)| {
                    format!("{name}: {}\n", crate::report::message_line(value))
                };
                self.0.iter().map(line).collect()
            }
            OutputFormat::Json => {
                let map: serde_json::Map<_, _> = self
                    .0
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                    .chain(self.1.clone())
                    .collect();
                format!("{}\n", serde_json::Value::Object(map))
            }
        };
        let mut out = std::io::stdout().lock();
        let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        printed.map_err(|e| CliError::Output(format!("print the results: {e}")))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Output(format!("write {}: {error}", path.display()))
}

/// Makes a file appear with all of its content. What is no file, such as `/dev/stdout`, is
/// written to.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return std::fs::write(path, content);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = std::fs::write(&new, content).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}
