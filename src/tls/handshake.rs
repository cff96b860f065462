//! Handshakes over a socket: the gathering of a ClientHello, both sides of a handshake, and what is said to a client that gets
//! none. Time limits are the caller's: every future here can be dropped, which leaves nothing behind.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use bytes::BufMut;
use rustls::{AlertDescription, ServerConfig};
use tokio::net::TcpStream;

use super::alpn::Alpn;
use super::channel::{Broken, Channel, WAITING};
use super::client::Client;
use super::hello::{Bad, Hello, LIMIT, Scan, Step};
use super::words::Kind;

/// What one read takes, in bytes. A usual hello fits, a post-quantum one as well.
const READ: usize = 2 * 1024;
/// What is read and thrown away of a client that is told why it gets no session.
const FAREWELL: usize = 64 * 1024;

/// A handshake that failed; what could be told to the peer is told.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// No ClientHello.
    #[error(transparent)]
    Hello(#[from] Bad),
    /// No version in common.
    #[error("nothing newer than TLS 1.1")]
    Old,
    /// The protocol.
    #[error(transparent)]
    Tls(#[from] Broken),
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The name that a node is to be asked for is none.
    #[error("no name to ask for")]
    Name,
}

impl Failed {
    /// The word for it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(Bad::NotTls) => Kind::NotTls,
            Self::Hello(Bad::Malformed) | Self::Tls(Broken::Endless) => Kind::Malformed,
            Self::Hello(Bad::TooLarge) => Kind::TooLarge,
            Self::Tls(Broken::Tls(error)) => error.into(),
            Self::Tls(Broken::Exhausted) | Self::Name => Kind::Internal,
            Self::Old => Kind::Incompatible,
            Self::Io(_) => Kind::Closed,
        }
    }
}

/// Reads until a ClientHello is whole: what it says. Every byte that came is in `bytes`, [`LIMIT`] of them at most, whatever they are. A
/// client whose bytes are TLS, but no hello, is told so.
pub async fn gather(tcp: &TcpStream, bytes: &mut Vec<u8>) -> Result<Hello, Failed> {
    let mut scan = Scan::default();
    loop {
        bytes.reserve_exact(READ.min(LIMIT - bytes.len().min(LIMIT)));
        let room = LIMIT - bytes.len();
        read(tcp, bytes, room).await?;
        match scan.step(bytes) {
            Ok(Step::More) => {}
            Ok(Step::Hello(hello)) => return Ok(hello),
            Err(bad) => {
                if bad != Bad::NotTls {
                    refuse(tcp, AlertDescription::DecodeError).await;
                }
                return Err(bad.into());
            }
        }
    }
}

/// A server's handshake that begins with a hello and the bytes that it came in. Over when the client has proved what it has to; what it sent beyond that is
/// in the channel.
pub async fn accept(tcp: &TcpStream, config: Arc<ServerConfig>, hello: &Hello, bytes: Vec<u8>) -> Result<Box<Channel>, Failed> {
    if hello.old {
        // the library would miss an extension first that such clients do not have, and say so
        refuse(tcp, AlertDescription::ProtocolVersion).await;
        return Err(Failed::Old);
    }
    shake(tcp, Box::new(Channel::server(config)?), bytes).await
}

/// A client's handshake with a node. `asked` is the name that our own client asked for, `node` the host of the node.
pub async fn connect(tcp: &TcpStream, client: &Client, asked: Option<&str>, node: &str, alpn: Alpn) -> Result<Box<Channel>, Failed> {
    let name = client.name(asked, node).ok_or(Failed::Name)?;
    shake(tcp, Box::new(Channel::client(client.config(alpn).clone(), name)?), Vec::new()).await
}

async fn shake(tcp: &TcpStream, mut channel: Box<Channel>, mut incoming: Vec<u8>) -> Result<Box<Channel>, Failed> {
    let mut answers = Vec::new();
    loop {
        let done = channel.begin(&mut incoming, &mut answers);
        let wrote = write(tcp, &answers).await;
        answers.clear();
        if let Err(broken) = done {
            farewell(tcp).await;
            return Err(broken.into());
        }
        wrote?;
        if !channel.is_handshaking() {
            return Ok(channel);
        }
        if incoming.len() > WAITING {
            return Err(Broken::Endless.into());
        }
        incoming.reserve(READ);
        read(tcp, &mut incoming, WAITING).await?;
    }
}

/// Tells a client by a fatal alert, in clear, that it gets no session; what follows is the close.
pub async fn refuse(tcp: &TcpStream, alert: AlertDescription) {
    let record = [21, 3, 3, 0, 2, 2, u8::from(alert)];
    if write(tcp, &record).await.is_ok() {
        farewell(tcp).await;
    }
}

/// Ends our side, and reads until the other side has ended too: bytes that nobody has read turn a close into a reset, which takes
/// an alert with it that has not been read.
async fn farewell(tcp: &TcpStream) {
    if socket2::SockRef::from(tcp).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut left = FAREWELL;
    let mut sink = Vec::with_capacity(READ);
    while left > 0 && read(tcp, &mut sink, READ).await.is_ok() {
        left = left.saturating_sub(sink.len());
        sink.clear();
    }
}

/// Reads once, at most so many bytes, and appends them; the end of the stream is an error. Cancel safe.
async fn read(tcp: &TcpStream, into: &mut Vec<u8>, most: usize) -> io::Result<()> {
    loop {
        tcp.readable().await?;
        match tcp.try_read_buf(&mut (&mut *into).limit(most)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn write(tcp: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match tcp.try_write(bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
