//! A selector of an object, in the words of a query.

use serde_json::Value;

/// The `matchLabels` and `matchExpressions` of a selector as one `labelSelector`; labels alone,
/// as a `ReplicationController` has them, too. `None` for one that selects nothing or says
/// something unknown.
pub fn selector(selector: &Value) -> Option<String> {
    let map = selector.as_object()?;
    let old = !map.contains_key("matchLabels") && !map.contains_key("matchExpressions");
    let labels = if old { Some(map) } else { map.get("matchLabels").and_then(Value::as_object) };
    let mut terms = Vec::new();
    for (key, value) in labels.into_iter().flatten() {
        terms.push(format!("{key}={}", value.as_str()?));
    }
    let expressions = map.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression["key"].as_str()?;
        let values = expression["values"].as_array().into_iter().flatten();
        let values = values.map(|value| value.as_str()).collect::<Option<Vec<_>>>()?.join(",");
        terms.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_expressions_become_a_query() {
        for (given, expected) in [
            (json!({"matchLabels": {"app": "web", "tier": "x"}}), Some("app=web,tier=x")),
            (json!({"app": "web"}), Some("app=web")),
            (
                json!({"matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["1", "2"]},
                    {"key": "b", "operator": "NotIn", "values": ["3"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ]}),
                Some("a in (1,2),b notin (3),c,!d"),
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}), None),
            (json!({}), None),
            (json!(null), None),
        ] {
            assert_eq!(selector(&given).as_deref(), expected, "{given}");
        }
    }
}
