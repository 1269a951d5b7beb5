//! The build checks, by `BuildKit`'s names (docker/dockerfile 1.26).
//!
//! Names and pages are what users write into `# check=skip=…` and read about, so
//! they are the same; what they say is in words of our own. `docs/checks.md` has
//! the table.

/// A build check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`description` says what they are")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JsonArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JsonArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
    ];

    /// The name, as in `# check=skip=NAME`.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The page about it, if there is one.
    pub fn url(self) -> Option<String> {
        let page = self.facts().1;
        (!page.is_empty()).then(|| format!("https://docs.docker.com/go/dockerfile/rule/{page}/"))
    }

    /// What it asks for.
    pub fn description(self) -> &'static str {
        self.facts().2
    }

    /// Whether it is off unless the file turns it on.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Whether a stage that a build does not need is left alone.
    pub fn only_where_needed(self) -> bool {
        matches!(
            self,
            Self::MultipleInstructionsDisallowed
                | Self::LegacyKeyValueFormat
                | Self::SecretsUsedInArgOrEnv
        )
    }

    /// Name, page and description.
    fn facts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::StageNameCasing => {
                ("StageNameCasing", "stage-name-casing", "the name of a stage is in lower case")
            }
            Self::FromAsCasing => {
                ("FromAsCasing", "from-as-casing", "AS is written in the same case as its FROM")
            }
            Self::NoEmptyContinuation => (
                "NoEmptyContinuation",
                "no-empty-continuation",
                "no empty line stands within a continued instruction; it will be an error one day",
            ),
            Self::ConsistentInstructionCasing => (
                "ConsistentInstructionCasing",
                "consistent-instruction-casing",
                "all instructions of a file are in upper case, or all are in lower case",
            ),
            Self::DuplicateStageName => {
                ("DuplicateStageName", "duplicate-stage-name", "no two stages have one name")
            }
            Self::ReservedStageName => (
                "ReservedStageName",
                "reserved-stage-name",
                "no stage is called scratch or context",
            ),
            Self::JsonArgsRecommended => (
                "JSONArgsRecommended",
                "json-args-recommended",
                "CMD and ENTRYPOINT are JSON arrays, so that signals reach the program and not a shell",
            ),
            Self::MaintainerDeprecated => (
                "MaintainerDeprecated",
                "maintainer-deprecated",
                "the author is a label; MAINTAINER is deprecated",
            ),
            Self::UndefinedArgInFrom => (
                "UndefinedArgInFrom",
                "undefined-arg-in-from",
                "FROM uses variables that an ARG before it declares",
            ),
            Self::WorkdirRelativePath => (
                "WorkdirRelativePath",
                "workdir-relative-path",
                "the first WORKDIR is absolute, so that it does not depend on the base image",
            ),
            Self::UndefinedVar => {
                ("UndefinedVar", "undefined-var", "a variable is declared before it is used")
            }
            Self::MultipleInstructionsDisallowed => (
                "MultipleInstructionsDisallowed",
                "multiple-instructions-disallowed",
                "a stage has one CMD, ENTRYPOINT and HEALTHCHECK at most, as only the last counts",
            ),
            Self::LegacyKeyValueFormat => (
                "LegacyKeyValueFormat",
                "legacy-key-value-format",
                "ENV and LABEL are written key=value, not key value",
            ),
            Self::InvalidBaseImagePlatform => (
                "InvalidBaseImagePlatform",
                "",
                "a base image is for the platform that is built for",
            ),
            Self::RedundantTargetPlatform => (
                "RedundantTargetPlatform",
                "redundant-target-platform",
                "FROM --platform=$TARGETPLATFORM is left out, as it is the default",
            ),
            Self::SecretsUsedInArgOrEnv => (
                "SecretsUsedInArgOrEnv",
                "secrets-used-in-arg-or-env",
                "no secret is in an ARG or ENV, as these stay in the image",
            ),
            Self::InvalidDefaultArgInFrom => (
                "InvalidDefaultArgInFrom",
                "invalid-default-arg-in-from",
                "the defaults of global ARGs make a valid base image",
            ),
            Self::FromPlatformFlagConstDisallowed => (
                "FromPlatformFlagConstDisallowed",
                "from-platform-flag-const-disallowed",
                "the --platform of FROM is a variable, or the stage's name says it",
            ),
            Self::CopyIgnoredFile => (
                "CopyIgnoredFile",
                "copy-ignored-file",
                "COPY and ADD take nothing that .dockerignore leaves out",
            ),
            Self::InvalidDefinitionDescription => (
                "InvalidDefinitionDescription",
                "invalid-definition-description",
                "the comment above a stage or an ARG is its description and begins with its name, or an empty line or comment stands between",
            ),
            Self::ExposeProtoCasing => (
                "ExposeProtoCasing",
                "expose-proto-casing",
                "the protocol of EXPOSE is in lower case",
            ),
            Self::ExposeInvalidFormat => (
                "ExposeInvalidFormat",
                "expose-invalid-format",
                "EXPOSE has neither an address nor a port of the host; it will be an error one day",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_pages_are_distinct_and_belong_together() {
        let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            let Some(url) = rule.url() else { continue };
            let page = url.trim_end_matches('/').rsplit('/').next().unwrap();
            assert_eq!(page.replace('-', ""), rule.name().to_lowercase());
        }
        assert_eq!(Rule::ALL.iter().filter(|rule| rule.url().is_none()).count(), 1);
    }

    #[test]
    fn the_documentation_has_them_all() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/checks.md");
        let text = std::fs::read_to_string(file).unwrap();
        for rule in Rule::ALL {
            let (name, description) = (rule.name(), rule.description());
            let row = match rule.url() {
                Some(url) => format!("| [{name}]({url}) | {description} |\n"),
                None => format!("| {name} | {description} |\n"),
            };
            assert!(text.contains(&row), "{row}");
        }
    }
}
