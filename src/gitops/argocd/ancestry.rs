//! Whether a commit contains another: what makes a newer commit on top of ours a success.

use std::future::Future;

use super::model::Source;

/// Whether one commit contains another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contains {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Nobody could be asked.
    Unknown,
}

/// Knows the history of repositories.
pub trait Ancestry: Send + Sync + 'static {
    /// Whether the commit `head` of this source's repository is `ours` or one after it.
    fn contains(
        &self,
        source: &Source,
        head: &str,
        ours: &str,
    ) -> impl Future<Output = Contains> + Send;
}

/// Knows nothing but equality.
#[derive(Clone, Copy, Debug, Default)]
pub struct Equality;

impl Ancestry for Equality {
    async fn contains(&self, _: &Source, head: &str, ours: &str) -> Contains {
        if same(head, ours) { Contains::Yes } else { Contains::Unknown }
    }
}

/// Whether two revisions are the same; ours may be the beginning of a commit's id.
pub fn same(head: &str, ours: &str) -> bool {
    let id = |text: &str| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if id(head) && id(ours) {
        return head.len() >= ours.len()
            && head.as_bytes()[..ours.len()].eq_ignore_ascii_case(ours.as_bytes());
    }
    // A version of a chart, or nothing.
    !ours.is_empty() && head == ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_the_same_by_their_beginning() {
        let full = "0123456789abcdef0123456789abcdef01234567";
        for (head, ours, expected) in [
            (full, full, true),
            (full, "0123456", true),
            (full, "0123456789ABC", true),
            (full, "012345", false),
            (full, "1234567", false),
            ("0123456", full, false),
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "1.2", false),
            ("", "", false),
        ] {
            assert_eq!(same(head, ours), expected, "{head} {ours}");
        }
    }
}
