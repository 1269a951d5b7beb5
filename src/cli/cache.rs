//! `--cache-from` and `--cache-to`, in buildx's words.

use super::output::Keys;
use crate::cache::{Destination, Mode, Source};
use crate::image::DigestError;

/// Reads `type=local,src=DIR[,tag=NAME][,digest=DIGEST]`.
pub(super) fn source(text: &str) -> Result<Source, String> {
    let mut keys = local(text, "src=DIR")?;
    let dir = keys.take("src").filter(|dir| !dir.is_empty());
    let digest = keys.take("digest").map(|digest| digest.parse()).transpose();
    let source = Source {
        dir: dir.ok_or("src= is missing: the directory to look in")?.into(),
        tag: tag(&mut keys)?,
        digest: digest.map_err(|error: DigestError| error.to_string())?,
    };
    if source.tag.is_some() && source.digest.is_some() {
        return Err("tag= and digest= exclude each other".to_owned());
    }
    keys.nothing_left()?;
    Ok(source)
}

/// Reads `type=local,dest=DIR[,mode=min|max][,tag=NAME][,ignore-error=true]`.
pub(super) fn destination(text: &str) -> Result<Destination, String> {
    let mut keys = local(text, "dest=DIR")?;
    let dir = keys.take("dest").filter(|dir| !dir.is_empty());
    let mode = match keys.take("mode").as_deref() {
        None | Some("min") => Mode::Min,
        Some("max") => Mode::Max,
        Some(other) => return Err(format!("mode={other:?}, expected min or max")),
    };
    // What it is in any case.
    for name in ["oci-mediatypes", "image-manifest"] {
        if !keys.flag(name, true)? {
            return Err(format!("{name}=false is not supported: the cache is an OCI manifest"));
        }
    }
    for name in ["compression", "compression-level", "force-compression"] {
        if keys.take(name).is_some() {
            return Err(format!(
                "{name}= is not supported: layers are kept as the build makes them, and --output says how that is"
            ));
        }
    }
    let destination = Destination {
        dir: dir.ok_or("dest= is missing: the directory to write")?.into(),
        tag: tag(&mut keys)?,
        mode,
        ignore_error: keys.flag("ignore-error", false)?,
    };
    keys.nothing_left()?;
    Ok(destination)
}

fn tag(keys: &mut Keys) -> Result<Option<String>, String> {
    match keys.take("tag") {
        Some(tag) if tag.is_empty() => Err("tag= is empty".to_owned()),
        tag => Ok(tag),
    }
}

/// The keys of a cache that is a directory.
fn local(text: &str, place: &str) -> Result<Keys, String> {
    let only = |kind: &str| {
        format!(
            "a cache of type {kind} is not supported, only type=local,{place}: a directory, which tools such as skopeo copy to a registry and back"
        )
    };
    // Short for an image of a registry.
    if !text.contains('=') {
        return Err(only("registry"));
    }
    let mut keys = Keys::parse(text)?;
    match keys.take("type").as_deref() {
        Some("local") => Ok(keys),
        Some(kind) => Err(only(kind)),
        None => Err(format!("type= is missing: type=local,{place}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    #[test]
    fn reads_what_buildx_reads() {
        let is = |dir: &str, tag: Option<&str>, digest| {
            Ok(Source { dir: dir.into(), tag: tag.map(str::to_owned), digest })
        };
        let digest = Digest::of(b"");
        assert_eq!(source("type=local,src=d"), is("d", None, None));
        assert_eq!(source("src=/a b,type=local,tag=x"), is("/a b", Some("x"), None));
        let by_digest = format!("type=local,src=d,digest={digest}");
        assert_eq!(source(&by_digest), is("d", None, Some(digest)));
        for (bad, says) in [
            ("", "a cache of type registry is not supported"),
            ("example.org/app:cache", "a cache of type registry is not supported"),
            ("type=registry,ref=example.org/app", "a cache of type registry is not supported"),
            ("type=gha", "a cache of type gha is not supported"),
            ("type=local", "src= is missing"),
            ("type=local,src=", "src= is missing"),
            ("src=d", "type= is missing"),
            ("type=local,src=d,dest=d", "unknown key \"dest\""),
            ("type=local,src=d,digest=1", "unsupported digest algorithm"),
            (&format!("{by_digest},tag=x"), "tag= and digest= exclude each other"),
        ] {
            let error = source(bad).unwrap_err();
            assert!(error.starts_with(says), "{bad}: {error}");
        }
    }

    #[test]
    fn reads_where_to_write() {
        let to =
            |mode, ignore_error| Ok(Destination { dir: "d".into(), tag: None, mode, ignore_error });
        for (text, expected) in [
            ("type=local,dest=d", to(Mode::Min, false)),
            ("type=local,dest=d,mode=max,ignore-error=true", to(Mode::Max, true)),
            ("type=local,dest=d,oci-mediatypes=true,image-manifest=true", to(Mode::Min, false)),
            ("type=local,dest=d,mode=all", Err("mode=\"all\", expected min or max".to_owned())),
            ("type=local,dest=d,src=d", Err("unknown key \"src\" for this type".to_owned())),
            ("type=local", Err("dest= is missing: the directory to write".to_owned())),
        ] {
            assert_eq!(destination(text), expected, "{text}");
        }
        for bad in ["type=s3,bucket=b", "type=inline", "type=local,dest=d,compression=zstd"] {
            assert!(destination(bad).unwrap_err().contains("not supported"), "{bad}");
        }
    }
}
