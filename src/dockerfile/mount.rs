//! The value of `RUN --mount`: comma-separated `key=value`, with CSV's quotes.

use super::{Diagnostic, Mount, MountKind, Sharing, Spanned, Word};

const KEYS: &[&str] = &[
    "type",
    "id",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "env",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "sharing",
    "required",
    "mode",
    "uid",
    "gid",
    "size",
];

/// Reads a mount; every mistake is a diagnostic at the flag.
pub(super) fn read(flag: &Word, diagnostics: &mut Vec<Diagnostic>) -> Mount {
    let mut mount = Mount { span: flag.span, ..Mount::default() };
    // An option that is not understood may be the one that is missing.
    let mut is_understood = true;
    let mut fail = |message: String| diagnostics.push(Diagnostic::error(flag.span, message));
    let Some(fields) = fields(&flag.value) else {
        fail("--mount: a quote has no end, or stands within a field".to_owned());
        return mount;
    };
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        let word = |value: &str| Some(Spanned::new(value.to_owned(), flag.span));
        let truth = truth(value);
        match (key.as_str(), value) {
            ("readonly" | "ro" | "readwrite" | "rw" | "required", _) => match truth {
                None => fail(format!("--mount: {key} is true or false")),
                Some(on) => match key.as_str() {
                    "required" => mount.required = on,
                    "readonly" | "ro" => mount.read_only = Some(on),
                    _ => mount.read_only = Some(!on),
                },
            },
            (key, None) if KEYS.contains(&key) => {
                fail(format!("--mount: {key} has no value; write {key}=…"));
                is_understood = false;
            }
            ("type", Some(value)) => match value.to_lowercase().as_str() {
                "bind" => mount.kind = MountKind::Bind,
                "cache" => mount.kind = MountKind::Cache,
                "tmpfs" => mount.kind = MountKind::Tmpfs,
                "secret" => mount.kind = MountKind::Secret,
                "ssh" => mount.kind = MountKind::Ssh,
                _ => diagnostics_for_type(&mut fail, value),
            },
            ("sharing", Some(value)) => match value.to_lowercase().as_str() {
                "shared" => mount.sharing = Some(Sharing::Shared),
                "private" => mount.sharing = Some(Sharing::Private),
                "locked" => mount.sharing = Some(Sharing::Locked),
                _ => fail(format!("--mount: sharing is shared, private or locked, not {value:?}")),
            },
            ("from", Some(value)) if value.contains('$') => {
                fail("--mount: from cannot hold variables; name a stage with FROM … AS".to_owned());
            }
            ("from", Some(value)) => mount.from = word(value),
            ("id", Some(value)) => mount.id = word(value),
            ("source" | "src", Some(value)) => mount.source = word(value),
            ("target" | "dst" | "destination", Some(value)) => mount.target = word(value),
            ("env", Some(value)) => mount.env = word(value),
            ("size", Some(value)) => mount.size = word(value),
            ("mode" | "uid" | "gid", Some(value)) => {
                let radix = if key == "mode" { 8 } else { 10 };
                if !value.contains('$') && u32::from_str_radix(value, radix).is_err() {
                    let kind = if key == "mode" { "an octal number" } else { "a number" };
                    fail(format!("--mount: {key} is {kind}, not {value:?}"));
                }
                match key.as_str() {
                    "mode" => mount.mode = word(value),
                    "uid" => mount.uid = word(value),
                    _ => mount.gid = word(value),
                }
            }
            _ => {
                let hint = super::nearest(&key, KEYS.iter().copied());
                let hint = hint.map_or_else(String::new, |key| format!(", did you mean {key}?"));
                fail(format!("--mount has no option {key:?}{hint}"));
                is_understood = false;
            }
        }
    }
    check(&mount, is_understood, &mut fail);
    mount
}

fn diagnostics_for_type(fail: &mut impl FnMut(String), value: &str) {
    let kinds = ["bind", "cache", "tmpfs", "secret", "ssh"];
    let hint = super::nearest(value, kinds);
    let hint = hint.map_or_else(String::new, |kind| format!(", did you mean {kind}?"));
    fail(format!("--mount: the type is bind, cache, tmpfs, secret or ssh, not {value:?}{hint}"));
}

/// Options that the type does not have, and those that it must have.
fn check(mount: &Mount, is_understood: bool, fail: &mut impl FnMut(String)) {
    use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
    let kind = mount.kind;
    let mut only = |given: bool, option: &str, kinds: &[MountKind]| {
        if given && !kinds.contains(&kind) {
            let name = format!("{kind:?}").to_lowercase();
            fail(format!("--mount: a mount of type {name} has no option {option}"));
        }
    };
    only(mount.mode.is_some(), "mode", &[Cache, Secret, Ssh]);
    only(mount.uid.is_some(), "uid", &[Cache, Secret, Ssh]);
    only(mount.gid.is_some(), "gid", &[Cache, Secret, Ssh]);
    only(mount.required, "required", &[Secret, Ssh]);
    only(mount.size.is_some(), "size", &[Tmpfs]);
    only(mount.sharing.is_some(), "sharing", &[Cache]);
    only(mount.env.is_some(), "env", &[Secret]);
    only(mount.from.is_some(), "from", &[Bind, Cache, Tmpfs, Ssh]);
    match kind {
        Secret if mount.id.is_some() && mount.source.is_some() => {
            fail("--mount: a secret has an id or a source, not both".to_owned());
        }
        Secret
            if mount.id.is_none()
                && mount.source.is_none()
                && mount.target.is_none()
                && mount.env.is_none()
                && is_understood =>
        {
            fail("--mount: a secret needs an id, a source, a target or an env".to_owned());
        }
        Bind | Cache | Tmpfs if mount.target.is_none() && is_understood => {
            fail("--mount: the target is missing".to_owned());
        }
        _ => {}
    }
}

/// The value of a switch, in the ways that Go's `ParseBool` knows; none is true.
pub(super) fn truth(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Some(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Some(false),
        Some(_) => None,
    }
}

/// The fields of a CSV line; `None` if a quote is out of place.
pub(super) fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut rest = quoted;
            loop {
                let quote = rest.find('"')?;
                field.push_str(&rest[..quote]);
                rest = &rest[quote + 1..];
                match rest.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        rest = more;
                    }
                    None => break,
                }
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
            (field, rest)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return None;
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_fields() {
        for (text, expected) in [
            ("a=b,c", Some(vec!["a=b", "c"])),
            ("\"a=b,c\",d", Some(vec!["a=b,c", "d"])),
            ("\"a=\"\"b\"\"\"", Some(vec!["a=\"b\""])),
            ("", Some(vec![""])),
            ("\"a", None),
            ("\"a\"b", None),
            ("a\"b", None),
        ] {
            let expected = expected.map(|e| e.into_iter().map(str::to_owned).collect());
            assert_eq!(fields(text), expected, "{text}");
        }
    }
}
