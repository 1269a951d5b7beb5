//! Values to be written, in the order in which they are written.

use serde_json::Value as Json;

/// A value to be written into a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string. It is quoted where plain text would be read as something else.
    Text(String),
    /// A scalar that is written as it stands: a number, `true`, `null`.
    Raw(String),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// A string.
    pub fn text(value: impl Into<String>) -> Self {
        Self::Text(value.into())
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Json::Object(map) => {
                Self::Map(map.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => Self::Raw(json.to_string()),
        }
    }
}
