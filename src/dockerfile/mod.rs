//! The Dockerfile language (docker/dockerfile 1.26): text to typed instructions.
//!
//! Three layers, each pure: `lines` joins physical lines into logical ones and
//! collects heredoc bodies; [`parse`] makes typed [`Instruction`]s of them, with
//! every word unexpanded and with its [`Span`]; [`expand`] expands a word when
//! its variables are known. Nothing here fails as a whole: mistakes are
//! [`Diagnostic`]s, all of them, beside whatever could be understood.
//!
//! [`Ignore`] reads `.dockerignore`, [`Pattern`] matches the wildcards of COPY.

mod source;
pub use source::{Source, Span, Spanned, Word};

mod rule;
pub use rule::Rule;

mod diagnostic;
pub use diagnostic::{Diagnostic, Severity, nearest, render};

mod lines;
pub use lines::{Directive, Heredoc};

mod words;

mod instruction;
pub use instruction::{
    Add, ArgDeclaration, CommandLine, Copy, Device, Dockerfile, From, Healthcheck, InlineSource,
    Instruction, InstructionKind, KeyValue, Mount, MountKind, Network, Onbuild, Run, Security,
    Sharing, Transfer,
};

mod flags;
mod mount;

mod parse;
pub use parse::parse;

mod substitute;

#[cfg(any(test, fuzzing))]
pub mod print;

mod expand;
pub use expand::{ExpandError, Expansion, expand, expand_heredoc};

mod comments;

mod checks;
pub use checks::check;

mod check_options;
pub use check_options::CheckOptions;

mod pattern;
pub use pattern::{Pattern, PatternError, has_wildcard};

mod ignore;
pub use ignore::{Ignore, IgnoreError};

#[cfg(test)]
mod corpus;

#[cfg(test)]
mod tables;

#[cfg(test)]
mod roundtrip;

#[cfg(test)]
mod nodes;

#[cfg(test)]
mod second_reader;
