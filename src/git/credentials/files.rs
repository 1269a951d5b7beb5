//! `.git-credentials`: a URL with name and password on each line (`git-credential-store`).

use super::{Credential, CredentialError};
use crate::git::url::decode;
use crate::net::Url;

/// Reads the lines. Those that are no URL are an error; comments and empty lines are left out.
pub(super) fn git_credentials(text: &str) -> Result<Vec<(Url, Credential)>, CredentialError> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let fail = |problem| CredentialError { line, problem };
        let url: Url =
            text.parse().map_err(|_| fail("this is no URL with a name and a password"))?;
        // The file serves other programs too.
        if !matches!(url.scheme(), "http" | "https") {
            continue;
        }
        let Some(password) = url.password() else {
            return Err(fail("the URL holds no password"));
        };
        let (user, password) = (decode(url.username()), decode(password));
        found.push((url, Credential::Basic { user, password }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        let text = "# mine\nhttps://me:a%40b@h.io\n\nhttp://x:y@h.io:8080/org\nimap://a:b@h\n";
        let found = git_credentials(text).unwrap();
        let shown: Vec<_> =
            found.iter().map(|(url, c)| (url.host_str().unwrap(), url.path(), c.clone())).collect();
        let basic = |user: &str, password: &str| Credential::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        assert_eq!(shown, [("h.io", "/", basic("me", "a@b")), ("h.io", "/org", basic("x", "y"))]);
    }

    #[test]
    fn an_error_names_the_line_and_not_its_words() {
        for (text, line) in [("secret", 1), ("\nhttps://me@h.io", 2), ("https://", 1)] {
            let error = git_credentials(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
