//! Versions by git tags: which one a commit is, and which one comes next. Pure.

use semver::{BuildMetadata, Prerelease, Version};

/// Which part of a version grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// `1.2.3` to `2.0.0`
    Major,
    /// `1.2.3` to `1.3.0`
    Minor,
    /// `1.2.3` to `1.2.4`
    Patch,
}

/// The version of a tag `PREFIX1.2.3` or `PREFIXv1.2.3`; parts that follow as semver has them.
pub(super) fn of_tag(name: &str, prefix: &str) -> Option<Version> {
    let rest = name.strip_prefix(prefix)?;
    Version::parse(rest.strip_prefix('v').unwrap_or(rest)).ok()
}

/// The version after `last`. Of a version before a release, the next one may be that release.
pub(super) fn next(last: &Version, bump: Bump) -> Version {
    let Version { major, minor, patch, pre, .. } = last;
    let (major, minor, patch) = (*major, *minor, *patch);
    let unreleased = !pre.is_empty();
    match bump {
        Bump::Patch if unreleased => Version::new(major, minor, patch),
        Bump::Minor if unreleased && patch == 0 => Version::new(major, minor, 0),
        Bump::Major if unreleased && minor == 0 && patch == 0 => Version::new(major, 0, 0),
        Bump::Patch => Version::new(major, minor, patch + 1),
        Bump::Minor => Version::new(major, minor + 1, 0),
        Bump::Major => Version::new(major + 1, 0, 0),
    }
}

/// With what is to stand behind the numbers.
pub(super) fn with_prerelease(version: &Version, text: &str) -> Result<Version, String> {
    let pre = Prerelease::new(text).map_err(|e| format!("--prerelease {text:?}: {e}"))?;
    let Version { major, minor, patch, .. } = *version;
    Ok(Version { major, minor, patch, pre, build: BuildMetadata::EMPTY })
}

/// A version as a tag of an image, which may not hold a `+`.
pub(super) fn as_tag(version: &Version) -> String {
    version.to_string().replace('+', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_of_tags() {
        for (name, prefix, expected) in [
            ("v1.2.3", "", Some("1.2.3")),
            ("1.2.3-rc.1+b", "", Some("1.2.3-rc.1+b")),
            ("app/v1.2.3", "app/", Some("1.2.3")),
            ("app/v1.2.3", "", None),
            ("1.2", "", None),
            ("vv1.2.3", "", None),
            ("v01.2.3", "", None),
        ] {
            assert_eq!(of_tag(name, prefix).map(|v| v.to_string()).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn bumps() {
        for (last, bump, expected) in [
            ("1.2.3", Bump::Patch, "1.2.4"),
            ("1.2.3", Bump::Minor, "1.3.0"),
            ("1.2.3", Bump::Major, "2.0.0"),
            ("1.2.3-rc.1", Bump::Patch, "1.2.3"),
            ("1.2.3-rc.1", Bump::Minor, "1.3.0"),
            ("1.3.0-rc.1", Bump::Minor, "1.3.0"),
            ("2.0.0-rc.1", Bump::Major, "2.0.0"),
            ("2.1.0-rc.1", Bump::Major, "3.0.0"),
            ("1.2.3+b", Bump::Patch, "1.2.4"),
        ] {
            let last = Version::parse(last).unwrap();
            assert_eq!(next(&last, bump).to_string(), expected, "{last} {bump:?}");
        }
        let version = with_prerelease(&Version::new(1, 0, 0), "rc.4").unwrap();
        assert_eq!(version.to_string(), "1.0.0-rc.4");
        assert!(with_prerelease(&Version::new(1, 0, 0), "rc_4").is_err());
        assert_eq!(as_tag(&Version::parse("1.0.0+b.1").unwrap()), "1.0.0_b.1");
    }
}
