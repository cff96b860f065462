//! What a client of the gateway does: connect, say something, and see how it ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything that a test waits for on purpose.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects, with read and write limits so that a hanging gateway fails the test instead of hanging it.
pub fn try_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// [`try_connect`] where failing is failing the test.
pub fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).unwrap_or_else(|e| panic!("connect to {to}: {e}"))
}

/// Whether a connection is refused now.
pub fn refused(to: SocketAddr) -> bool {
    matches!(TcpStream::connect_timeout(&to, PATIENCE), Err(e) if e.kind() == io::ErrorKind::ConnectionRefused)
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

/// Reads until the stream ends.
pub fn read_all(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (all, End::Fin),
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => return (all, End::Reset),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => panic!("after {} bytes: {e}", all.len()),
        }
    }
}

/// Connects, sends `mmm` and reads to the end, as the cases do. An end before or after is an answer without bytes.
pub fn send(to: SocketAddr) -> Vec<u8> {
    let Ok(mut stream) = try_connect(to) else { return b"(no connection)".to_vec() };
    // the gateway may have closed already; what it sent is what counts
    let _ = stream.write_all(b"mmm");
    read_all(&mut stream).0
}

/// Whether a client gets the `hello world` of [`super::upstream::hello`].
pub fn served(to: SocketAddr) -> bool {
    send(to) == b"hello world\n"
}

/// Whether a client is accepted and then gets nothing but the end.
pub fn closed(to: SocketAddr) -> bool {
    send(to).is_empty()
}

/// Sends bytes to an echo and reads them back.
pub fn ping(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    if back == bytes { Ok(()) } else { Err(io::Error::other("the echo is not what was sent")) }
}

/// Whether the peer has said something, or closed, that was not read yet.
pub fn pending(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// Closes with a reset instead of a FIN.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}
