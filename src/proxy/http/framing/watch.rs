//! The watcher around a client's stream: what a parser reads through it was seen by [`Framing`] first. Never waits for anything
//! but that stream.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Fault, Framing, Place};
use crate::net::through::writes_through;

/// Reads that one call may throw away after a refusal.
const THROWN_AWAY: u8 = 16;

/// A client's stream whose bytes are watched.
///
/// After a refused head the parser is given a made-up end of it, so that the handler is called once more, is told of the fault by
/// [`Watch::verdict`], and its answer comes in its turn; then nothing more can be read, and what comes is thrown away. After a
/// refused body the next read is an error of kind `InvalidData` whose source is the [`Fault`].
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    framing: Framing,
    /// What is left of the made-up end of a refused head.
    mend: &'static [u8],
    facts: Arc<Facts>,
}

/// What the handler asks. One per connection, of use in the task that reads the stream.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Facts>);

/// What the reader knows, for the handler. Both are in one task: the atomics are only what makes that `Send`.
#[derive(Debug, Default)]
struct Facts {
    /// Heads found fine and not yet asked for.
    fine: AtomicU32,
    place: AtomicU8,
    fault: OnceLock<Fault>,
    is_switched: AtomicBool,
}

const PLACES: [Place; 5] = [Place::Idle, Place::Head, Place::Body, Place::Broken, Place::Switched];

/// Puts a watcher around the stream of an HTTP/1 client.
pub fn watch<S>(stream: S) -> (Watched<S>, Watch) {
    let facts = Arc::new(Facts::default());
    let watched = Watched { inner: stream, framing: Framing::new(), mend: &[], facts: facts.clone() };
    (watched, Watch(facts))
}

impl Watch {
    /// The verdict on the head for which the handler was called; to be asked exactly once a call, before anything else. After a fault
    /// the head that the handler was given is not what the client sent: answer with the fault's status and `Connection: close`.
    pub fn verdict(&self) -> Result<(), Fault> {
        match self.0.fine.load(Ordering::Relaxed).checked_sub(1) {
            Some(left) => {
                self.0.fine.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(self.fault().unwrap_or(Fault::OutOfStep)),
        }
    }

    /// The fault, if one was found: also one in a body, or in a head that follows.
    pub fn fault(&self) -> Option<Fault> {
        self.0.fault.get().copied()
    }

    /// Where the stream is, for time limits.
    pub fn place(&self) -> Place {
        PLACES.get(usize::from(self.0.place.load(Ordering::Relaxed))).copied().unwrap_or(Place::Broken)
    }

    /// Lets the stream leave HTTP, before an answer of 101 goes out. Refused if the client sent anything after its request: that
    /// was sent as HTTP and must not become bytes of the other protocol (RFC 9110, 7.8).
    pub fn switch(&self) -> Result<(), Fault> {
        if self.place() != Place::Idle || self.0.fine.load(Ordering::Relaxed) > 0 {
            return Err(Fault::EarlyBytes);
        }
        self.0.is_switched.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl<S> Watched<S> {
    /// The stream itself, for a protocol that follows HTTP.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Shows new bytes to the watcher and gives on what may go on.
    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let new = buf.filled().get(before..).unwrap_or_default();
        let (came, pass) = (new.len(), self.framing.saw(new));
        let found = self.framing.take_fine();
        if found > 0 {
            self.facts.fine.store(self.facts.fine.load(Ordering::Relaxed).saturating_add(found), Ordering::Relaxed);
        }
        self.tell();
        if pass == came && self.framing.fault().is_none() {
            return Ok(());
        }
        buf.set_filled(before + pass);
        self.mend = self.framing.mend().unwrap_or_default();
        self.give_mend(buf);
        if buf.filled().len() == before { Err(self.error()) } else { Ok(()) }
    }

    fn tell(&self) {
        let place = match self.framing.place() {
            Place::Idle => 0,
            Place::Head => 1,
            Place::Body => 2,
            Place::Broken => 3,
            Place::Switched => 4,
        };
        self.facts.place.store(place, Ordering::Relaxed);
        if let Some(fault) = self.framing.fault() {
            // the first one stays
            let _ = self.facts.fault.set(fault);
        }
    }

    fn give_mend(&mut self, buf: &mut ReadBuf<'_>) {
        let (now, later) = self.mend.split_at(self.mend.len().min(buf.remaining()));
        buf.put_slice(now);
        self.mend = later;
    }

    fn error(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self.framing.fault().unwrap_or(Fault::OutOfStep))
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Throws away what comes. Never ready with nothing: the parser would take that for a client that went away, and not answer.
    fn throw_away(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        for _ in 0..THROWN_AWAY {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Pending;
            }
            buf.set_filled(before);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.mend.is_empty() {
            this.give_mend(buf);
            return Poll::Ready(Ok(()));
        }
        if this.framing.fault().is_some() {
            return if this.framing.mend().is_some() { this.throw_away(cx, buf) } else { Poll::Ready(Err(this.error())) };
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if this.facts.is_switched.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.look(buf, before))
    }
}

writes_through!(Watched<S>, inner);
