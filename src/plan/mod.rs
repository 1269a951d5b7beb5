//! Instructions to stages and steps, expanded and pruned.
