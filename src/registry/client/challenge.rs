//! `WWW-Authenticate`: what a registry asks for (RFC 9110, section 11.6.1).

/// How a registry wants to be shown who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token of the server `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        /// Space-separated scopes that the failing request needs.
        scope: Option<String>,
    },
}

/// The first challenge among all headers that can be met; others, such as
/// Negotiate, are skipped.
pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    headers.flat_map(challenges).find_map(|(scheme, parameters)| {
        let get = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            Some(Challenge::Basic)
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Some(Challenge::Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope"),
            })
        } else {
            None
        }
    })
}

type Parameters = Vec<(String, String)>;

/// Splits one header into its challenges. A scheme is a word that is not
/// followed by `=`; a comma stands between parameters as well as challenges.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            if after.is_empty() {
                return found;
            }
            rest = &after[1..];
            continue;
        }
        let after_blank = after.trim_start_matches([' ', '\t']);
        match (after_blank.strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, after) = take_value(value.trim_start_matches([' ', '\t']));
                parameters.push((word.to_owned(), value));
                rest = after;
            }
            (Some(value), None) => rest = value,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// Takes a token or a quoted string from the begin of `text`.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_that_can_be_met() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
                scope: scope.map(Into::into),
            })
        };
        for (headers, expected) in [
            (&["Basic realm=\"r\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &[r#"Bearer realm="https://a/t",service="s",scope="repository:a:pull,push""#],
                bearer("https://a/t", Some("s"), Some("repository:a:pull,push")),
            ),
            (
                &[r#"bEaReR  REALM = "https://a/t" , scope="a:b:c d:e:f\"g""#],
                bearer("https://a/t", None, Some("a:b:c d:e:f\"g")),
            ),
            (
                &[r#"Negotiate, Bearer realm="https://a/t", Basic realm="x""#],
                bearer("https://a/t", None, None),
            ),
            (&["Negotiate YWJj==", "Basic realm=x"], Some(Challenge::Basic)),
            (&[r#"Bearer service="no realm""#, "Basic realm=x"], Some(Challenge::Basic)),
            (&["Bearer realm=https://a/t,service=s"], bearer("https://a/t", Some("s"), None)),
            (&["Digest realm=\"x\""], None),
            (&["", "=,=\"", "Bearer realm=\"open"], bearer("open", None, None)),
        ] {
            assert_eq!(parse(headers.iter().copied()), expected, "{headers:?}");
        }
    }
}
