//! Where the messages of an HTTP/1 client begin and end, judged strictly and before anything goes to a node: what two servers
//! could read in two ways is refused, not repaired (RFC 9112, sections 2.2, 3.2, 5, 6 and 7.1). Never changes what was sent, knows
//! no routes, and answers nothing: the handler does.

mod chunk;
mod fault;
mod line;
mod parts;
mod stream;
mod watch;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use parts::{answer, request};
pub use stream::{Framing, Place};
pub use watch::{Watch, Watched, watch};

/// The largest head and the largest trailer, in bytes with their line ends.
pub const LARGEST_HEAD: usize = 64 * 1024;
/// The longest request target, in bytes.
pub const LONGEST_TARGET: usize = 8 * 1024;
/// The most field lines of a head or a trailer: as many as hyper takes where it is told nothing, for only then it parses without taking
/// memory for them.
pub const MOST_LINES: u16 = 100;
/// What a parser behind [`Watched`] must take, in bytes, so that it never refuses a head for its size before this does.
pub const PARSER_HEAD: usize = LARGEST_HEAD + 1024;
