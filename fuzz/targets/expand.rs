//! Any word with any variables: no panic, no hang, a result of bounded length. The first line
//! is the word, each further one `NAME=value`.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use yado_fuzz::dockerfile::{Ignore, Pattern, expand, expand_heredoc};

/// What values may add to what is written.
const MAX_GROWTH: usize = 1 << 20;

fuzz_target!(|text: &str| {
    let (word, settings) = text.split_once('\n').unwrap_or((text, ""));
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in settings.lines().filter_map(|line| line.split_once('=')) {
        // `NAME*=value` is a long value.
        match name.strip_suffix('*') {
            Some(name) => variables.insert(name, value.repeat(1000)),
            None => variables.insert(name, value.to_owned()),
        };
    }
    let lookup = |name: &str| variables.get(name).cloned();
    for escape in ['\\', '`'] {
        if let Ok(done) = expand(word, escape, &lookup) {
            assert!(done.text.len() <= word.len() + MAX_GROWTH);
            assert!(done.words.iter().all(|word| !word.is_empty()));
            let length: usize = done.words.iter().map(String::len).sum();
            assert!(length <= done.text.len());
            assert!(done.unset.iter().all(|name| !variables.contains_key(name.as_str())));
        }
    }
    if let Ok(done) = expand_heredoc(settings, &lookup) {
        assert!(done.text.len() <= settings.len() + MAX_GROWTH);
    }
    // The same bytes as patterns.
    if let Ok(pattern) = Pattern::parse(word) {
        let _ = pattern.matches(settings);
    }
    if let Ok(ignore) = Ignore::parse(settings) {
        let _ = (ignore.matches(word), ignore.may_hold_exceptions(word));
    }
});
