//! Datagrams by the batch: received into slots with one system call, queued in any order, sent with one system call for each socket.
//! Datagrams of one size to one receiver leave as one, and the system cuts them (`UDP_SEGMENT`). One batch serves a whole worker.
#![expect(unsafe_code, reason = "recvmmsg and sendmmsg take pointers")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_uint, iovec, mmsghdr, msghdr};
use rustix::io::Errno;

use super::control::{self, Name, Room};

/// Datagrams, or runs of them, that one batch holds.
pub const SLOTS: usize = 64;
/// The longest datagram that UDP can carry is shorter than this.
const ROOM: usize = 65_536;
/// From slot to slot: a little more than the room, so that the beginnings of slots do not all fall into one set of the cache.
const STRIDE: usize = ROOM + 5 * 64;
/// Datagrams that leave as one are at most this long, so that each fits a packet of any usual link.
const SEGMENT_MOST: usize = 1_452;
/// So many datagrams leave as one at most (`UDP_MAX_SEGMENTS` of the oldest kernels).
const SEGMENTS: usize = 64;
/// So many bytes leave as one at most.
const TOGETHER: usize = 65_000;

/// What one slot holds.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    /// The sender; `None` on a connected socket.
    pub from: Option<SocketAddr>,
    /// Where it was sent to; `None` where the socket is bound to one address.
    pub to: Option<IpAddr>,
    length: usize,
    /// The length of each datagram but the last; the whole length where there is one only.
    segment: usize,
}

impl Got {
    /// How many datagrams the slot holds.
    pub fn datagrams(&self) -> usize {
        if self.segment == 0 { 1 } else { self.length.div_ceil(self.segment).max(1) }
    }

    /// Their bytes in all.
    pub const fn bytes(&self) -> usize {
        self.length
    }
}

/// Where a datagram goes on a socket that is not connected.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The receiver.
    pub to: SocketAddr,
    /// The address that it leaves from; the system's choice if absent.
    pub from: Option<IpAddr>,
}

/// Datagrams that leave together.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    /// What the queuer said.
    pub tag: u32,
    /// How many.
    pub datagrams: usize,
    /// Their bytes in all.
    pub bytes: usize,
    way: Option<Way>,
    /// Its pieces: the first, and how many.
    first: usize,
    pieces: usize,
    segment: usize,
    /// Whether another one could join.
    open: bool,
}

/// A run of bytes in the batch's memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    at: usize,
    length: usize,
}

