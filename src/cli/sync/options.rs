//! `ARGOCD_OPTS`: flags of the argocd CLI in a variable.

/// What can be given so, as far as it means something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) server: Option<String>,
    pub(super) auth_token: Option<String>,
    pub(super) plaintext: bool,
    pub(super) insecure: bool,
    pub(super) server_crt: Option<String>,
    pub(super) client_crt: Option<String>,
    pub(super) client_key: Option<String>,
    pub(super) grpc_web: bool,
    pub(super) root: Option<String>,
    pub(super) headers: Vec<String>,
    pub(super) config: Option<String>,
    pub(super) context: Option<String>,
    pub(super) core: bool,
    /// Flags that change nothing here.
    pub(super) unused: Vec<String>,
}

impl Options {
    /// Reads the variable. An unknown flag is an error that names it; values are not repeated,
    /// since there may be a token among them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words(text)?.into_iter();
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let boolean = match value.as_deref() {
                None | Some("true") => Some(true),
                Some("false") => Some(false),
                Some(_) => None,
            };
            let slot = match flag.as_str() {
                "--plaintext" => Err(&mut options.plaintext),
                "--insecure" => Err(&mut options.insecure),
                "--grpc-web" => Err(&mut options.grpc_web),
                "--core" => Err(&mut options.core),
                "--server" => Ok(&mut options.server),
                "--auth-token" => Ok(&mut options.auth_token),
                "--server-crt" => Ok(&mut options.server_crt),
                "--client-crt" => Ok(&mut options.client_crt),
                "--client-crt-key" => Ok(&mut options.client_key),
                "--grpc-web-root-path" => Ok(&mut options.root),
                "--config" => Ok(&mut options.config),
                "--argocd-context" => Ok(&mut options.context),
                "--header" | "-H" => {
                    let value = value.or_else(|| words.next());
                    options.headers.push(value.ok_or_else(|| needs(&flag))?);
                    continue;
                }
                "--http-retry-max" | "--loglevel" | "--logformat" | "--prompts-enabled" => {
                    if value.is_none() {
                        words.next().ok_or_else(|| needs(&flag))?;
                    }
                    options.unused.push(flag);
                    continue;
                }
                flag if flag.starts_with('-') => {
                    return Err(format!("{flag} is not known, or has no meaning here"));
                }
                _ => return Err("it holds a word that is no flag".to_owned()),
            };
            match slot {
                Ok(text) => {
                    let value = value.or_else(|| words.next()).ok_or_else(|| needs(&flag))?;
                    *text = Some(value).filter(|value| !value.is_empty());
                }
                Err(switch) => {
                    *switch = boolean.ok_or_else(|| format!("{flag} is true or false"))?;
                }
            }
        }
        Ok(options)
    }
}

fn needs(flag: &str) -> String {
    format!("{flag} needs a value")
}

/// Words as a shell makes them, without expansion.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err("a quote is not closed".to_owned()),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_the_cli_does() {
        let text = "--grpc-web --insecure=false --server 'a b' --header=\"X: \\\"y\\\"\" -H Z:\\ 1 \
                    --http-retry-max 3 --auth-token=t --grpc-web-root-path /cd";
        let expected = Options {
            server: Some("a b".into()),
            auth_token: Some("t".into()),
            grpc_web: true,
            root: Some("/cd".into()),
            headers: vec!["X: \"y\"".into(), "Z: 1".into()],
            unused: vec!["--http-retry-max".into()],
            ..Options::default()
        };
        assert_eq!(Options::parse(text), Ok(expected));
        assert_eq!(Options::parse("  "), Ok(Options::default()));
    }

    #[test]
    fn what_is_unknown_is_named_and_no_value_is() {
        for (text, problem) in [
            ("--port-forward", "--port-forward is not known"),
            ("--auth-token", "--auth-token needs a value"),
            ("secret", "a word that is no flag"),
            ("--plaintext=secret", "--plaintext is true or false"),
            ("--server 'secret", "a quote is not closed"),
        ] {
            let error = Options::parse(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
