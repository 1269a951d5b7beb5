//! The cases: what each prepares, and the work that is counted.

#![expect(clippy::unnecessary_wraps, reason = "all cases have one form")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{self, Cursor, Write as _};
use std::path::Path;

use anyhow::{Result, anyhow};
use yado::cache::Key;
use yado::context::{self, Contents, Context};
use yado::dockerfile::{self, Source};
use yado::image::{DiffId, Digest};
use yado::layer::{Compression, Entry, Kind, LayerWriter, Pool, TarReader, TarWriter, open};
use yado::plan::{self, PlanOptions};
use yado::rootfs::{self, Owners, UnpackOptions};
use yado::snapshot::{Index, Times, write_upper};

use super::Unit;

/// What is counted of a case.
type Work = Box<dyn FnOnce() -> Result<()>>;

/// Something of which there is a count.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// Makes all that the work needs, in an empty directory if it needs files.
    pub(super) prepare: fn(&Path) -> Result<Work>,
}

/// All of them, in the order in which a build meets them.
pub(super) const CASES: &[Case] = &[
    Case { name: "parse", unit: Unit::Instructions, prepare: parse },
    Case { name: "plan", unit: Unit::Instructions, prepare: plan },
    Case { name: "key", unit: Unit::Instructions, prepare: key },
    Case { name: "walk", unit: Unit::SystemCalls, prepare: walk },
    Case { name: "decompress", unit: Unit::Instructions, prepare: decompress },
    Case { name: "untar", unit: Unit::Instructions, prepare: untar },
    Case { name: "unpack", unit: Unit::SystemCalls, prepare: unpack },
    Case { name: "index", unit: Unit::SystemCalls, prepare: index },
    Case { name: "snapshot", unit: Unit::SystemCalls, prepare: snapshot },
    Case { name: "tar", unit: Unit::Instructions, prepare: tar },
    Case { name: "gzip", unit: Unit::Instructions, prepare: |_| compress("gzip") },
    Case { name: "zstd", unit: Unit::Instructions, prepare: |_| compress("zstd") },
];

/// Files of the trees, in directories of 50.
const FILES: usize = 1000;
/// Bytes that are compressed: two blocks.
const TEXT: usize = 2 * 1024 * 1024;

/// A Dockerfile of 20 stages with 15 instructions each.
fn dockerfile_text() -> String {
    let mut text = "# syntax=docker/dockerfile:1\nARG VERSION=1.2\n".to_owned();
    for stage in 0..20 {
        let from = if stage == 0 { "scratch".to_owned() } else { format!("stage{}", stage - 1) };
        let _ =
            write!(text, "FROM {from} AS stage{stage}\nARG VERSION\nENV A=\"$VERSION\" B=two\n");
        for step in 0..5 {
            let _ = write!(
                text,
                "# A comment.\nRUN --mount=type=cache,target=/cache make \"${{A:-x}}\" \\\n  \
                 && echo {step} >/result-{step}\n\
                 COPY --chown=1:1 --chmod=0644 source/{step} other $B/ ./target/$VERSION/\n"
            );
        }
        text.push_str("RUN <<END\nset -e\necho one\nEND\nWORKDIR /srv/$B\nLABEL a=b c=\"d e\"\n");
    }
    text
}

fn parse(_: &Path) -> Result<Work> {
    let source = Source::new("Dockerfile", dockerfile_text());
    Ok(Box::new(move || {
        let (file, remarks) = dockerfile::parse(black_box(&source));
        black_box(file);
        if remarks.is_empty() { Ok(()) } else { Err(anyhow!("{remarks:?}")) }
    }))
}

fn plan(_: &Path) -> Result<Work> {
    let (file, _) = dockerfile::parse(&Source::new("Dockerfile", dockerfile_text()));
    let options = PlanOptions {
        build_args: vec![("VERSION".to_owned(), "3".to_owned())],
        target: None,
        platform: "linux/amd64".parse()?,
        build_platform: "linux/amd64".parse()?,
        labels: Vec::new(),
        contexts: BTreeMap::new(),
    };
    Ok(Box::new(move || {
        let planned = plan::plan(black_box(&file), &options, &BTreeMap::new());
        black_box(planned.map_err(|remarks| anyhow!("{remarks:?}"))?);
        Ok(())
    }))
}

/// The keys of 100 steps, each on one layer more.
fn key(_: &Path) -> Result<Work> {
    let layers: Vec<_> = (0..100_u8).map(|layer| DiffId(Digest::of(&[layer]))).collect();
    Ok(Box::new(move || {
        for count in 0..layers.len() {
            let mut key = Key::new(&layers[..count]);
            key.field("platform", "linux/amd64").field("user", "").field("workdir", "/srv");
            key.list("run", ["/bin/sh", "-c", "make && make install"]);
            key.list("env", ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "A=b"]);
            black_box(key.finish());
        }
        Ok(())
    }))
}

