//! Platforms: `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an image runs on (OCI image index, section "platform").
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture, by Go's names: `amd64`, `arm64`, `arm`…
    pub architecture: String,
    /// The operating system, by Go's names: `linux`.
    pub os: String,
    /// The variant of the architecture, such as `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Keys that yado does not know (`os.version`, `os.features`…).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A text that is not `os/architecture[/variant]`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed platform {0:?}, expected os/architecture[/variant], such as linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self { architecture: architecture.into(), os: "linux".into(), ..Self::default() }
    }

    /// Whether an image for `self` runs where `wanted` is asked for; `arm64` and `arm64/v8` are one.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.normal_variant() == wanted.normal_variant())
    }

    fn normal_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let good = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(good) {
            return Err(PlatformError(text.to_owned()));
        }
        let lower = |part: &str| part.to_ascii_lowercase();
        let architecture = match lower(parts[1]).as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        let mut platform = Self {
            os: lower(parts[0]),
            architecture,
            variant: parts.get(2).map(|v| lower(v)),
            extra: Map::new(),
        };
        if platform.normal_variant().is_none() {
            platform.variant = None;
        }
        Ok(platform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_normalises() -> Result<(), PlatformError> {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/aarch64/v8", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>()?.to_string(), expected);
        }
        for bad in ["amd64", "linux/", "linux/arm/v7/x", "linux/a b"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_variant_not_asked_for_is_taken() -> Result<(), PlatformError> {
        let wanted: Platform = "linux/arm64".parse()?;
        let mut offered: Platform = "linux/arm64".parse()?;
        offered.variant = Some("v8".into());
        assert!(offered.satisfies(&wanted) && wanted.satisfies(&offered));
        Ok(())
    }
}
