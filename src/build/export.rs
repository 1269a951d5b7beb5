//! Images and trees to files: OCI layouts, docker archives, tar files, directories.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::base::Layer;
use super::tree::Tree;
use super::{BuildError, BuildResult, Env, layers};
use crate::cache::{Destination, Mode};
use crate::image::{Descriptor, Digest, IMAGE_NAME, Index, REF_NAME, Reference, media_type};
use crate::layer::{Entry, Kind, TarWriter, WriteError};
use crate::report::{Event, TransferKind, chain, transfer};
use crate::rootfs::DuplicateError;
use crate::sandbox::Identity;
use crate::snapshot::{SnapshotError, Times};

/// The form of an image in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An OCI image layout.
    Oci,
    /// What `docker load` reads: an OCI image layout with a `manifest.json` beside.
    Docker,
}

/// Why an output could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file.
    #[error("{action} {path}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] WriteError),
    /// A directory of files.
    #[error("write files to {path}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Which file, and why.
        #[source]
        source: DuplicateError,
    },
}

/// A file of an image layout: its name and where its bytes are.
enum Content {
    Blob(Digest, u64),
    Bytes(Vec<u8>),
}

/// Writes an image as a tar archive.
pub fn export_image(
    result: &BuildResult,
    names: &[Reference],
    format: Format,
    out: &mut dyn Write,
    env: &Env,
) -> Result<(), BuildError> {
    layers::fetch(&result.image.layers, env)?;
    let mut tar = TarWriter::new(out);
    let total = result.image.layers.iter().map(|layer| layer.blob.size).sum();
    let transfer = transfer(&env.sink, TransferKind::Export, "image", Some(total), None);
    let append = |tar: &mut TarWriter<&mut dyn Write>, entry: &Entry, content: &mut dyn Read| {
        tar.append(entry, content).map_err(ExportError::from)
    };
    for dir in ["blobs", "blobs/sha256"] {
        append(&mut tar, &Entry::new(dir, Kind::Dir), &mut io::empty())?;
    }
    for (name, content) in files(result, names, format)? {
        env.check_cancelled()?;
        match content {
            Content::Blob(digest, size) => {
                let mut blob = env.store.verified_blob(&digest)?;
                let appended = append(&mut tar, &file_entry(&name, size), &mut blob);
                // First, for the wrong length of a damaged blob is the lesser news.
                blob.finish()?;
                appended?;
                transfer.advance(size);
            }
            Content::Bytes(bytes) => {
                append(&mut tar, &file_entry(&name, bytes.len() as u64), &mut bytes.as_slice())?;
            }
        }
    }
    tar.finish().map_err(ExportError::from)?.flush().map_err(|source| ExportError::Io {
        action: "write",
        path: PathBuf::from("the archive"),
        source,
    })?;
    Ok(())
}

/// Writes an image as a directory; blobs that are there whole are kept.
pub fn export_image_dir(
    result: &BuildResult,
    names: &[Reference],
    format: Format,
    dir: &Path,
    env: &Env,
) -> Result<(), BuildError> {
    let fail = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { action, path, source }
    };
    layers::fetch(&result.image.layers, env)?;
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(fail("create", &blobs))?;
    for (name, content) in files(result, names, format)? {
        env.check_cancelled()?;
        let path = dir.join(&name);
        if let Content::Blob(digest, size) = &content
            && is_blob(&path, digest, *size)
        {
            continue;
        }
        // Under another name until it is whole; another yado may write the same file
        // at this moment.
        let partial = format!(".{}.{}.partial", name.replace('/', "-"), std::process::id());
        let partial = dir.join(partial);
        let done = write_file(&partial, &content, &path, env).and_then(|()| {
            fs::rename(&partial, &path).map_err(|source| fail("write", &path)(source).into())
        });
        if done.is_err() {
            let _ = fs::remove_file(&partial);
        }
        done?;
    }
    Ok(())
}

/// Writes what is to become the file `target`.
fn write_file(
    partial: &Path,
    content: &Content,
    target: &Path,
    env: &Env,
) -> Result<(), BuildError> {
    let fail = |source| ExportError::Io { action: "write", path: target.to_owned(), source };
    // What has this name is a dead process's, or a link that another user has put there.
    let _ = fs::remove_file(partial);
    let mut file = File::create_new(partial).map_err(fail)?;
    match content {
        Content::Blob(digest, _) => {
            let mut blob = env.store.verified_blob(digest)?;
            io::copy(&mut blob, &mut file).map_err(fail)?;
            blob.finish()?;
        }
        Content::Bytes(bytes) => file.write_all(bytes).map_err(fail)?,
    }
    Ok(())
}

/// Whether a file is there that is this blob, to its last bit.
fn is_blob(path: &Path, digest: &Digest, size: u64) -> bool {
    if !fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() == size) {
        return false;
    }
    let hashed = File::open(path).and_then(|mut file| {
        let mut hasher = digest.hasher();
        io::copy(&mut file, &mut hasher).map(|_| hasher.finish())
    });
    hashed.is_ok_and(|actual| actual == *digest)
}

