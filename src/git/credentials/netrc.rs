//! `.netrc`: hosts with a login and a password, as words. `default` is for any host, so it is not
//! taken; macros are left out.

use super::{Credential, CredentialError};

/// Reads the hosts.
pub(super) fn parse(text: &str) -> Result<Vec<(String, Credential)>, CredentialError> {
    let mut found = Vec::new();
    let mut machine: Option<(Option<String>, String, Option<String>)> = None;
    let mut finish = |machine: Option<(Option<String>, String, Option<String>)>| {
        if let Some((Some(host), user, Some(password))) = machine {
            found.push((host, Credential::Basic { user, password }));
        }
    };
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let fail = |problem| CredentialError { line: number, problem };
        let words = words(line).ok_or_else(|| fail("a quote is not closed"))?;
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| fail("a value is missing"));
            match word.as_str() {
                "machine" => {
                    let host = value()?;
                    finish(machine.replace((Some(host), String::new(), None)));
                }
                "default" => finish(machine.replace((None, String::new(), None))),
                "login" | "user" => {
                    let user = value()?;
                    let machine = machine.as_mut();
                    machine.ok_or_else(|| fail("there is no machine before it"))?.1 = user;
                }
                "password" => {
                    let password = value()?;
                    let machine = machine.as_mut();
                    machine.ok_or_else(|| fail("there is no machine before it"))?.2 =
                        Some(password);
                }
                "account" => drop(value()?),
                "macdef" => {
                    // Its lines end with an empty one.
                    for (_, line) in lines.by_ref() {
                        if line.trim().is_empty() {
                            break;
                        }
                    }
                    break;
                }
                _ => return Err(fail("a word is not understood")),
            }
        }
    }
    finish(machine);
    Ok(found)
}

/// The words of a line, up to a comment.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut word = String::new();
            let mut letters = quoted.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at + 1,
                    (_, '\\') => word.push(letters.next()?.1),
                    (_, letter) => word.push(letter),
                }
            };
            words.push(word);
            rest = quoted[end..].trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_machines() {
        let text = "# hosts\nmachine a.io login me password one\nmachine b.io\n\tlogin \"you two\"\n\
                    \tpassword \"a\\\"#b\"\n\taccount x\nmacdef init\nmachine c.io login x password y\n\n\
                    machine d.io password alone\nmachine e.io login nobody\ndefault login x password y\n";
        let found: Vec<String> = parse(text)
            .unwrap()
            .into_iter()
            .map(|(host, credential)| match credential {
                Credential::Basic { user, password } => format!("{host} {user} {password}"),
                Credential::Header(_) => panic!("a header"),
            })
            .collect();
        assert_eq!(found, ["a.io me one", "b.io you two a\"#b", "d.io  alone"]);
    }

    #[test]
    fn an_error_names_the_line_and_not_its_words() {
        for (text, line) in [
            ("machine", 1),
            ("\nlogin x", 2),
            ("machine a password \"secret", 1),
            ("machine a secret b", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