/// The digest of a context's files.
fn walk(dir: &Path) -> Result<Work> {
    make_tree(dir)?;
    fs::write(dir.join(".dockerignore"), "*.log\nd3/**\n!d3/f1*\n")?;
    let context = Context::open(dir, None)?;
    Ok(Box::new(move || {
        let include = |path: &Path, is_dir| context.include(path, is_dir);
        let index = context::Index::default();
        let contents = Contents { root: context.root(), index: &index, threads: 1 };
        black_box(contents.digest(Path::new(""), &include)?);
        Ok(())
    }))
}

fn decompress(_: &Path) -> Result<Work> {
    let mut writer = LayerWriter::new(Vec::new(), Compression::default(), &Pool::new(1));
    writer.write_all(&text())?;
    let (_, bytes) = writer.finish()?;
    Ok(Box::new(move || {
        io::copy(&mut open(Cursor::new(bytes))?.1, &mut io::sink())?;
        Ok(())
    }))
}

fn untar(_: &Path) -> Result<Work> {
    let archive = archive()?;
    Ok(Box::new(move || {
        let mut tar = TarReader::new(&archive[..]);
        while let Some(entry) = tar.next_entry()? {
            black_box(entry);
            io::copy(&mut tar, &mut io::sink())?;
        }
        Ok(())
    }))
}

/// A layer's archive to files.
fn unpack(dir: &Path) -> Result<Work> {
    let archive = archive()?;
    let target = yado::fs::open_dir(dir)?;
    Ok(Box::new(move || {
        let options = UnpackOptions { owners: Owners::Real };
        black_box(rootfs::unpack(&archive[..], None, &target, &options)?);
        Ok(())
    }))
}

/// What is noted of a tree before a step where there is no overlay.
fn index(dir: &Path) -> Result<Work> {
    make_tree(dir)?;
    let dir = dir.to_owned();
    Ok(Box::new(move || {
        black_box(Index::take(&dir)?);
        Ok(())
    }))
}

/// What a step changed, to an archive.
fn snapshot(dir: &Path) -> Result<Work> {
    make_tree(dir)?;
    let dir = dir.to_owned();
    Ok(Box::new(move || {
        let mut tar = TarWriter::new(io::sink());
        black_box(write_upper(&dir, &[], Times::Clamp(0), Owners::Real, &mut tar)?);
        tar.finish()?;
        Ok(())
    }))
}

fn tar(_: &Path) -> Result<Work> {
    Ok(Box::new(|| {
        black_box(archive()?);
        Ok(())
    }))
}

/// An archive to a layer: two digests and the compression.
fn compress(format: &str) -> Result<Work> {
    let (compression, text) = (format.parse()?, text());
    Ok(Box::new(move || {
        let mut writer = LayerWriter::new(Vec::new(), compression, &Pool::new(1));
        writer.write_all(&text)?;
        black_box(writer.finish()?);
        Ok(())
    }))
}

/// Directories and files that belong to whoever runs this.
fn make_tree(dir: &Path) -> Result<()> {
    for file in 0..FILES {
        let parent = dir.join(format!("d{}", file / 50));
        if file % 50 == 0 {
            fs::create_dir(&parent)?;
        }
        fs::write(parent.join(format!("f{file}")), format!("content of {file}\n"))?;
    }
    Ok(())
}

/// The same as an archive.
fn archive() -> Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    let own = |path: String, kind| Entry {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        ..Entry::new(path, kind)
    };
    for file in 0..FILES {
        let parent = format!("d{}", file / 50);
        if file % 50 == 0 {
            tar.append(&own(parent.clone(), Kind::Dir), io::empty())?;
        }
        let content = format!("content of {file}\n");
        let entry = own(format!("{parent}/f{file}"), Kind::File { size: content.len() as u64 });
        tar.append(&entry, content.as_bytes())?;
    }
    Ok(tar.finish()?)
}

/// Words of a small language, each as likely as any other.
fn text() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let words: Vec<String> = (0..3000)
        .map(|_| {
            (0..2 + next(8)).map(|_| char::from(b"etaoinshrdlucmfw"[next(16) as usize])).collect()
        })
        .collect();
    let mut text = Vec::with_capacity(TEXT + 16);
    while text.len() < TEXT {
        text.extend_from_slice(words[next(3000) as usize].as_bytes());
        text.push(b' ');
    }
    text.truncate(TEXT);
    text
}
