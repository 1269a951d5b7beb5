//! The stream of changes, taken apart: server-sent events, or JSON objects a line each.
//!
//! Both hold `{"result": …}`, or `{"error": …}` when the server ends the stream.

use serde_json::Value;

/// What an object may take. The largest are applications of thousands of resources.
const LIMIT: usize = 64 << 20;

/// Takes bytes as they come and gives the objects that they make.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    /// How much of the buffer is known to have no line end.
    searched: usize,
    /// The data of the event that is not yet at its end.
    data: Vec<u8>,
}

impl Decoder {
    /// Takes bytes. An error ends the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Value>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut objects = Vec::new();
        let mut begin = 0;
        while let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            let end = self.searched + at;
            let line = &self.buffer[begin..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.searched = end + 1;
            begin = end + 1;
            let object = if line.is_empty() {
                std::mem::take(&mut self.data)
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
                continue;
            } else if line.starts_with(b"{") {
                line.to_vec()
            } else {
                // Comments, names and ids of events.
                continue;
            };
            if !object.is_empty() {
                objects.push(unwrap(&object)?);
            }
        }
        self.buffer.drain(..begin);
        self.searched = self.buffer.len();
        if self.buffer.len() + self.data.len() > LIMIT {
            return Err("an object of the stream is too large".to_owned());
        }
        Ok(objects)
    }
}

fn unwrap(object: &[u8]) -> Result<Value, String> {
    let mut value: Value =
        serde_json::from_slice(object).map_err(|e| format!("an event is not JSON: {e}"))?;
    if let Some(error) = value.get("error") {
        let message = error.get("message").and_then(Value::as_str);
        return Err(message.unwrap_or("the server has ended the stream").to_owned());
    }
    match value.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_both_forms_however_they_are_cut() {
        let stream = ": hello\nevent: x\ndata: {\"result\":\ndata: {\"n\":1}}\n\n\
                      {\"result\":{\"n\":2}}\r\n\ndata:{\"n\":3}\r\n\r\n{\"n\":4}\n{\"n\"";
        for size in [1, 2, 3, 7, 1000] {
            let mut decoder = Decoder::default();
            let pieces = stream.as_bytes().chunks(size);
            let found: Vec<Value> = pieces.flat_map(|p| decoder.push(p).unwrap()).collect();
            let expected: Vec<Value> = (1..5).map(|n| json!({ "n": n })).collect();
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn an_error_in_the_stream_is_one() {
        for (stream, problem) in [
            ("data: {\"error\":{\"message\":\"no\"}}\n\n", "no"),
            ("{\"error\":{}}\n", "the server has ended the stream"),
            ("data: x\n\n", "an event is not JSON"),
        ] {
            let error = Decoder::default().push(stream.as_bytes()).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
