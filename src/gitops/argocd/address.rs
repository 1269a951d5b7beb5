//! Where the server is: `HOST[:PORT][/ROOT]`, as the argocd CLI takes it, or a URL.

use crate::net::Url;

/// The address of a server, which ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address. `plaintext` is http where the text does not say which; `root` is a path
    /// in front of the interface, besides one that the text holds.
    pub fn parse(text: &str, plaintext: bool, root: Option<&str>) -> Result<Self, String> {
        let wrong = |problem: &str| format!("server {text:?}: {problem}");
        let full = match text.split_once("://") {
            Some(("https", _)) if plaintext => return Err(wrong("it is https and not plaintext")),
            Some(("http" | "https", _)) => text.to_owned(),
            Some(_) => return Err(wrong("it is neither http nor https")),
            None if plaintext => format!("http://{text}"),
            None => format!("https://{text}"),
        };
        // The text is not repeated where it may hold a password.
        let hidden = "server: it holds a user name or password, which have flags of their own";
        let mut url: Url = full.parse().map_err(|_| wrong("expected HOST[:PORT][/ROOT]"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(hidden.to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("expected HOST[:PORT][/ROOT]"));
        }
        let root = root.unwrap_or_default().trim_matches('/');
        let path = url.path().trim_end_matches('/');
        let path = if root.is_empty() { format!("{path}/") } else { format!("{path}/{root}/") };
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The URL of a path of the interface, given by its parts.
    pub fn join(&self, parts: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(parts);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (name, value)));
        }
        url
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_or_urls() {
        for (text, plaintext, root, expected) in [
            ("argo.example", false, None, Some("https://argo.example/")),
            ("argo.example:8443", false, None, Some("https://argo.example:8443/")),
            ("argo.example:80", true, None, Some("http://argo.example/")),
            ("argo.example/cd", false, None, Some("https://argo.example/cd/")),
            ("argo.example", false, Some("/cd/"), Some("https://argo.example/cd/")),
            ("argo.example/a/", false, Some("b"), Some("https://argo.example/a/b/")),
            ("http://argo.example", false, None, Some("http://argo.example/")),
            ("https://argo.example", true, None, None),
            ("grpc://argo.example", false, None, None),
            ("https://u:p@argo.example", false, None, None),
            ("argo.example?x", false, None, None),
            ("", false, None, None),
            ("[::1]:80", true, None, Some("http://[::1]/")),
        ] {
            let found = Address::parse(text, plaintext, root).ok().map(|a| a.0.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let secret = Address::parse("u:secret@h", false, None).unwrap_err();
        assert!(!secret.contains("secret"), "{secret}");
    }

    #[test]
    fn parts_and_queries_are_escaped() {
        let address = Address::parse("h/cd", false, None).unwrap();
        let url = address.join(&["api", "v1", "applications", "a/b"], &[("x", "y z".into())]);
        assert_eq!(url.as_str(), "https://h/cd/api/v1/applications/a%2Fb?x=y+z");
        assert_eq!(address.to_string(), "https://h/cd");
    }
}
