//! A process's output, line by line.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

use super::run::Output;
use crate::report::Stream;

/// The longest line that is passed on in one piece, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Reads a pipe and passes its lines on, without their ends.
pub(super) struct Lines<'a> {
    pipe: PipeReader,
    stream: Stream,
    sink: Output<'a>,
    /// What came of a line that is not complete.
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(pipe: PipeReader, stream: Stream, sink: Output<'a>) -> Self {
        Self { pipe, stream, sink, line: Vec::new() }
    }

    /// Reads once; whether more may come.
    pub(super) fn pass_on(&mut self) -> bool {
        let mut part = [0; 16 * 1024];
        let count = match self.pipe.read(&mut part) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            // An error ends the output as its end does: the step is gone.
            other => other.unwrap_or(0),
        };
        for piece in part[..count].split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let mut text = text;
            while self.line.len() + text.len() > LONGEST_LINE {
                let (now, later) = text.split_at(LONGEST_LINE - self.line.len());
                self.line.extend_from_slice(now);
                self.tell();
                text = later;
            }
            self.line.extend_from_slice(text);
            if is_whole {
                self.tell();
            }
        }
        if count == 0 && !self.line.is_empty() {
            self.tell();
        }
        count > 0
    }

    fn tell(&mut self) {
        (self.sink)(self.stream, &self.line);
        self.line.clear();
    }
}

impl AsFd for Lines<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Mutex;

    #[test]
    fn lines_come_whole_and_long_ones_in_pieces() {
        let (pipe, mut to_pipe) = io::pipe().unwrap();
        let long = "x".repeat(LONGEST_LINE + 5);
        let text = format!("one\n\n{long}\ntwo\nrest");
        let expected = ["one", "", &long[..LONGEST_LINE], "xxxxx", "two", "rest"];
        let writer = std::thread::spawn(move || to_pipe.write_all(text.as_bytes()).unwrap());
        let told = Mutex::new(Vec::new());
        let sink = |_: Stream, line: &[u8]| {
            told.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        };
        let mut lines = Lines::new(pipe, Stream::Stdout, &sink);
        while lines.pass_on() {}
        writer.join().unwrap();
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
