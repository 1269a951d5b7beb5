//! `--chmod`: octal, or symbolic as chmod(1) has it.

use std::str::FromStr;

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    /// These bits, whatever they were.
    Octal(u32),
    /// Changes, one after the other.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode: whose bits, how, which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// 0o700, 0o070, 0o007 or their union.
    who: u32,
    operator: u8,
    permissions: Vec<u8>,
}

/// A text that is not a mode.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid --chmod {0:?}, expected an octal mode up to 7777 or a symbolic one such as u=rwX,go=rX"
)]
pub struct ChmodError(String);

impl FromStr for Chmod {
    type Err = ChmodError;

    fn from_str(text: &str) -> Result<Self, ChmodError> {
        let fail = || ChmodError(text.to_owned());
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).map_err(|_| fail())?;
            return if bits <= 0o7777 { Ok(Self::Octal(bits)) } else { Err(fail()) };
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let at = part.find(['+', '-', '=']).ok_or_else(fail)?;
            let who = part[..at].bytes().try_fold(0, |who, b| {
                Some(
                    who | match b {
                        b'u' => 0o700,
                        b'g' => 0o070,
                        b'o' => 0o007,
                        b'a' => 0o777,
                        _ => return None,
                    },
                )
            });
            let who = match who.ok_or_else(fail)? {
                0 => 0o777,
                who => who,
            };
            let mut rest = &part.as_bytes()[at..];
            while let Some((operator, tail)) = rest.split_first() {
                let length = tail.iter().take_while(|b| !b"+-=".contains(b)).count();
                let permissions = tail[..length].to_vec();
                if !permissions.iter().all(|b| b"rwxXstugo".contains(b)) {
                    return Err(fail());
                }
                clauses.push(Clause { who, operator: *operator, permissions });
                rest = &tail[length..];
            }
        }
        Ok(Self::Symbolic(clauses))
    }
}

impl Chmod {
    /// The bits that a file with `mode` has afterwards.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir))
            }
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        // The same three bits for user, group and others.
        let everywhere = |bits: u32| bits << 6 | bits << 3 | bits;
        let mut bits = 0;
        for permission in &self.permissions {
            bits |= match permission {
                b'r' => everywhere(4) & self.who,
                b'w' => everywhere(2) & self.who,
                b'x' => everywhere(1) & self.who,
                b'X' if is_dir || mode & 0o111 != 0 => everywhere(1) & self.who,
                b's' => (self.who & 0o100) << 5 | (self.who & 0o010) << 7,
                b't' => 0o1000,
                b'u' => everywhere(mode >> 6 & 7) & self.who,
                b'g' => everywhere(mode >> 3 & 7) & self.who,
                b'o' => everywhere(mode & 7) & self.who,
                _ => 0,
            };
        }
        match self.operator {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            _ => {
                let set_id = (self.who & 0o100) << 5 | (self.who & 0o010) << 7;
                let cleared = if is_dir { self.who } else { self.who | set_id };
                mode & !cleared | bits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_bits_as_chmod_does() {
        for (text, mode, is_dir, expected) in [
            ("755", 0o600, false, 0o755),
            ("4755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o740, false, 0o755),
            ("u=rwX,go=rX", 0o640, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g=u", 0o740, false, 0o770),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("go=", 0o777, false, 0o700),
            ("u=rw", 0o4755, false, 0o655),
            ("u+x-w", 0o600, false, 0o500),
        ] {
            assert_eq!(
                text.parse::<Chmod>().map(|c| c.apply(mode, is_dir)),
                Ok(expected),
                "{text}"
            );
        }
        for bad in ["", "8", "77777", "u", "rwx", "z+x", "u+q", "u=rw,"] {
            assert!(bad.parse::<Chmod>().is_err(), "{bad}");
        }
    }
}
