//! The framing of a chunked body, byte by byte except for the data (RFC 9112, 7.1). Trailers are lines and not handled here.

use super::Fault;
use super::line::is_tchar;

/// Hexadecimal digits of a size; 15 keep it below 2^60.
const SIZE_DIGITS: u8 = 15;
/// What all extensions of one body may have, in bytes.
const EXTENSIONS: u16 = 8 * 1024;

/// Where in a chunked body the stream is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    at: At,
    /// The size so far, or what is left of the data.
    left: u64,
    digits: u8,
    extensions: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    /// After `;`: the first byte of a name.
    Name,
    InName,
    /// After `=`.
    Value,
    InValue,
    Quoted,
    Escaped,
    AfterQuoted,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// What the next bytes led to.
pub(super) enum Step {
    /// So many bytes were taken, and the body goes on.
    On(usize),
    /// So many bytes were taken; the trailer follows.
    Last(usize),
}

impl Chunk {
    pub(super) const fn new() -> Self {
        Self { at: At::Size, left: 0, digits: 0, extensions: EXTENSIONS }
    }

    /// Takes bytes of the body. An error says how many were fine before the bad one.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Step, (usize, Fault)> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.at == At::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                taken += here;
                self.skip(here);
                continue;
            }
            let is_last = self.byte(byte).map_err(|fault| (taken, fault))?;
            taken += 1;
            if is_last {
                return Ok(Step::Last(taken));
            }
        }
        Ok(Step::On(taken))
    }

    fn skip(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.left == 0 {
            self.at = At::DataCr;
        }
    }

    /// Takes a byte that is not data; whether it ended the last chunk's line.
    fn byte(&mut self, byte: u8) -> Result<bool, Fault> {
        self.at = match self.at {
            At::Size => self.size(byte)?,
            At::SizeLf => return self.size_line_ends(byte),
            At::DataCr if byte == b'\r' => At::DataLf,
            At::DataLf if byte == b'\n' => {
                (self.digits, self.left) = (0, 0);
                At::Size
            }
            At::Data | At::DataCr | At::DataLf => return Err(Fault::ChunkEnd),
            at @ (At::Name | At::InName | At::Value | At::InValue | At::Quoted | At::Escaped | At::AfterQuoted) => {
                self.extensions = self.extensions.checked_sub(1).ok_or(Fault::ChunkExtension)?;
                extension(at, byte).ok_or(Fault::ChunkExtension)?
            }
        };
        Ok(false)
    }

    fn size(&mut self, byte: u8) -> Result<At, Fault> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if self.digits > 0 => return Ok(At::Name),
            b'\r' if self.digits > 0 => return Ok(At::SizeLf),
            _ => return Err(Fault::ChunkSize),
        };
        if self.digits == SIZE_DIGITS {
            return Err(Fault::ChunkSize);
        }
        self.digits += 1;
        self.left = (self.left << 4) | u64::from(digit);
        Ok(At::Size)
    }

    fn size_line_ends(&mut self, byte: u8) -> Result<bool, Fault> {
        if byte != b'\n' {
            return Err(Fault::ChunkSize);
        }
        self.at = At::Data;
        Ok(self.left == 0)
    }
}

/// `*( ";" name [ "=" ( token / quoted-string ) ] )`, without the spaces that RFC 9112 calls bad.
const fn extension(at: At, byte: u8) -> Option<At> {
    Some(match (at, byte) {
        (At::InName, b'=') => At::Value,
        (At::InName | At::InValue | At::AfterQuoted, b';') => At::Name,
        (At::InName | At::InValue | At::AfterQuoted, b'\r') => At::SizeLf,
        (At::Name | At::InName, _) if is_tchar(byte) => At::InName,
        (At::Value, b'"') => At::Quoted,
        (At::Value | At::InValue, _) if is_tchar(byte) => At::InValue,
        (At::Quoted, b'"') => At::AfterQuoted,
        (At::Quoted, b'\\') => At::Escaped,
        (At::Quoted | At::Escaped, b'\t' | b' '..=b'~' | 0x80..) => At::Quoted,
        _ => return None,
    })
}
