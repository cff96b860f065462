//! Which version of HTTP a client begins with, told by its first bytes. They are read once, and handed on.

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::sleep;

use super::serve::Spoken;
use super::waiting::{HEAD, IDLE};
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::tls::Wire;

/// What a client of HTTP/2 sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for one read: the head of nearly every request of HTTP/1, so that it takes no second one.
const ROOM: usize = 4096;

/// A connection that ends before it is known what it speaks.
#[derive(Debug)]
pub(super) struct Ended {
    /// What the session ends with.
    pub(super) reason: Reason,
    /// Whether it began to say something and did not go on.
    pub(super) late: bool,
}

/// What a client speaks, and the bytes that told. The first one may take as long as that of any request, the others as long as a head.
///
/// # Errors
/// The client left or said nothing, or somebody wants the session to end. Dropping the future loses bytes.
pub(super) async fn read(wire: &mut Wire, session: &Session) -> Result<(Spoken, Bytes), Ended> {
    let mut early = BytesMut::new();
    let mut timer = pin!(None);
    let ended = |reason| Ended { reason, late: false };
    poll_fn(|cx| {
        if let Poll::Ready(reason) = session.poll_end(cx) {
            return Poll::Ready(Err(ended(reason)));
        }
        if session.asked_to_finish() {
            return Poll::Ready(Err(ended(Reason::Ok)));
        }
        let before = early.len();
        let spoken = poll_first(wire, &mut early, cx);
        if spoken.is_ready() {
            return spoken.map_err(ended);
        }
        if timer.is_none() || (before == 0 && !early.is_empty()) {
            timer.set(Some(sleep(if early.is_empty() { IDLE } else { HEAD })));
        }
        let over = timer.as_mut().as_pin_mut().map_or(Poll::Pending, |timer| timer.poll(cx));
        over.map(|()| Err(Ended { reason: Reason::IdleTimeout, late: !early.is_empty() }))
    })
    .await
    .map(|spoken| (spoken, early.freeze()))
}

fn poll_first(wire: &mut Wire, early: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Result<Spoken, Reason>> {
    loop {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut buffer = ReadBuf::uninit(&mut room);
        if ready!(Pin::new(&mut *wire).poll_read(cx, &mut buffer)).is_err() {
            return Poll::Ready(Err(Reason::ClientReset));
        }
        let ended = buffer.filled().is_empty();
        early.extend_from_slice(buffer.filled());
        match spoken(early) {
            Some(spoken) => return Poll::Ready(Ok(spoken)),
            None if ended && early.is_empty() => return Poll::Ready(Err(Reason::Ok)),
            // HTTP/1 has the words for half a request
            None if ended => return Poll::Ready(Ok(Spoken::H1)),
            None => {}
        }
    }
}

/// What bytes are the beginning of; `None` as long as that is open.
fn spoken(early: &[u8]) -> Option<Spoken> {
    if early.starts_with(PREFACE) {
        Some(Spoken::H2)
    } else if PREFACE.starts_with(early) {
        None
    } else {
        Some(Spoken::H1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_tells() {
        assert_eq!(spoken(b""), None);
        for end in 1..PREFACE.len() {
            assert_eq!(spoken(&PREFACE[..end]), None, "{end}");
            assert_eq!(spoken(&[&PREFACE[..end], b"x"].concat()), Some(Spoken::H1), "{end}");
        }
        assert_eq!(spoken(PREFACE), Some(Spoken::H2));
        assert_eq!(spoken(&[PREFACE, b"\0\0\0"].concat()), Some(Spoken::H2));
        assert_eq!(spoken(b"PROPFIND / HTTP/1.1\r\n"), Some(Spoken::H1));
    }
}