fn file_entry(name: &str, size: u64) -> Entry {
    Entry::new(name, Kind::File { size })
}

/// The files of an image layout, blobs first, so that a reader that stops at the index has all.
fn files(
    result: &BuildResult,
    names: &[Reference],
    format: Format,
) -> Result<Vec<(String, Content)>, BuildError> {
    let json = |e: serde_json::Error| BuildError::Internal(format!("write the image: {e}"));
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let mut files: Vec<(String, Content)> = Vec::new();
    let layers = result.image.layers.iter().map(|layer: &Layer| &layer.blob);
    for blob in layers.chain([&result.config, &result.manifest]) {
        let name = path(&blob.digest);
        if files.iter().all(|(other, _)| *other != name) {
            files.push((name, Content::Blob(blob.digest.clone(), blob.size)));
        }
    }
    let mut entries: Vec<Descriptor> = names
        .iter()
        .map(|name| {
            let mut entry = result.manifest.clone();
            let annotate = &mut entry.annotations;
            annotate.insert(IMAGE_NAME.into(), name.to_string());
            annotate.insert(REF_NAME.into(), name.tag().unwrap_or_default().into());
            entry
        })
        .collect();
    if entries.is_empty() {
        entries.push(result.manifest.clone());
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        manifests: entries,
        annotations: std::collections::BTreeMap::new(),
        extra: serde_json::Map::new(),
    };
    if format == Format::Docker {
        let manifest = serde_json::json!([{
            "Config": path(&result.config.digest),
            "RepoTags": names.iter().map(short_name).collect::<Vec<_>>(),
            "Layers": result.image.layers.iter().map(|layer| path(&layer.blob.digest)).collect::<Vec<_>>(),
        }]);
        files.push((
            "manifest.json".into(),
            Content::Bytes(serde_json::to_vec(&manifest).map_err(json)?),
        ));
    }
    files.push(("index.json".into(), Content::Bytes(serde_json::to_vec(&index).map_err(json)?)));
    files
        .push(("oci-layout".into(), Content::Bytes(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())));
    Ok(files)
}

/// A reference as docker shows it: without what it adds itself.
fn short_name(reference: &Reference) -> String {
    let text = reference.to_string();
    let short = text.strip_prefix("docker.io/library/").or_else(|| text.strip_prefix("docker.io/"));
    short.unwrap_or(&text).to_owned()
}

/// Writes the steps of a build for other builds.
pub fn export_cache(
    result: &BuildResult,
    destination: &Destination,
    env: &Env,
) -> Result<(), BuildError> {
    env.check_cancelled()?;
    let steps = match destination.mode {
        Mode::Min => &result.image_steps,
        Mode::Max => &result.all_steps,
    };
    let _transfer = transfer(&env.sink, TransferKind::Export, "cache", None, None);
    match steps.write(destination, &env.store) {
        Err(error) if destination.ignore_error => {
            let message = format!("the cache is not written: {}", chain(&error));
            env.sink.event(Event::Warning { message });
            Ok(())
        }
        written => Ok(written?),
    }
}

/// Where a tree goes.
pub enum TreeOutput<'a> {
    /// A tar archive.
    Tar(&'a mut dyn Write),
    /// A directory, which is made if it is missing.
    Directory(&'a Path),
}

impl std::fmt::Debug for TreeOutput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tar(_) => "Tar",
            Self::Directory(_) => "Directory",
        })
    }
}

/// Writes the files of the image, all layers applied.
pub fn export_tree(
    result: &BuildResult,
    output: TreeOutput<'_>,
    env: &Env,
) -> Result<(), BuildError> {
    let _transfer = transfer(&env.sink, TransferKind::Export, "files", None, None);
    Tree::new(Times::Keep).read(&result.image.layers, env, |root, owners| match output {
        TreeOutput::Tar(out) => {
            let mut tar = TarWriter::new(out);
            crate::snapshot::write_upper(root, &[], Times::Keep, owners, &mut tar).map_err(
                |error| match error {
                    SnapshotError::Write(source) => ExportError::Archive(source).into(),
                    error @ SnapshotError::Read { .. } => BuildError::from(error),
                },
            )?;
            tar.finish().map_err(ExportError::from)?;
            Ok(())
        }
        TreeOutput::Directory(dir) => {
            fs::create_dir_all(dir).map_err(|source| ExportError::Io {
                action: "create",
                path: dir.to_owned(),
                source,
            })?;
            // An ordinary user could not even remove what belongs to another of his ids.
            let owner = (env.isolation.identity != Identity::Real).then_some((0, 0));
            crate::rootfs::export(root, dir, owner).map_err(|source| {
                BuildError::from(ExportError::Directory { path: dir.to_owned(), source })
            })
        }
    })
}
