//! `--output`: what `docker buildx build` takes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::exit::CliError;
use crate::build::{
    BuildError, BuildResult, Env, Format, TreeOutput, export_image, export_image_dir, export_tree,
};
use crate::image::Reference;
use crate::layer::Compression;

/// One output of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) kind: Kind,
    pub(super) compression: Option<Compression>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A named image of the store, perhaps pushed.
    Image { names: Vec<Reference>, push: bool },
    /// An image in a file.
    Archive { format: Format, dest: Dest },
    /// An image as a directory.
    Layout { format: Format, dest: PathBuf },
    /// The files as a tar archive.
    Tar(Dest),
    /// The files.
    Local(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dest {
    Stdout,
    File(PathBuf),
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            let kind = if text == "-" { Kind::Tar(Dest::Stdout) } else { Kind::Local(text.into()) };
            return Ok(Self { kind, compression: None });
        }
        let mut keys = Keys::parse(text)?;
        let kind = keys.take("type").ok_or("type= is missing")?;
        let compression = match (keys.take("compression"), keys.take("compression-level")) {
            (None, None) => None,
            (name, level) => {
                let name = match name.as_deref() {
                    Some("uncompressed") => "none",
                    Some(name) => name,
                    None => "gzip",
                };
                Some(Compression::new(name, level.as_deref()).map_err(|e| e.to_string())?)
            }
        };
        let kind = match kind.as_str() {
            "image" | "registry" => {
                Kind::Image { names: keys.names()?, push: keys.flag("push", kind == "registry")? }
            }
            "oci" | "docker" => {
                let format = if kind == "oci" { Format::Oci } else { Format::Docker };
                match (keys.flag("tar", true)?, keys.take("dest")) {
                    (true, dest) => Kind::Archive { format, dest: dest_of(dest.as_deref()) },
                    (false, Some(dest)) => Kind::Layout { format, dest: dest.into() },
                    (false, None) => return Err("dest= is missing: the directory to write".into()),
                }
            }
            "tar" => Kind::Tar(dest_of(keys.take("dest").as_deref())),
            "local" => Kind::Local(
                keys.take("dest").ok_or("dest= is missing: the directory to write")?.into(),
            ),
            other => {
                return Err(format!(
                    "unknown type {other:?}, expected image, registry, oci, docker, tar or local"
                ));
            }
        };
        keys.nothing_left()?;
        Ok(Self { kind, compression })
    }
}

fn dest_of(dest: Option<&str>) -> Dest {
    match dest {
        None | Some("-") => Dest::Stdout,
        Some(path) => Dest::File(path.into()),
    }
}

/// `key=value,…`; a value with commas stands in double quotes, as CSV has it.
pub(super) struct Keys(Vec<(String, String)>);

impl Keys {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(String, String)> = Vec::new();
        for field in split_csv(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("{field:?} is not key=value"))?;
            if keys.iter().any(|(other, _)| other == key) {
                return Err(format!("{key}= is given twice"));
            }
            keys.push((key.trim().to_owned(), value.to_owned()));
        }
        Ok(Self(keys))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        match self.take(name).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("{name}={other:?}, expected true or false")),
        }
    }

    fn names(&mut self) -> Result<Vec<Reference>, String> {
        let names = self.take("name").unwrap_or_default();
        names
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| name.parse().map_err(|e: crate::image::ReferenceError| e.to_string()))
            .collect()
    }

    pub(super) fn nothing_left(&self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("unknown key {key:?} for this type")),
        }
    }
}

fn split_csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    if quoted { Err("a double quote is not closed".into()) } else { Ok(fields) }
}

impl Output {
    /// What makes no sense before the build begins.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let stdout = matches!(
            &self.kind,
            Kind::Archive { dest: Dest::Stdout, .. } | Kind::Tar(Dest::Stdout)
        );
        if stdout && io::stdout().is_terminal() {
            return Err(CliError::Usage(
                "an archive is not written to a terminal; redirect the output, or give dest=FILE"
                    .into(),
            ));
        }
        match &self.kind {
            Kind::Archive { dest: Dest::File(path), .. } | Kind::Tar(Dest::File(path)) => {
                has_directory(path)
            }
            _ => Ok(()),
        }
    }

    /// Whether the output is files without an image around them.
    pub(super) fn is_files(&self) -> bool {
        matches!(self.kind, Kind::Tar(_) | Kind::Local(_))
    }

    /// Writes the output; images of the store are the caller's.
    pub(super) fn write(
        &self,
        result: &BuildResult,
        names: &[Reference],
        env: &Env,
    ) -> Result<(), CliError> {
        match &self.kind {
            Kind::Image { .. } => Ok(()),
            Kind::Archive { format, dest } => {
                to(dest, |out| export_image(result, names, *format, out, env))
            }
            Kind::Layout { format, dest } => {
                Ok(export_image_dir(result, names, *format, dest, env)?)
            }
            Kind::Tar(dest) => to(dest, |out| export_tree(result, TreeOutput::Tar(out), env)),
            Kind::Local(dir) => Ok(export_tree(result, TreeOutput::Directory(dir), env)?),
        }
    }
}

