//! The chunked coding of answers (RFC 9112, 7.1): sizes are strict, extensions are skipped, spaces behind a size are borne as some
//! nodes fill it up with them.

use bytes::{Buf, BytesMut};
use hyper::HeaderMap;

use super::head;
use crate::upstream::http::error::Malformed;

/// Hexadecimal digits of a size; 15 keep it below 2^60.
const SIZE_DIGITS: u8 = 15;
/// What all extensions of one body may have, in bytes.
const EXTENSIONS: u16 = 8 * 1024;

/// Where in a chunked body its reader is.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    /// The size so far, or what is left of the data.
    left: u64,
    digits: u8,
    extensions: u16,
    /// How much of a trailer that is not whole was looked at.
    seen: usize,
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    End,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self { at: At::Size, left: 0, digits: 0, extensions: EXTENSIONS, seen: 0, trailers: None }
    }

    /// Takes off the buffer what is no data, up to the next data or the end. What it refuses, it refuses again.
    pub(super) fn advance(&mut self, read: &mut BytesMut) -> Result<(), Malformed> {
        let mut taken = 0;
        while let Some(&byte) = read.get(taken)
            && !matches!(self.at, At::Data | At::Trailer | At::End)
        {
            if let Err(malformed) = self.byte(byte) {
                read.advance(taken);
                return Err(malformed);
            }
            taken += 1;
        }
        read.advance(taken);
        if self.at == At::Trailer { self.trailer(read) } else { Ok(()) }
    }

    /// How many bytes of data the buffer begins with, after [`Self::advance`].
    pub(super) fn data(&mut self, buffered: usize) -> usize {
        if self.at != At::Data {
            return 0;
        }
        let data = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffered);
        self.left = self.left.saturating_sub(u64::try_from(data).unwrap_or(u64::MAX));
        if self.left == 0 {
            self.at = At::DataCr;
        }
        data
    }

    pub(super) fn is_ended(&self) -> bool {
        self.at == At::End
    }

    /// The trailer, if there was one. It is told once.
    pub(super) const fn trailers(&mut self) -> Option<Box<HeaderMap>> {
        self.trailers.take()
    }

    pub(super) const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    fn byte(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9') => self.digit(byte - b'0')?,
            (At::Size, b'a'..=b'f') => self.digit(byte - b'a' + 10)?,
            (At::Size, b'A'..=b'F') => self.digit(byte - b'A' + 10)?,
            (At::Size, b' ' | b'\t' | b';') if self.digits > 0 => At::Extension,
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extensions = self.extensions.checked_sub(1).ok_or(Malformed::TooLarge)?;
                At::Extension
            }
            (At::SizeLf, b'\n') if self.left == 0 => At::Trailer,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.digits = 0;
                At::Size
            }
            _ => return Err(Malformed::Chunk),
        };
        Ok(())
    }

    fn digit(&mut self, digit: u8) -> Result<At, Malformed> {
        if self.digits == SIZE_DIGITS {
            return Err(Malformed::Chunk);
        }
        self.digits += 1;
        self.left = (self.left << 4) | u64::from(digit);
        Ok(At::Size)
    }

    fn trailer(&mut self, read: &mut BytesMut) -> Result<(), Malformed> {
        if read.starts_with(b"\r\n") {
            read.advance(2);
            self.at = At::End;
            return Ok(());
        }
        // nothing ends without the end of a line
        if memchr::memchr(b'\n', read.get(self.seen..).unwrap_or_default()).is_some()
            && let Some(trailers) = head::trailers(read)?
        {
            self.at = At::End;
            self.trailers = Some(Box::new(trailers));
            return Ok(());
        }
        self.seen = read.len();
        if self.seen > head::LARGEST { Err(Malformed::TooLarge) } else { Ok(()) }
    }
}
