//! One TLS connection without its socket: records in, plaintext and answers out, many records at a time. Holds bytes only while
//! a record is not whole. Performs no I/O and knows no time.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};

/// What encryption adds to one record at most, in bytes.
const OVERHEAD: usize = 64;
/// The longest plaintext of a record (RFC 8446, 5.1).
const RECORD: usize = 1 << 14;
/// What may wait for the rest of its message, in bytes: the library's own limit of a handshake message.
pub const WAITING: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Channel {
    conn: Conn,
    /// What came and is not a whole record yet.
    rest: Vec<u8>,
    /// Plaintext that came up while nobody asked for any.
    early: Vec<u8>,
    ended: bool,
}

enum Conn {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

/// Why a connection cannot go on. An alert for the peer is among the answers, where one is due.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Broken {
    /// The peer, or the library's view of it.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// A message that does not end.
    #[error("a message longer than any")]
    Endless,
    /// The connection has encrypted as much as its keys are good for.
    #[error("the keys are used up")]
    Exhausted,
}

/// The two forms of a connection, as one.
trait Steps {
    type Data;

    fn step<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Steps for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn step<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Steps for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn step<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// What a run over records led to.
struct Run {
    used: usize,
    ended: bool,
    result: Result<(), Broken>,
}

/// What to do once everything that came was looked at.
enum Then<'a> {
    Nothing,
    Encrypt(&'a [u8], &'a mut [u8], &'a mut usize),
    Close,
}

impl Channel {
    /// The side of a server, before its first byte.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, Broken> {
        Ok(Self::of(Conn::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// The side of a client, before its first byte.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Broken> {
        Ok(Self::of(Conn::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    const fn of(conn: Conn) -> Self {
        Self { conn, rest: Vec::new(), early: Vec::new(), ended: false }
    }

    fn state(&self) -> &CommonState {
        match &self.conn {
            Conn::Server(conn) => conn,
            Conn::Client(conn) => conn,
        }
    }

    /// Whether the handshake goes on. It is over for a server once the client has proved what it has to.
    pub fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Whether the handshake went on from an earlier session.
    pub fn resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The version in the words of OpenSSL, once it is agreed on.
    pub fn version(&self) -> Option<&'static str> {
        let version = self.state().protocol_version()?;
        let words = [(ProtocolVersion::TLSv1_2, "TLSv1.2"), (ProtocolVersion::TLSv1_3, "TLSv1.3")];
        words.into_iter().find(|(known, _)| *known == version).map(|(_, word)| word)
    }

    /// The cipher suite in the words of the IANA, once it is agreed on.
    pub fn cipher(&self) -> Option<&'static str> {
        let name = self.state().negotiated_cipher_suite()?.suite().as_str()?;
        // the library sets the suites of TLS 1.3 apart by a prefix of its own
        Some(super::words::suite(name))
    }

    /// The protocol that both sides agreed on by ALPN (RFC 7301), once the handshake is over.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The certificate that the peer has proved to have, as DER.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.state().peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Whether the peer has said that nothing more comes.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes that wait for the rest of their record: they go before what comes next into the buffer of [`Channel::receive`].
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    /// Gives back what [`Channel::take_rest`] took, because nothing came after it.
    pub fn put_rest(&mut self, rest: Vec<u8>) {
        self.rest = rest;
    }

    /// Plaintext that came up already; asked for before the socket is.
    pub fn take_early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Gives back plaintext that nobody has read: it goes before what came up since.
    pub(super) fn put_early(&mut self, mut plain: Vec<u8>) {
        plain.append(&mut self.early);
        self.early = plain;
    }

    /// Looks at what came: the rest of earlier, then the new. Appends plaintext, and answers for the peer. What is no whole record
    /// is kept.
    pub fn receive(&mut self, incoming: &mut [u8], plain: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<(), Broken> {
        debug_assert!(self.rest.is_empty(), "taken before it was asked again");
        let run = self.run(incoming, plain, answers, Then::Nothing);
        let rest = incoming.get(run.used..).unwrap_or_default();
        if !self.ended {
            self.rest = rest.to_vec();
        }
        run.result?;
        if self.rest.len() > WAITING { Err(Broken::Endless) } else { Ok(()) }
    }

    /// [`Channel::receive`] for a handshake: what is not used stays where it is until the handshake is over, and then here.
    pub(super) fn begin(&mut self, incoming: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<(), Broken> {
        let mut early = std::mem::take(&mut self.early);
        let run = self.run(incoming, &mut early, answers, Then::Nothing);
        incoming.drain(..run.used.min(incoming.len()));
        self.early = early;
        // an empty vector has room that a session would hold for its life
        if run.result.is_ok() && !self.is_handshaking() && !incoming.is_empty() {
            self.rest = std::mem::take(incoming);
        }
        run.result
    }

    /// Encrypts into the front of `records`; answers that are due before go to `answers`. `records` has room: see [`room`].
    pub fn encrypt(&mut self, plain: &[u8], records: &mut [u8], answers: &mut Vec<u8>) -> Result<usize, Broken> {
        let mut written = 0;
        self.with_rest(answers, Then::Encrypt(plain, records, &mut written))?;
        Ok(written)
    }

    /// Tells the peer that nothing more comes.
    pub fn close(&mut self, answers: &mut Vec<u8>) -> Result<(), Broken> {
        self.with_rest(answers, Then::Close)
    }

    /// The library wants to see what it has not used yet, whatever it is asked.
    fn with_rest(&mut self, answers: &mut Vec<u8>, then: Then<'_>) -> Result<(), Broken> {
        let (mut rest, mut early) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.early));
        let run = self.run(&mut rest, &mut early, answers, then);
        rest.drain(..run.used.min(rest.len()));
        (self.rest, self.early) = (rest, early);
        run.result
    }

    fn run(&mut self, incoming: &mut [u8], plain: &mut Vec<u8>, answers: &mut Vec<u8>, then: Then<'_>) -> Run {
        let run = match &mut self.conn {
            Conn::Server(conn) => run(conn, incoming, plain, answers, then),
            Conn::Client(conn) => run(conn, incoming, plain, answers, then),
        };
        self.ended |= run.ended;
        run
    }
}

/// How long the buffer for so much plaintext has to be.
pub const fn room(plain: usize) -> usize {
    plain + (plain / RECORD + 1) * OVERHEAD
}

/// Drives a connection until it has used all whole records, and then does what is wanted of it.
fn run<S: Steps>(conn: &mut S, incoming: &mut [u8], plain: &mut Vec<u8>, answers: &mut Vec<u8>, mut then: Then<'_>) -> Run {
    let mut run = Run { used: 0, ended: false, result: Ok(()) };
    loop {
        let status = conn.step(incoming.get_mut(run.used..).unwrap_or_default());
        let mut discard = status.discard;
        let goes_on = match status.state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    plain.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                true
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let before = answers.len();
                append(answers, |out| match data.encode(out) {
                    Err(EncodeError::InsufficientSize(size)) => Err(Some(size)),
                    other => other.map_err(|_| None),
                });
                // after an error there is what was due before it, then the alert, and then nothing that could be asked
                run.result.is_ok() || !is_alert(answers.get(before..).unwrap_or_default())
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                run.result.is_ok()
            }
            Ok(ConnectionState::PeerClosed) => {
                run.ended = true;
                true
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match std::mem::replace(&mut then, Then::Nothing) {
                Then::Nothing => false,
                Then::Encrypt(bytes, records, written) => {
                    match traffic.encrypt(bytes, records) {
                        Ok(n) => *written = n,
                        Err(_) => run.result = Err(Broken::Exhausted),
                    }
                    false
                }
                Then::Close => {
                    append(answers, |out| match traffic.queue_close_notify(out) {
                        Err(EncryptError::InsufficientSize(size)) => Err(Some(size)),
                        other => other.map_err(|_| None),
                    });
                    false
                }
            },
            // early data is never offered, and a closed or blocked connection has nothing more to tell
            Ok(_) => false,
            Err(error) => {
                let first = run.result.is_ok();
                if first {
                    run.result = Err(error.into());
                }
                // once more, for what is due and the alert
                first
            }
        };
        run.used += discard;
        if !goes_on {
            return run;
        }
    }
}

/// Whether a record is an alert: by its type, or where that is hidden by its length, which no other message of a handshake has
/// (RFC 8446, 5.2 and 6).
fn is_alert(record: &[u8]) -> bool {
    const HIDDEN: u16 = 2 + 1 + 16;
    match record {
        [21, ..] => true,
        [23, _, _, high, low, ..] => u16::from_be_bytes([*high, *low]) == HIDDEN,
        _ => false,
    }
}

/// Appends what an encoder writes, once it has said how much that is.
fn append(out: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>) {
    let begin = out.len();
    let Err(Some(InsufficientSizeError { required_size })) = encode(&mut []) else { return };
    out.resize(begin + required_size, 0);
    let written = out.get_mut(begin..).and_then(|room| encode(room).ok()).unwrap_or_default();
    out.truncate(begin + written);
}

#[cfg(test)]
mod tests;
