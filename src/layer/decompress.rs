//! Decompression by what the bytes are, never by what a media type says of them.
//!
//! gzip may have many members and may be padded with zeros, as tapes are; any
//! other byte behind it is an error. zstd may have many frames, some to skip,
//! and a window of at most 128 MiB. bzip2 and xz are for the archives of ADD;
//! an xz block is held in memory as a whole.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not, as far as its first bytes tell.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Format {
    /// How many bytes [`Format::of`] needs to decide.
    pub const HEAD: usize = 6;

    /// The format of the file that begins with `head`.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame before one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }
}

/// The decompressed content of `reader`, whatever its format, and the format.
pub fn open(reader: impl Read + Send + 'static) -> io::Result<(Format, Box<dyn Read + Send>)> {
    let mut reader = reader;
    let mut head = Vec::new();
    reader.by_ref().take(Format::HEAD as u64).read_to_end(&mut head)?;
    let format = Format::of(&head);
    let reader = BufReader::with_capacity(128 * 1024, Cursor::new(head).chain(reader));
    let content: Box<dyn Read + Send> = match format {
        Format::Plain => Box::new(reader),
        Format::Gzip => Box::new(Gzip::new(reader)),
        Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        Format::Xz => Box::new(Xz::new(reader)),
    };
    Ok((format, content))
}

/// Members of gzip in a row, then perhaps zeros.
#[derive(Debug)]
struct Gzip<R: BufRead>(State<R>);

#[derive(Debug)]
enum State<R: BufRead> {
    Member(Box<flate2::bufread::GzDecoder<R>>),
    Between(R),
    Padding(R),
    End,
    Failed,
}

impl<R: BufRead> Gzip<R> {
    fn new(reader: R) -> Self {
        Self(State::Between(reader))
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.0 = match std::mem::replace(&mut self.0, State::Failed) {
                State::Member(mut member) => match member.read(buffer) {
                    Ok(0) => State::Between(member.into_inner()),
                    result => {
                        self.0 = State::Member(member);
                        return result;
                    }
                },
                State::Between(mut reader) => match fill(&mut reader)?.first() {
                    None => State::End,
                    Some(0) => State::Padding(reader),
                    Some(_) => State::Member(Box::new(flate2::bufread::GzDecoder::new(reader))),
                },
                State::Padding(mut reader) => {
                    let bytes = fill(&mut reader)?;
                    if bytes.iter().any(|&byte| byte != 0) {
                        let message = "the gzip file is followed by something else";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                    }
                    match bytes.len() {
                        0 => State::End,
                        count => {
                            reader.consume(count);
                            State::Padding(reader)
                        }
                    }
                }
                State::End => {
                    self.0 = State::End;
                    return Ok(0);
                }
                State::Failed => return Err(io::Error::other("reading the gzip file failed")),
            };
        }
    }
}

/// Fills the buffer; an interrupted system call is no error.
fn fill<R: BufRead>(reader: &mut R) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    reader.fill_buf()
}

/// An xz file being decompressed by a thread, because the decoder can only write.
struct Xz {
    chunks: Option<Receiver<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl fmt::Debug for Xz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xz").finish_non_exhaustive()
    }
}

impl Xz {
    fn new(mut reader: impl BufRead + Send + 'static) -> Self {
        let (send, chunks) = sync_channel(2);
        let thread = std::thread::spawn(move || {
            lzma_rs::xz_decompress(&mut reader, &mut Chunks(send)).map_err(|error| match error {
                lzma_rs::error::Error::IoError(error) => error,
                other => io::Error::new(io::ErrorKind::InvalidData, format!("xz: {other:?}")),
            })
        });
        Self { chunks: Some(chunks), chunk: Cursor::default(), thread: Some(thread) }
    }
}

impl Read for Xz {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if let Some(Ok(chunk)) = self.chunks.as_ref().map(Receiver::recv) {
                self.chunk = Cursor::new(chunk);
                continue;
            }
            self.chunks = None;
            let Some(thread) = self.thread.take() else { return Ok(0) };
            let panicked = |_| io::Error::other("the xz decoder panicked");
            thread.join().map_err(panicked)??;
        }
    }
}

impl Drop for Xz {
    fn drop(&mut self) {
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Chunks(SyncSender<Vec<u8>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.chunks(1024 * 1024) {
            self.0.send(chunk.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    fn decompress(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(Cursor::new(bytes))?.1.read_to_end(&mut content)?;
        Ok(content)
    }

    fn sample() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    #[test]
    fn every_format_is_recognised_and_read() {
        let sample = sample();
        for (program, format) in [
            ("cat", Format::Plain),
            ("gzip", Format::Gzip),
            ("zstd", Format::Zstd),
            ("bzip2", Format::Bzip2),
            ("xz", Format::Xz),
        ] {
            let arguments: &[&str] = if program == "cat" { &[] } else { &["-c"] };
            let file = filter(program, arguments, &sample);
            assert_eq!(Format::of(&file), format);
            assert!(decompress(file.clone()).unwrap() == sample, "{program}");
            if format == Format::Plain {
                continue;
            }
            let mut cut = file.clone();
            cut.truncate(file.len() / 2);
            assert!(decompress(cut).is_err(), "{program}, cut in the middle");
            let mut broken = file.clone();
            broken[file.len() / 2] ^= 0x40;
            assert!(decompress(broken).is_err(), "{program}, a bit flipped");
            if format != Format::Xz {
                let twice = [file.clone(), file].concat();
                assert!(decompress(twice).unwrap() == sample.repeat(2), "{program}, twice");
            }
        }
    }

    #[test]
    fn what_follows_gzip() {
        let file = filter("gzip", &["-c"], b"content");
        for (tail, good) in [
            (&b""[..], true),
            (&vec![0; 100_000], true),
            (b"\0\0x", false),
            (b"garbage", false),
            (b"\x1f\x8b", false),
        ] {
            let result = decompress([&file, tail].concat());
            assert_eq!(result.is_ok(), good, "{tail:?}");
        }
    }

    #[test]
    fn skippable_frames_are_skipped() {
        let frame = filter("zstd", &["-c"], b"content");
        let skippable =
            [&0x184d_2a53_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"skip"].concat();
        let file = [&skippable[..], &frame, &skippable, &frame, &skippable].concat();
        assert_eq!(decompress(file).unwrap(), b"contentcontent");
    }

    #[test]
    fn an_empty_or_short_file_is_plain() {
        for bytes in [&b""[..], b"B", b"BZ"] {
            assert_eq!(decompress(bytes.to_vec()).unwrap(), bytes);
        }
    }

    #[test]
    fn an_abandoned_xz_file_ends_its_thread() {
        let file = filter("xz", &["-c"], &vec![7; 20 * 1024 * 1024]);
        let mut content = open(Cursor::new(file)).unwrap().1;
        content.read_exact(&mut [0; 10]).unwrap();
        drop(content);
    }
}
