//! Any YAML: no panic, no hang, spans of the text. The first line is `PATH=VALUE`, the rest the
//! text. A change that is made is what was asked for, and text from before it and behind it stays.

#![no_main]

use libfuzzer_sys::fuzz_target;
use yado_fuzz::gitops::splice::{Change, apply, assignment, select};
use yado_fuzz::yaml::{Node, Value, parse, to_json};

fuzz_target!(|input: &str| {
    let (line, text) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(stream) = parse(text) else { return };
    for document in &stream.documents {
        assert!(text.get(document.span.clone()).is_some());
        document.root.iter().for_each(|root| check(text, root));
        let _ = to_json(text, document);
    }
    let Ok((path, value)) = assignment(line) else { return };
    let Ok(targets) = select(text, &stream, &path, true) else { return };
    for target in targets.iter().take(3) {
        let (document, path) = (target.document, target.path.clone());
        let set = Change::set(document, path.clone(), Value::text(&value));
        if let Ok(new) = apply(text, &[set.clone()]) {
            assert_eq!(apply(&new, &[set]).as_deref(), Ok(new.as_str()));
        }
        let _ = apply(text, &[Change::remove(document, path.clone())]);
        let list = Value::List(vec![Value::text(&value)]);
        let _ = apply(text, &[Change::set(document, path, list)]);
    }
});

fn check(text: &str, node: &Node) {
    node.walk(&mut |node| assert!(text.get(node.outer()).is_some()));
}