/// The batch. Its memory is touched only as far as datagrams reach.
pub struct Batch {
    memory: Box<[u8]>,
    got: Vec<Got>,
    lost: Option<u32>,
    names: Box<[Name]>,
    rooms: Box<[Room]>,
    slots: Box<[iovec]>,
    headers: Box<[mmsghdr]>,
    pieces: Vec<Piece>,
    parcels: Vec<Parcel>,
    front: usize,
    vectors: Vec<iovec>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("got", &self.got.len()).field("parcels", &self.parcels.len()).finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

const NO_HEADER: mmsghdr = mmsghdr {
    msg_hdr: msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            memory: vec![0; SLOTS * STRIDE].into(),
            got: Vec::with_capacity(SLOTS),
            lost: None,
            names: vec![Name::empty(); SLOTS].into(),
            rooms: vec![[0; 12]; SLOTS].into(),
            slots: vec![iovec { iov_base: ptr::null_mut(), iov_len: ROOM }; SLOTS].into(),
            headers: vec![NO_HEADER; SLOTS].into(),
            pieces: Vec::new(),
            parcels: Vec::new(),
            front: 0,
            vectors: Vec::new(),
        }
    }

    /// Forgets what was received and what is queued.
    pub fn clear(&mut self) {
        self.got.clear();
        self.unqueue();
    }

    /// Forgets what is queued.
    pub fn unqueue(&mut self) {
        self.pieces.clear();
        self.parcels.clear();
        self.front = 0;
    }

    /// Free slots.
    pub fn room(&self) -> usize {
        SLOTS - self.got.len()
    }

    /// What the slots hold, in the order of arrival.
    pub fn got(&self) -> &[Got] {
        &self.got
    }

    /// How many datagrams the system has ever thrown away on the socket that was received from last, modulo 2³²; `None` where it
    /// does not say, as while it was none.
    pub fn lost(&self) -> Option<u32> {
        self.lost
    }

    /// Forgets all but the first so many datagrams of a slot, which has at least one left.
    pub fn keep(&mut self, slot: usize, datagrams: usize) {
        if let Some(got) = self.got.get_mut(slot)
            && got.segment > 0
        {
            got.length = got.length.min(got.segment.saturating_mul(datagrams.max(1)));
        }
    }

    /// The first datagram in a slot.
    pub fn first(&self, slot: usize) -> Option<&[u8]> {
        let got = self.got.get(slot)?;
        let at = slot * STRIDE;
        self.memory.get(at..at + got.segment.min(got.length))
    }

    /// Receives into free slots from a socket that many send to. Answers with how many slots were filled; fewer than were free means
    /// that nothing is left.
    pub fn receive_named(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.receive(fd, SLOTS, true)
    }

    /// [`Batch::receive_named`] for a connected socket, and at most so many slots.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, most: usize, named: bool) -> io::Result<usize> {
        let begin = self.got.len();
        self.lost = None;
        let count = most.min(self.room());
        let memory = self.memory.chunks_exact_mut(STRIDE);
        let parts = self.headers.iter_mut().zip(&mut *self.names).zip(&mut *self.rooms).zip(&mut *self.slots).zip(memory);
        for ((((header, name), room), slot), bytes) in parts.skip(begin).take(count) {
            slot.iov_base = bytes.as_mut_ptr().cast();
            let h = &mut header.msg_hdr;
            (h.msg_iov, h.msg_iovlen) = (ptr::from_mut(slot), 1);
            (h.msg_name, h.msg_namelen) = (ptr::null_mut(), 0);
            (h.msg_control, h.msg_controllen) = (ptr::null_mut(), 0);
            if named {
                (h.msg_name, h.msg_namelen) = (name.pointer(), c_uint::try_from(size_of::<Name>()).unwrap_or(0));
                (h.msg_control, h.msg_controllen) = (room.as_mut_ptr().cast(), size_of::<Room>());
            }
        }
        let headers = self.headers.get_mut(begin..begin + count).unwrap_or_default();
        let length = c_uint::try_from(headers.len()).unwrap_or(0);
        // SAFETY: every header points to memory of this batch, which lives as long as `self`, is not used meanwhile, and has the sizes
        // that the headers say.
        let n = unsafe { libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), length, libc::MSG_DONTWAIT, ptr::null_mut()) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in self.headers.iter().zip(&*self.names).skip(begin).take(n) {
            let length = usize::try_from(header.msg_len).unwrap_or(0).min(ROOM);
            let mut got = Got { from: None, to: None, length, segment: length };
            if named {
                let beside = control::read(&header.msg_hdr);
                (got.from, got.to) = (name.read(), beside.local);
                got.segment = beside.segment.filter(|s| *s > 0).map_or(length, |s| s.min(length));
                self.lost = beside.lost.or(self.lost);
            }
            self.got.push(got);
        }
        Ok(n)
    }

    /// Queues what a slot holds. What has the same tag as what was queued before it may leave together with it; so one tag is one
    /// receiver.
    pub fn queue(&mut self, slot: usize, tag: u32, way: Option<Way>) {
        let Some(got) = self.got.get(slot).copied() else { return };
        let whole = Piece { at: slot * STRIDE, length: got.length };
        if let Some(last) = self.parcels.last_mut()
            && last.tag == tag
            && last.takes(&got)
        {
            last.join(&got);
            self.pieces.push(whole);
        } else if got.datagrams() > 1 && got.segment > SEGMENT_MOST {
            for at in (0..got.length).step_by(got.segment) {
                let length = got.segment.min(got.length - at);
                self.push(Piece { at: whole.at + at, length }, length, tag, way);
            }
        } else {
            self.push(whole, got.segment, tag, way);
        }
    }

    fn push(&mut self, piece: Piece, segment: usize, tag: u32, way: Option<Way>) {
        let datagrams = if segment == 0 { 1 } else { piece.length.div_ceil(segment) };
        let open = segment > 0 && segment <= SEGMENT_MOST && piece.length.is_multiple_of(segment);
        self.parcels.push(Parcel { tag, datagrams, bytes: piece.length, way, first: self.pieces.len(), pieces: 1, segment, open });
        self.pieces.push(piece);
    }

    /// Sends what is queued, in order, and tells `sent` of each parcel that left. At an error the parcel that caused it stays the first
    /// in the queue: another flush sends it and the rest, on another socket if need be.
    pub fn flush(&mut self, fd: BorrowedFd<'_>, mut sent: impl FnMut(&Parcel)) -> io::Result<()> {
        while self.front < self.parcels.len() {
            match self.send(fd) {
                Ok(n) => {
                    self.parcels.iter().skip(self.front).take(n).for_each(&mut sent);
                    self.front += n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // the device's packets are shorter than thought, or it cannot cut: one by one then
                Err(e) if cannot_cut(&e) && self.split_front() => {}
                Err(e) => return Err(e),
            }
        }
        self.unqueue();
        Ok(())
    }

    /// Gives up the first parcel in the queue.
    pub fn skip(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.get(self.front).copied();
        self.front += 1;
        parcel
    }

    /// The parcels that did not leave.
    pub fn queued(&self) -> impl Iterator<Item = &Parcel> {
        self.parcels.iter().skip(self.front)
    }

    fn send(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let parcels = self.parcels.get(self.front..).unwrap_or_default();
        let count = parcels.len().min(SLOTS);
        self.vectors.clear();
        let base = self.memory.as_mut_ptr();
        self.vectors.extend(self.pieces.iter().map(|p| iovec {
            // only an address; a piece lies within the memory
            iov_base: base.wrapping_add(p.at).cast(),
            iov_len: p.length,
        }));
        let parts = parcels.iter().zip(&mut *self.headers).zip(&mut *self.names).zip(&mut *self.rooms);
        for (((parcel, header), name), room) in parts {
            let h = &mut header.msg_hdr;
            let vectors = self.vectors.get_mut(parcel.first..parcel.first + parcel.pieces).unwrap_or_default();
            (h.msg_iov, h.msg_iovlen) = (vectors.as_mut_ptr(), vectors.len());
            (h.msg_name, h.msg_namelen) = (ptr::null_mut(), 0);
            if let Some(way) = parcel.way {
                let length = name.write(way.to);
                (h.msg_name, h.msg_namelen) = (name.pointer(), length);
            }
            let segment = (parcel.datagrams > 1).then(|| u16::try_from(parcel.segment).ok()).flatten();
            control::write(h, room, parcel.way.and_then(|w| w.from), segment);
        }
        let length = c_uint::try_from(count).unwrap_or(0);
        // SAFETY: the first `count` headers were written above; each points to memory of this batch that lives as long as `self`.
        let n = unsafe { libc::sendmmsg(fd.as_raw_fd(), self.headers.as_mut_ptr(), length, libc::MSG_DONTWAIT) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Makes the first parcel as many as it has datagrams. False: it is one already.
    fn split_front(&mut self) -> bool {
        let Some(parcel) = self.parcels.get(self.front).copied().filter(|p| p.datagrams > 1 && p.segment > 0) else { return false };
        let pieces = self.pieces.iter().skip(parcel.first).take(parcel.pieces);
        let single: Vec<Piece> = pieces
            .flat_map(|p| {
                (0..p.length).step_by(parcel.segment).map(|at| Piece { at: p.at + at, length: parcel.segment.min(p.length - at) })
            })
            .collect();
        let first = self.pieces.len();
        let one = |(n, piece): (usize, &Piece)| Parcel {
            datagrams: 1,
            bytes: piece.length,
            first: first + n,
            pieces: 1,
            segment: piece.length,
            open: false,
            ..parcel
        };
        let parcels: Vec<Parcel> = single.iter().enumerate().map(one).collect();
        self.parcels.splice(self.front..=self.front, parcels);
        self.pieces.extend(single);
        true
    }
}

impl Parcel {
    fn takes(&self, got: &Got) -> bool {
        let fits = got.segment == self.segment || (got.datagrams() == 1 && got.length < self.segment);
        self.open && fits && got.length > 0 && self.datagrams + got.datagrams() <= SEGMENTS && self.bytes + got.length <= TOGETHER
    }

    fn join(&mut self, got: &Got) {
        self.datagrams += got.datagrams();
        self.bytes += got.length;
        self.pieces += 1;
        // a shorter one is the last
        self.open = got.length.is_multiple_of(self.segment);
    }
}

fn cannot_cut(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::IO | Errno::MSGSIZE | Errno::OPNOTSUPP | Errno::NOPROTOOPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair() -> (UdpSocket, UdpSocket) {
        let server = super::super::listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let client = super::super::connect(server.local_addr().unwrap()).unwrap();
        (server, client)
    }

    /// Takes what the server's socket holds, queues it to the client, sends it, and reads what the client gets.
    fn bounce(batch: &mut Batch, server: &UdpSocket, client: &UdpSocket) -> Vec<Vec<u8>> {
        batch.clear();
        batch.receive_named(server.as_fd()).unwrap();
        for slot in 0..batch.got().len() {
            let way = Way { to: batch.got()[slot].from.unwrap(), from: None };
            batch.queue(slot, 0, Some(way));
        }
        let mut left = 0;
        batch.flush(server.as_fd(), |p| left += p.datagrams).unwrap();
        let mut buffer = vec![0; ROOM];
        let heard: Vec<_> = std::iter::from_fn(|| client.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec())).collect();
        assert_eq!(left, heard.len());
        heard
    }

    #[test]
    fn datagrams_of_every_length_come_back_whole_and_in_order() {
        let (server, client) = pair();
        let mut batch = Batch::new();
        let mut rounds = vec![vec![0], vec![65_507], vec![0, 1, 0], vec![64; 20], vec![9_000; 3]];
        rounds.push(vec![64, 64, 64, 10, 64, 64, 1_200, 1_200, 3, 0, 1_453, 1_453, 1]);
        for lengths in rounds {
            let said: Vec<Vec<u8>> = (0_u8..).zip(&lengths).map(|(n, length)| vec![n; *length]).collect();
            for datagram in &said {
                client.send(datagram).unwrap();
            }
            assert_eq!(bounce(&mut batch, &server, &client), said, "{lengths:?}");
        }
    }

    #[test]
    fn equal_datagrams_leave_as_one_and_a_shorter_one_ends_the_run() {
        let (server, client) = pair();
        for length in [8, 8, 8, 3, 8, 8] {
            client.send(&vec![1; length]).unwrap();
        }
        let mut batch = Batch::new();
        batch.receive_named(server.as_fd()).unwrap();
        for slot in 0..6 {
            batch.queue(slot, 7, None);
        }
        assert_eq!(batch.queued().map(|p| (p.tag, p.datagrams, p.bytes)).collect::<Vec<_>>(), [(7, 4, 27), (7, 2, 16)]);
    }

    #[test]
    fn what_a_client_sent_as_one_is_counted_and_forwarded_as_many() {
        let (server, client) = pair();
        let (other, sink) = pair();
        let mut batch = Batch::new();
        for n in 0_u8..10 {
            client.send(&[n; 100]).unwrap();
        }
        batch.receive_named(server.as_fd()).unwrap();
        for slot in 0..10 {
            batch.queue(slot, 0, None);
        }
        // the same socket pair, the other way: one send of ten
        batch.flush(sink.as_fd(), |_| {}).unwrap();
        batch.clear();
        assert_eq!(batch.receive_named(other.as_fd()).unwrap(), 1, "merged");
        assert_eq!((batch.got()[0].datagrams(), batch.got()[0].bytes()), (10, 1000));
        assert_eq!(batch.first(0).unwrap(), [0; 100]);
        let way = Way { to: batch.got()[0].from.unwrap(), from: None };
        batch.queue(0, 0, Some(way));
        batch.flush(other.as_fd(), |p| assert_eq!(p.datagrams, 10)).unwrap();
        let mut buffer = [0; 2000];
        for n in 0_u8..10 {
            assert_eq!((sink.recv(&mut buffer).unwrap(), buffer[0]), (100, n));
        }
        batch.keep(0, 7);
        assert_eq!((batch.got()[0].datagrams(), batch.got()[0].bytes()), (7, 700));
        batch.queue(0, 0, Some(way));
        batch.flush(other.as_fd(), |p| assert_eq!(p.datagrams, 7)).unwrap();
        for n in 0_u8..7 {
            assert_eq!((sink.recv(&mut buffer).unwrap(), buffer[0]), (100, n));
        }
        batch.keep(0, 1);
        assert_eq!((batch.first(0).unwrap(), batch.got()[0].datagrams()), ([0; 100].as_slice(), 1));
    }

    #[test]
    fn a_run_that_cannot_be_cut_leaves_one_by_one() {
        let (server, client) = pair();
        for n in 0_u8..5 {
            client.send(&[n; 20]).unwrap();
        }
        let mut batch = Batch::new();
        batch.receive_named(server.as_fd()).unwrap();
        let to = batch.got()[0].from.unwrap();
        for slot in 0..5 {
            batch.queue(slot, 0, Some(Way { to, from: None }));
        }
        assert!(batch.split_front());
        assert_eq!(batch.queued().count(), 5);
        assert!(!batch.split_front());
        let mut left = Vec::new();
        batch.flush(server.as_fd(), |p| left.push(p.bytes)).unwrap();
        assert_eq!(left, [20; 5]);
        let mut buffer = [0; 64];
        for n in 0_u8..5 {
            assert_eq!((client.recv(&mut buffer).unwrap(), buffer[0]), (20, n));
        }
    }

    #[test]
    fn a_wildcard_socket_knows_where_a_datagram_was_sent_to_and_answers_from_there() {
        let server = super::super::listen("0.0.0.0:0".parse().unwrap(), 1).unwrap().remove(0);
        let port = server.local_addr().unwrap().port();
        let client = super::super::connect(SocketAddr::from(([127, 0, 0, 77], port))).unwrap();
        client.send(b"x").unwrap();
        let mut batch = Batch::new();
        batch.receive_named(server.as_fd()).unwrap();
        let got = batch.got()[0];
        assert_eq!(got.to, Some(IpAddr::from([127, 0, 0, 77])));
        batch.queue(0, 0, Some(Way { to: got.from.unwrap(), from: got.to }));
        batch.flush(server.as_fd(), |_| {}).unwrap();
        // a connected socket hears only of the address that it is connected to
        assert_eq!(client.recv(&mut [0; 9]).unwrap(), 1);
    }

    #[test]
    fn after_an_error_the_rest_can_go_elsewhere() {
        let (server, client) = pair();
        client.send(b"a").unwrap();
        client.send(b"bb").unwrap();
        let mut batch = Batch::new();
        batch.receive_named(server.as_fd()).unwrap();
        let dead = super::super::connect(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).unwrap();
        dead.send(b"x").unwrap();
        batch.queue(0, 0, None);
        batch.queue(1, 0, None);
        let error = batch.flush(dead.as_fd(), |_| panic!("it left")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let (other, way) = pair();
        batch.flush(way.as_fd(), |_| {}).unwrap();
        batch.clear();
        assert_eq!(batch.receive_named(other.as_fd()).unwrap(), 2);
    }
}
