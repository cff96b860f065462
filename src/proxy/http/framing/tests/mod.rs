//! Literal bytes and their verdicts, in every cut; and the parser behind the watcher, which must understand what was let through as
//! the watcher does.

mod behind;
mod same;
mod table;

use super::{Fault, Framing, Place};

/// Feeds pieces, as a connection would; what was said of the heads, and where it ended.
fn fed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Result<(), Fault>>, Place, Option<Fault>) {
    let mut framing = Framing::new();
    let mut verdicts = Vec::new();
    for piece in pieces {
        let passed = framing.saw(piece);
        assert!(passed == piece.len() || framing.fault().is_some());
        while let Some(Ok(())) = framing.verdict() {
            verdicts.push(Ok(()));
        }
        if framing.fault().is_some() {
            break;
        }
    }
    if framing.mend().is_some() {
        verdicts.extend(framing.verdict());
    }
    (verdicts, framing.place(), framing.fault())
}
