//! Texts with `{{variable}}` and `{{variable:argument}}`: tags, commit messages, branch names. Pure.
//!
//! A variable that means nothing is an error, so a slip is never part of a tag or a message.

/// A text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable { name: String, argument: Option<String> },
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("{0:?}: \"{{{{\" is not closed by \"}}}}\"")]
    Open(String),
    /// A variable that means nothing here.
    #[error("{{{{{name}}}}} is no variable; there are {}", known.join(", "))]
    Unknown {
        /// Its name.
        name: String,
        /// Those that there are.
        known: &'static [&'static str],
    },
    /// A variable that has no value here.
    #[error("{{{{{name}}}}} has no value: {problem}")]
    Absent {
        /// Its name.
        name: String,
        /// Why.
        problem: String,
    },
    /// What stands after the colon means nothing.
    #[error("{{{{{name}:{argument}}}}}: {problem}")]
    Argument {
        /// The variable.
        name: String,
        /// What stands there.
        argument: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Template {
    /// Reads a template; what it uses must be in `known`.
    pub fn parse(text: &str, known: &'static [&'static str]) -> Result<Self, TemplateError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let inside = after.split_once("}}");
            let (inside, after) = inside.ok_or_else(|| TemplateError::Open(text.to_owned()))?;
            let (name, argument) = match inside.split_once(':') {
                Some((name, argument)) => (name, Some(argument.to_owned())),
                None => (inside, None),
            };
            let name = name.trim().to_owned();
            if !known.contains(&name.as_str()) {
                return Err(TemplateError::Unknown { name, known });
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Variable { name, argument });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Whether it uses a variable.
    pub fn uses(&self, wanted: &str) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Variable { name, .. } if name == wanted))
    }

    /// The text with the values that `value` gives for a name and its argument.
    pub fn fill<E>(
        &self,
        mut value: impl FnMut(&str, Option<&str>) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text += piece,
                Piece::Variable { name, argument } => text += &value(name, argument.as_deref())?,
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["a", "b"];

    fn filled(text: &str) -> Result<String, String> {
        let template = Template::parse(text, KNOWN).map_err(|e| e.to_string())?;
        template.fill(|name, argument| match argument {
            Some("bad") => Err("no".to_owned()),
            Some(argument) => Ok(format!("<{name}|{argument}>")),
            None => Ok(format!("<{name}>")),
        })
    }

    #[test]
    fn fills_in_what_is_known() {
        for (text, expected) in [
            ("", Ok("")),
            ("x", Ok("x")),
            ("{{a}}", Ok("<a>")),
            ("x{{ a }}-{{b:%H:%M}}}}", Ok("x<a>-<b|%H:%M>}}")),
            ("{a} }} {", Ok("{a} }} {")),
            ("{{a}", Err("\"{{a}\": \"{{\" is not closed by \"}}\"")),
            ("{{c}}", Err("{{c}} is no variable; there are a, b")),
            ("{{}}", Err("{{}} is no variable; there are a, b")),
            ("{{a:bad}}", Err("no")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(filled(text), expected, "{text}");
        }
        let template = Template::parse("{{a}}", KNOWN).unwrap();
        assert!(template.uses("a") && !template.uses("b"));
    }
}
