//! Any bytes as the beginning of a connection: the reader of PROXY headers never panics, never claims bytes that are not there, and
//! reads back what the writers make of its answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::net::proxy_header::{LONGEST, Step, parse, v1, v2};

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Step::NeedMore => assert!(bytes.len() < LONGEST),
        Step::Bad(_) => {}
        Step::Header(header) => {
            assert!(header.consumed <= bytes.len().min(LONGEST) && header.additions < header.consumed);
            assert_eq!(parse(&bytes[..header.consumed]), Step::Header(header), "what follows does not matter");
            assert_eq!(parse(&bytes[..header.consumed - 1]), Step::NeedMore, "no byte too many");
            let Some(ends) = header.ends else { return };
            for written in [v1::write(&ends), v2::write(&ends)] {
                let Step::Header(again) = parse(&written) else { panic!("{ends:?}") };
                assert_eq!((again.ends, again.consumed), (Some(ends), written.len()));
            }
        }
    }
});
