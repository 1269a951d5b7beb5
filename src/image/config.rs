//! The image configuration, complete: OCI's keys, Docker's extensions, and all others kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{DiffId, Platform};

/// An image configuration (OCI image specification, config.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor architecture.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of the image runs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: RuntimeConfig,
    /// The layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// What was done to make the image, the first step first.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Keys that yado does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The part of the configuration that a runtime reads.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeConfig {
    /// `user[:group]`, by name or number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `port[/protocol]`.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `NAME=value`, in order.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// What is run, or the arguments of the entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that are volumes.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Value>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How a container's health is found out (Docker's extension).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for images built on this one (Docker's extension).
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of shell-form instructions (Docker's extension).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Keys that yado does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A health check (Docker's extension); durations in nanoseconds, 0 is inherited.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// When a check counts as hung.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Time that a container gets to start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Time between two checks while starting.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures in a row that make a container unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
}

/// The layers of a configuration, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed layers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One step of an image's history.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step has no layer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    /// Keys that yado does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageConfig {
    /// The configuration of `FROM scratch`: nothing but a platform.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            created: None,
            author: None,
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            config: RuntimeConfig::default(),
            rootfs: RootFs::default(),
            history: Vec::new(),
            extra: Map::new(),
        }
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            extra: Map::new(),
        }
    }
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// Docker and others write `null` for an empty list or map.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loses_nothing_of_a_docker_configuration() -> Result<(), serde_json::Error> {
        let text = r#"{
            "architecture": "amd64", "os": "linux", "os.version": "10", "docker_version": "20",
            "container_config": {"Hostname": "x"}, "moby.buildkit.buildinfo.v1": "e30=",
            "config": {
                "Env": ["PATH=/bin"], "Cmd": null, "Volumes": null, "OnBuild": ["RUN true"],
                "Healthcheck": {"Test": ["CMD", "a"], "Interval": 5, "StartInterval": 7},
                "Shell": ["/bin/bash", "-c"], "ArgsEscaped": true, "Hostname": ""
            },
            "rootfs": {"type": "layers", "diff_ids": []}, "history": null
        }"#;
        let config: ImageConfig = serde_json::from_str(text)?;
        let back = serde_json::to_value(&config)?;
        assert_eq!(back["os.version"], "10");
        assert_eq!(back["container_config"]["Hostname"], "x");
        assert_eq!(back["moby.buildkit.buildinfo.v1"], "e30=");
        assert_eq!(back["config"]["OnBuild"][0], "RUN true");
        assert_eq!(back["config"]["Healthcheck"]["StartInterval"], 7);
        assert_eq!(back["config"]["Shell"][0], "/bin/bash");
        assert_eq!(back["config"]["ArgsEscaped"], true);
        Ok(())
    }
}
