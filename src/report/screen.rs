//! A terminal behind a plain writer, for `indicatif` to draw on.
//!
//! One drawing is collected and written in one piece, which does not flicker
//! and does not mix with other writers' lines.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::Size;
use super::text::char_width;
use super::writer::Writer;

/// Stands for the second column of a wide character; never reaches the terminal.
///
/// `indicatif` counts characters, as it is built here, and fills each line up to the right
/// border by that count. A line for it has one character for each column, with this one
/// behind those that are wide.
const SECOND_COLUMN: char = '\0';

pub(super) struct Screen {
    out: Arc<Writer>,
    size: Arc<dyn Fn() -> Size + Send + Sync>,
    drawing: Mutex<String>,
}

impl Screen {
    pub(super) fn new(out: Arc<Writer>, size: Arc<dyn Fn() -> Size + Send + Sync>) -> Self {
        Self { out, size, drawing: Mutex::default() }
    }

    fn drawing(&self) -> MutexGuard<'_, String> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves by `n`; zero would be taken for one.
    fn move_cursor(&self, n: usize, direction: char) {
        if n > 0 {
            // Writing to a string does not fail.
            let _ = write!(self.drawing(), "\u{1b}[{n}{direction}");
        }
    }
}

/// `text` with one character for each column that it takes; marks without a width are lost.
pub(super) fn columns(text: &str) -> String {
    let mut even = String::with_capacity(text.len());
    for c in text.chars() {
        match char_width(c) {
            0 => {}
            1 => even.push(c),
            _ => even.extend([c, SECOND_COLUMN]),
        }
    }
    even
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        (self.size)().columns
    }

    fn height(&self) -> u16 {
        (self.size)().rows
    }

    fn move_cursor_up(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> std::io::Result<()> {
        self.write_str(s)?;
        self.drawing().push('\n');
        Ok(())
    }

    fn write_str(&self, s: &str) -> std::io::Result<()> {
        self.drawing().extend(s.chars().filter(|c| *c != SECOND_COLUMN));
        Ok(())
    }

    fn clear_line(&self) -> std::io::Result<()> {
        self.drawing().push_str("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> std::io::Result<()> {
        let drawing = std::mem::take(&mut *self.drawing());
        if !drawing.is_empty() {
            self.out.write(drawing.as_bytes());
        }
        Ok(())
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}
