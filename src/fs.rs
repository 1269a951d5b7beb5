//! Confined file operations: on directory descriptors, never on path strings.
