//! What becomes of a connection: reuse, requests that may be sent again, other protocols, and its memory.

use super::*;
use crate::base::reason::Reason;
use crate::upstream::http::h1::{Upgraded, spare};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn ok() -> Does {
    Does::Says(OK.to_vec())
}

/// How a node closes, and how many bytes of a request it takes in one go before.
const CLOSING: [(Does, usize); 3] = [(Does::Ends, usize::MAX), (Does::Resets, usize::MAX), (Does::Resets, 1)];

/// A connection that has carried a request and does this after the next one, of which it takes a byte if it takes them one by one.
async fn used(does: Does, takes: usize) -> H1<Script> {
    let mut script = Script::new([ok(), does]);
    script.takes = takes;
    let mut h1 = on(script);
    exchange(&mut h1, get()).await.unwrap();
    if takes == 1 {
        h1.wire.until = h1.wire.written.len() + 1;
    }
    h1
}

#[tokio::test]
async fn a_connection_carries_one_request_after_another() {
    let mut h1 = on(Script::new([ok(), ok(), ok()]));
    for n in 1..=3 {
        assert!(exchange(&mut h1, get()).await.unwrap().free);
        h1.rest();
        assert_eq!(h1.requests(), n);
    }
    assert_eq!(h1.wire.text(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3));
}

#[tokio::test]
async fn a_connection_that_says_anything_while_it_waits_is_not_quiet() {
    for does in [Does::Says(b"x".to_vec()), Does::Says(OK.to_vec()), Does::Ends, Does::Resets] {
        let mut h1 = on(Script::new([ok(), does.clone()]));
        assert!(exchange(&mut h1, get()).await.unwrap().free);
        // the script pauses before each thing that it does
        let quiet: Vec<_> = (0..2).map(|_| h1.is_quiet()).collect();
        assert!(quiet.contains(&false), "{does:?}");
    }
    let mut h1 = on(Script::new([ok()]));
    assert!(exchange(&mut h1, get()).await.unwrap().free);
    assert!((0..3).all(|_| h1.is_quiet()));
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_comes_back_from_a_connection_that_had_waited() {
    let mut h1 = on(Script::new([ok(), Does::Ends]));
    exchange(&mut h1, get()).await.unwrap();
    h1.wire.until = h1.wire.written.len();
    let request = Request::builder().method("POST").uri("/x?y").header("host", "a").header("b", "c").body(whole("hi")).unwrap();
    // a body that was put into the same write has been taken
    assert!(matches!(h1.send(request).await, Err(Broken::Sent(_))));

    let mut h1 = on(Script::new([ok(), Does::Ends]));
    exchange(&mut h1, get()).await.unwrap();
    h1.wire.until = h1.wire.written.len();
    let request = Request::builder().method("DELETE").uri("/x?y").header("host", "a").header("b", "c").body(Outgoing::none()).unwrap();
    let Err(Broken::Unsent(unsent)) = h1.send(request).await else { panic!("it was sent") };
    assert_eq!((unsent.uri().to_string(), lines(unsent.headers()).len()), ("/x?y".to_owned(), 2));
    assert!(!h1.is_free());
    let mut next = on(Script::new([ok()]));
    assert_eq!(exchange(&mut next, *unsent).await.unwrap().status, 200);
    assert_eq!(next.wire.text(), "DELETE /x?y HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\n");
}

#[tokio::test]
async fn a_request_that_says_the_same_twice_comes_back_from_a_connection_that_was_being_closed() {
    for (does, takes) in CLOSING {
        let mut h1 = used(does, takes).await;
        let request = Request::builder().method("DELETE").uri("/x?y").header("host", "a").header("b", "c").body(Outgoing::none()).unwrap();
        let Err(Broken::Unsent(again)) = h1.send(request).await else { panic!("it did not come back") };
        assert!(!h1.is_free());
        let mut next = on(Script::new([ok()]));
        assert_eq!(exchange(&mut next, *again).await.unwrap().status, 200);
        assert_eq!(next.wire.text(), "DELETE /x?y HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\n");
    }
}

#[tokio::test]
async fn a_request_of_which_something_was_sent_never_goes_again() {
    let mut new = Script::new([]);
    new.until = 0;
    let post = || Request::builder().method("POST").uri("/").header("host", "a").body(Outgoing::none()).unwrap();
    let put = || Request::builder().method("PUT").uri("/").header("host", "a").body(whole("hi")).unwrap();
    // on a new connection; where something was heard; what may mean another thing the second time; what has a body
    let mut broken = vec![(on(new), get()), (on(Script::new([Does::Ends])), get())];
    for said in ["H", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut h1 = on(Script::new([ok(), Does::Says(said.into()), Does::Ends]));
        exchange(&mut h1, get()).await.unwrap();
        broken.push((h1, get()));
    }
    for (does, takes) in CLOSING {
        broken.push((used(does.clone(), takes).await, post()));
        broken.push((used(does, takes).await, put()));
    }
    for (mut h1, request) in broken {
        match h1.send(request).await {
            Err(Broken::Sent(error)) => assert_eq!(error.reason(), Reason::UpstreamReset, "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(!h1.is_free());
    }
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_leaves_its_connection_unusable() {
    let mut h1 = on(Script::new([]));
    {
        let mut sent = std::pin::pin!(h1.send(get()));
        let polled = poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    assert!(!h1.is_free());

    let mut h1 = on(Script::new([Does::Says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no".to_vec())]));
    h1.send(get()).await.unwrap();
    assert!(!h1.is_free(), "its body was not read");
}

#[tokio::test]
async fn a_switch_of_protocols_gives_the_stream_back_with_what_came_on_it() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nearly";
    let mut h1 = on(Script::new([Does::Says(answer.into()), Does::Says(b"late".to_vec())]));
    let request = Request::builder().uri("/").header("connection", "upgrade").header("upgrade", "x").body(Outgoing::none()).unwrap();
    assert_eq!(h1.send(request).await.unwrap().status(), 101);
    assert!(!h1.is_free());
    let Upgraded { wire, read } = h1.upgraded().unwrap();
    assert_eq!((&read[..], wire.does.len()), (&b"early"[..], 1));

    let mut h1 = on(Script::new([ok()]));
    exchange(&mut h1, get()).await.unwrap();
    assert!(h1.upgraded().is_err());
}

#[tokio::test]
async fn a_connection_at_rest_holds_no_buffer_and_the_next_request_allocates_none() {
    let mut h1 = on(Script::new([ok(), ok(), ok()]));
    let mut seen = Vec::new();
    for _ in 0..3 {
        h1.send(get()).await.unwrap();
        let body = poll_fn(|cx| h1.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
        seen.push(body.as_ptr());
        drop(body);
        h1.rest();
        assert_eq!((h1.inbox.bytes.capacity(), h1.outbox.together().capacity()), (0, spare::SIZE));
        h1.rest();
    }
    assert!(seen.iter().all(|at| *at == seen[0]), "one buffer, from its beginning: {seen:?}");
    assert!(size_of::<H1>() <= 400, "{}", size_of::<H1>());
}