/// Writes to a file or to standard output.
fn to(
    dest: &Dest,
    write: impl FnOnce(&mut dyn Write) -> Result<(), BuildError>,
) -> Result<(), CliError> {
    match dest {
        Dest::Stdout => {
            let mut out = BufWriter::new(io::stdout().lock());
            write(&mut out)?;
            out.flush().map_err(|e| CliError::Output(format!("write to standard output: {e}")))
        }
        Dest::File(path) => to_file(path, |out| Ok(write(out)?)),
    }
}

/// Writes to a file, which has its name only when it is whole.
fn to_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let fail = |e: io::Error| CliError::Output(format!("write {}: {e}", path.display()));
    if is_special(path) {
        let file = File::options().write(true).open(path).map_err(fail)?;
        let mut out = BufWriter::with_capacity(128 * 1024, file);
        write(&mut out)?;
        return out.flush().map_err(fail);
    }
    let partial = partial(path);
    // What has this name is a dead process's, or a link that another user has put there.
    let _ = std::fs::remove_file(&partial);
    let file = File::create_new(&partial).map_err(fail)?;
    let mut out = BufWriter::with_capacity(128 * 1024, file);
    let done = write(&mut out)
        .and_then(|()| out.flush().map_err(fail))
        .and_then(|()| std::fs::rename(&partial, path).map_err(fail));
    if done.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    done
}

/// Whether a device or a pipe has this name. It is written to; a file put in its place would
/// be its end.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// Writes a small file, which has its name only when it is whole.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    to_file(path, |out| {
        out.write_all(bytes).map_err(|e| CliError::Output(format!("write {}: {e}", path.display())))
    })
}

/// Fails if a file cannot be written, before there is anything to write; `flag` names it.
pub(super) fn can_write(path: &Path, flag: &str) -> Result<(), CliError> {
    has_directory(path)?;
    let fail = |why: &dyn std::fmt::Display| {
        let path = path.display();
        CliError::Output(format!("write {path}: {why}; name a file that you may write with {flag}"))
    };
    if path.is_dir() {
        return Err(fail(&"it is a directory"));
    }
    if is_special(path) {
        return Ok(());
    }
    let partial = partial(path);
    let _ = std::fs::remove_file(&partial);
    File::create_new(&partial).and_then(|_| std::fs::remove_file(&partial)).map_err(|e| fail(&e))
}

/// Fails if the directory of a file to write is not there: better now than after the build.
pub(super) fn has_directory(path: &Path) -> Result<(), CliError> {
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    if dir.is_dir() {
        return Ok(());
    }
    Err(CliError::Output(format!(
        "write {}: there is no directory {}",
        path.display(),
        dir.display()
    )))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // Another yado may write the same file at this moment.
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_reads() {
        let archive = |format, dest| Ok(Kind::Archive { format, dest });
        for (text, expected) in [
            ("out", Ok(Kind::Local("out".into()))),
            ("-", Ok(Kind::Tar(Dest::Stdout))),
            ("type=oci", archive(Format::Oci, Dest::Stdout)),
            ("type=docker,dest=a.tar", archive(Format::Docker, Dest::File("a.tar".into()))),
            (
                "type=oci,tar=false,dest=d",
                Ok(Kind::Layout { format: Format::Oci, dest: "d".into() }),
            ),
            ("type=local,\"dest=a,b\"", Ok(Kind::Local("a,b".into()))),
            ("type=tar,dest=-", Ok(Kind::Tar(Dest::Stdout))),
            ("type=image,push=true", Ok(Kind::Image { names: vec![], push: true })),
            ("type=local", Err("dest= is missing: the directory to write".to_owned())),
            ("type=oci,des=x", Err("unknown key \"des\" for this type".to_owned())),
            ("type=oci,tar=maybe", Err("tar=\"maybe\", expected true or false".to_owned())),
            ("dest=x", Err("type= is missing".to_owned())),
            ("type=tar,dest=a,dest=b", Err("dest= is given twice".to_owned())),
        ] {
            assert_eq!(text.parse::<Output>().map(|output| output.kind), expected, "{text}");
        }
    }
}
