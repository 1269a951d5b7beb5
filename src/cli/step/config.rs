//! `--config FILE`: flags of a step from a file.
//!
//! A mapping from names of flags to values, `branch: main` for `--branch main`; a list is the same
//! flag several times, `true` a switch, a mapping `NAME=VALUE` several times. What the command line
//! says comes after and replaces it, or adds to it where a flag may be repeated; a variable of the
//! flag replaces it too. An unknown name is an error.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use serde_json::Value;

use crate::cli::exit::CliError;

/// Puts the flags of the file that `args` names behind the command's name. `command` is the whole
/// program's; nothing is changed when no file is named.
pub(in crate::cli) fn expand(
    command: &Command,
    mut args: Vec<OsString>,
    steps: &[&str],
) -> Result<Vec<OsString>, CliError> {
    let Some((leaf, behind)) = leaf(command, &args, steps) else { return Ok(args) };
    let Some(file) = named(leaf, &args[behind..]) else { return Ok(args) };
    let file = Path::new(&file);
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| CliError::Missing(format!("--config {shown}: {e}")))?;
    let wrong = |problem: String| CliError::Usage(format!("--config {shown}: {problem}"));
    let value = read(&text).map_err(wrong)?;
    let flags = flags(leaf, &value).map_err(wrong)?;
    args.splice(behind..behind, flags);
    Ok(args)
}

/// The command that `args` mean, and the place behind its name.
fn leaf<'a>(
    command: &'a Command,
    args: &[OsString],
    steps: &[&str],
) -> Option<(&'a Command, usize)> {
    let at = args.iter().skip(1).position(|arg| steps.iter().any(|step| arg == step))? + 1;
    let mut command = command.find_subcommand(&args[at])?;
    let mut behind = at + 1;
    while let Some(below) = args.get(behind).and_then(|arg| command.find_subcommand(arg)) {
        command = below;
        behind += 1;
    }
    Some((command, behind))
}

/// The file that is named on the command line, else by the flag's variable.
fn named(leaf: &Command, args: &[OsString]) -> Option<OsString> {
    let mut args = args.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().cloned();
        }
        if let Some(file) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    leaf.get_arguments().find(|arg| arg.get_long() == Some("config")).and_then(variable)
}

/// What the flag's variable holds.
fn variable(arg: &Arg) -> Option<OsString> {
    let value = arg.get_env().and_then(crate::cli::environment::raw);
    value.filter(|value| !value.is_empty())
}

fn read(text: &str) -> Result<Value, String> {
    let stream = crate::yaml::parse(text).map_err(|e| e.to_string())?;
    match stream.documents.as_slice() {
        [] => Ok(Value::Object(serde_json::Map::new())),
        [document] => crate::yaml::to_json(text, document).map_err(|e| e.to_string()),
        _ => Err("it holds more than one document".to_owned()),
    }
}

/// The flags, as they would stand on the command line.
fn flags(leaf: &Command, value: &Value) -> Result<Vec<OsString>, String> {
    let map = value.as_object().ok_or("expected a mapping from names of flags to values")?;
    let mut flags = Vec::new();
    for (name, value) in map {
        let known = leaf.get_arguments().find(|arg| arg.get_long() == Some(name.as_str()));
        let Some(arg) = known.filter(|_| name != "config") else {
            return Err(format!("there is no flag --{name} of {}", leaf.get_name()));
        };
        if variable(arg).is_some() {
            continue;
        }
        let switch = !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        match (switch, value) {
            (true, Value::Bool(true)) => flags.push(format!("--{name}").into()),
            (true, Value::Bool(false)) => {}
            (true, _) => return Err(format!("{name}: expected true or false")),
            (false, value) => {
                for value in texts(value).map_err(|problem| format!("{name}: {problem}"))? {
                    let mut flag = OsString::from(format!("--{name}="));
                    flag.push(OsStr::new(&value));
                    flags.push(flag);
                }
            }
        }
    }
    Ok(flags)
}

/// The values of one flag.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(bool) => Ok(bool.to_string()),
        _ => Err("expected a text, a number, or a list or mapping of such".to_owned()),
    };
    match value {
        Value::Array(items) => items.iter().map(one).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| Ok(format!("{key}={}", one(value)?))).collect()
        }
        value => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use clap::arg;
    use serde_json::json;

    use super::*;

    fn command() -> Command {
        let rollout = Command::new("status").args([arg!(--wait), arg!(--config <FILE>)]);
        Command::new("yado").subcommands([
            Command::new("sync").args([
                arg!(--prune),
                arg!(--server <HOST>),
                arg!(--label <L>).action(ArgAction::Append),
                arg!(--config <FILE>),
            ]),
            Command::new("rollout").subcommand(rollout),
        ])
    }

    #[test]
    fn a_mapping_becomes_flags() {
        let command = command();
        let sync = command.find_subcommand("sync").unwrap();
        for (value, expected) in [
            (json!({}), Ok(vec![])),
            (
                json!({"prune": true, "server": "h:1", "label": ["a=b", 1]}),
                Ok(vec!["--label=a=b", "--label=1", "--prune", "--server=h:1"]),
            ),
            (json!({"prune": false, "label": {"a": "b"}}), Ok(vec!["--label=a=b"])),
            (json!({"prune": "yes"}), Err("prune: expected true or false")),
            (json!({"pruned": true}), Err("there is no flag --pruned of sync")),
            (json!({"config": "x"}), Err("there is no flag --config of sync")),
            (json!([]), Err("expected a mapping from names of flags to values")),
            (
                json!({"server": null}),
                Err("server: expected a text, a number, or a list or mapping of such"),
            ),
        ] {
            let found = flags(sync, &value);
            let found =
                found.map(|all| all.iter().map(|f| f.to_str().unwrap().to_owned()).collect());
            let expected = expected
                .map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>())
                .map_err(str::to_owned);
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn flags_go_behind_the_command_that_is_meant() {
        let command = command();
        let steps = ["sync", "rollout"];
        let args = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (text, expected) in [
            ("yado sync app", Some(("sync", 2))),
            ("yado --isolation auto rollout status x", Some(("status", 5))),
            ("yado build .", None),
        ] {
            let found = leaf(&command, &args(text), &steps);
            assert_eq!(found.map(|(command, at)| (command.get_name(), at)), expected, "{text}");
        }
        let sync = command.find_subcommand("sync").unwrap();
        for (text, expected) in [
            ("app --config f", Some("f")),
            ("app --config=f", Some("f")),
            ("app -- --config=f", None),
        ] {
            assert_eq!(named(sync, &args(text)), expected.map(OsString::from), "{text}");
        }
    }
}
