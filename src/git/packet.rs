//! Packets: how git frames what it says (gitprotocol-common, "pkt-line").
//!
//! Four hexadecimal digits give the length, themselves included; lengths below 4 are marks
//! without content. Pure: bytes go in as they arrive, packets come out when they are whole.

use tokio_util::bytes::{Buf, Bytes, BytesMut};

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// The end of a message.
    Flush,
    /// Between two sections of a message.
    Delimiter,
    /// The end of an answer of a stateless connection.
    End,
    /// Content.
    Data(Bytes),
}

impl Packet {
    /// The content as a line of text, without its line end.
    pub(super) fn line(&self) -> Option<&str> {
        let Self::Data(bytes) = self else { return None };
        let text = std::str::from_utf8(bytes).ok()?;
        Some(text.strip_suffix('\n').unwrap_or(text))
    }
}

/// What a packet carries where several channels share a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Band<'a> {
    /// What was asked for.
    Data(&'a [u8]),
    /// Words for people.
    Progress(&'a [u8]),
    /// Why it ends here.
    Fatal(String),
}

impl<'a> Band<'a> {
    /// The channel of a packet; `None` for an unknown one.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, data) => Some(Self::Data(data)),
            (2, text) => Some(Self::Progress(text)),
            (3, text) => Some(Self::Fatal(String::from_utf8_lossy(text).trim().to_owned())),
            _ => None,
        }
    }
}

/// Takes bytes as they come and gives packets.
#[derive(Debug, Default)]
pub(super) struct Packets {
    buffer: BytesMut,
}

impl Packets {
    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether all that came was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next packet; `None` if more bytes must come first. `Err` says what is wrong.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, String> {
        let Some(head) = self.buffer.get(..4) else { return Ok(None) };
        let digits = std::str::from_utf8(head).ok().filter(|head| !head.starts_with('+'));
        let length = digits.and_then(|head| usize::from_str_radix(head, 16).ok());
        let length = length
            .ok_or_else(|| format!("a packet begins with {:?}", String::from_utf8_lossy(head)))?;
        let packet = match length {
            0 => Packet::Flush,
            1 => Packet::Delimiter,
            2 => Packet::End,
            3 => return Err("a packet has the length 3".to_owned()),
            _ if self.buffer.len() < length => return Ok(None),
            _ => {
                let mut packet = self.buffer.split_to(length);
                packet.advance(4);
                return Ok(Some(Packet::Data(packet.freeze())));
            }
        };
        self.buffer.advance(4);
        Ok(Some(packet))
    }
}

/// How much of a list is still taken, so that no server fills the memory with one.
#[derive(Debug)]
pub(super) struct Limit {
    what: &'static str,
    /// The most lines and bytes.
    most: (usize, usize),
    /// What is left of them.
    lines: usize,
    bytes: usize,
}

impl Limit {
    /// Takes so many lines and bytes of `what`, in the plural.
    pub(super) fn new(what: &'static str, lines: usize, bytes: usize) -> Self {
        Self { what, most: (lines, bytes), lines, bytes }
    }

    /// Counts a packet. `Err` says that it is one too many.
    pub(super) fn take(&mut self, packet: &Packet) -> Result<(), String> {
        let length = if let Packet::Data(bytes) = packet { bytes.len() } else { 0 };
        let (Some(lines), Some(bytes)) =
            (self.lines.checked_sub(1), self.bytes.checked_sub(length))
        else {
            let (what, (lines, bytes)) = (self.what, self.most);
            return Err(format!(
                "the server lists too many {what}: more than {lines}, or {bytes} bytes of them"
            ));
        };
        (self.lines, self.bytes) = (lines, bytes);
        Ok(())
    }
}

/// A message that is made packet by packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a line of text.
    pub(super) fn line(&mut self, text: &str) -> &mut Self {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Adds a packet of bytes.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(format!("{:04x}", bytes.len() + 4).as_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Begins the next section.
    pub(super) fn delimiter(&mut self) -> &mut Self {
        self.0.extend_from_slice(b"0001");
        self
    }

    /// Ends a section of version 1.
    pub(super) fn flush(&mut self) -> &mut Self {
        self.0.extend_from_slice(b"0000");
        self
    }

    /// Ends the message and gives its bytes.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"0000");
        std::mem::take(&mut self.0)
    }

    /// The bytes, with no end to the message.
    pub(super) fn unfinished(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], step: usize) -> Result<Vec<Packet>, String> {
        let mut packets = Packets::default();
        let mut found = Vec::new();
        for piece in text.chunks(step) {
            packets.push(piece);
            while let Some(packet) = packets.next()? {
                found.push(packet);
            }
        }
        assert!(packets.buffer.is_empty(), "a part is left");
        Ok(found)
    }

    #[test]
    fn packets_come_out_however_they_were_cut() {
        let mut message = Message::default();
        message.line("command=fetch").delimiter().raw(b"\x01\xff").raw(b"");
        let bytes = message.finish();
        assert_eq!(bytes, b"0012command=fetch\n00010006\x01\xff00040000");
        let expected = [
            Packet::Data(Bytes::from_static(b"command=fetch\n")),
            Packet::Delimiter,
            Packet::Data(Bytes::from_static(b"\x01\xff")),
            Packet::Data(Bytes::new()),
            Packet::Flush,
        ];
        for step in 1..=bytes.len() {
            assert_eq!(all(&bytes, step).unwrap(), expected, "{step}");
        }
        assert_eq!(expected[0].line(), Some("command=fetch"));
        assert_eq!(expected[2].line(), None);
    }

    #[test]
    fn a_list_ends_at_its_lines_and_at_its_bytes() {
        let packet = |text: &'static str| Packet::Data(Bytes::from_static(text.as_bytes()));
        let mut limit = Limit::new("names", 2, 100);
        assert_eq!(limit.take(&packet("a")), Ok(()));
        assert_eq!(limit.take(&Packet::Delimiter), Ok(()));
        let refused = limit.take(&packet("")).unwrap_err();
        assert!(refused.contains("too many names: more than 2, or 100 bytes"), "{refused}");
        let mut limit = Limit::new("names", 10, 3);
        assert_eq!(limit.take(&packet("ab")), Ok(()));
        assert!(limit.take(&packet("cd")).is_err());
        assert_eq!(limit.take(&packet("c")), Ok(()), "it still fits");
    }

    #[test]
    fn refuses_what_is_no_packet() {
        for text in ["<!do", "0003", "+012", "00g0"] {
            assert!(all(text.as_bytes(), 1).is_err(), "{text}");
        }
    }
}
