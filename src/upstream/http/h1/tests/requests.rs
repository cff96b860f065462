//! Requests as they are written, and bodies that come by and by.

use hyper::Method;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What is written of a request that is answered when so many bytes of it have come.
async fn written(request: Request<Outgoing>, answered_after: usize) -> String {
    let mut h1 = on(Script::new([Does::Hears(answered_after), Does::Says(OK.into())]));
    exchange(&mut h1, request).await.unwrap();
    assert!(h1.is_free());
    h1.wire.text()
}

#[tokio::test]
async fn a_head_is_written_in_its_order_with_the_framing_of_its_body() {
    let request = |method: &str, target: &str, fields: &[(&str, &str)], body: Outgoing| {
        let builder = Request::builder().method(method).uri(target);
        fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(body).unwrap()
    };
    let none = Outgoing::none;
    for (request, expected) in [
        (
            request("GET", "/a?b", &[("host", "h"), ("X-A", "1"), ("x-a", "2")], none()),
            "GET /a?b HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\n\r\n",
        ),
        (request("GET", "http://h/a", &[("host", "h")], none()), "GET /a HTTP/1.1\r\nhost: h\r\n\r\n"),
        (request("OPTIONS", "*", &[("host", "h")], none()), "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"),
        (request("POST", "/", &[], none()), "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"),
        (request("DELETE", "/", &[], none()), "DELETE / HTTP/1.1\r\n\r\n"),
        (request("GET", "/", &[("content-length", "0")], none()), "GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"),
        (
            request("POST", "/", &[("content-length", "2"), ("a", "b")], whole("hi")),
            "POST / HTTP/1.1\r\ncontent-length: 2\r\na: b\r\n\r\nhi",
        ),
        (request("GET", "/", &[], whole("hi")), "GET / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"),
        // the body alone says how long it is
        (request("POST", "/", &[("content-length", "9")], whole("hi")), "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"),
        (request("GET", "/", &[("content-length", "9")], none()), "GET / HTTP/1.1\r\n\r\n"),
        (
            request("PUT", "/", &[("content-length", "2"), ("content-length", "2")], whole("hi")),
            "PUT / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi",
        ),
        (request("PUT", "/", &[("transfer-encoding", "chunked")], whole("hi")), "PUT / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"),
    ] {
        assert_eq!(written(request, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn a_body_of_known_length_goes_on_as_it_comes() {
    let mut client = Client::begin("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\none").await;
    let head = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n";
    let mut h1 = on(Script::new([Does::Hears(head.len() + 6), Does::Says(OK.into())]));
    let request = post(client.body());
    let (answer, ()) = tokio::join!(exchange(&mut h1, request), async {
        tokio::task::yield_now().await;
        client.io.write_all(b"two").await.unwrap();
    });
    assert!(answer.unwrap().free);
    assert_eq!(h1.wire.text(), format!("{head}onetwo"));
}

#[tokio::test]
async fn a_body_of_unknown_length_goes_in_chunks_with_the_trailers_that_were_announced() {
    let chunks = "2\r\nhi\r\n0\r\nx-a: 1\r\nx-b: 2\r\nhost: c\r\n\r\n";
    for (trailer, end) in [(None, ""), (Some("x-a, Host"), "x-a: 1\r\n"), (Some("x-b,x-a"), "x-a: 1\r\nx-b: 2\r\n")] {
        let mut client = Client::begin(&format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")).await;
        for method in [Method::POST, Method::GET] {
            let Some(body) = client.body.take() else { continue };
            let mut request = post(Outgoing::client(body, None, false, None));
            *request.method_mut() = method;
            let mut line = String::new();
            if let Some(trailer) = trailer {
                request.headers_mut().insert("trailer", trailer.parse().unwrap());
                line = format!("trailer: {trailer}\r\n");
            }
            let expected = format!("POST /p HTTP/1.1\r\nhost: a\r\n{line}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{end}\r\n");
            assert_eq!(written(request, expected.len()).await, expected);
        }
    }
}

#[tokio::test]
async fn large_pieces_arrive_whole_however_little_is_taken_at_once() {
    let text: String = (0..30_000).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
    for chunked in [false, true] {
        for takes in [1, 7, 4096, usize::MAX] {
            let framing = if chunked {
                "transfer-encoding: chunked\r\n\r\n7530\r\n".into()
            } else {
                format!("content-length: {}\r\n\r\n", text.len())
            };
            let end = if chunked { "\r\n0\r\n\r\n" } else { "" };
            let sent = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}{text}{end}");
            let mut client = Client::begin(&sent).await;
            let mut script = Script::new([Does::Hears(text.len()), Does::Hears(text.len() + 40), Does::Says(OK.into())]);
            script.takes = takes;
            let mut h1 = on(script);
            let answer = exchange(&mut h1, post(client.body())).await.unwrap();
            assert_eq!(answer.status, 200);
            let (head, body) = h1.wire.text().split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned())).unwrap();
            assert_eq!(head.contains("chunked"), chunked);
            let mut whole = body.clone();
            if chunked {
                let mut rest = body.as_str();
                whole = std::iter::from_fn(|| {
                    let (size, after) = rest.split_once("\r\n")?;
                    let size = usize::from_str_radix(size, 16).unwrap();
                    rest = after[size..].strip_prefix("\r\n").unwrap();
                    Some(&after[..size])
                })
                .collect();
                assert!(body.ends_with("\r\n0\r\n\r\n"));
            }
            assert!(whole == text, "chunked: {chunked}, takes {takes}");
        }
    }
}

#[tokio::test]
async fn a_held_body_goes_when_the_node_asks_for_it() {
    let mut client = Client::begin("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    let head = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";
    let says = |text: &str| Does::Says(text.into());
    let does = [says("HTTP/1.1 103 Early Hints\r\n\r\n"), says("HTTP/1.1 100 Continue\r\n\r\n"), Does::Hears(head.len() + 2), says(OK)];
    let mut h1 = on(Script::new(does));
    assert!(exchange(&mut h1, post(client.held())).await.unwrap().free);
    assert_eq!(h1.wire.text(), format!("{head}hi"));

    let mut client = Client::begin("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    let mut h1 = on(Script::new([says("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n")]));
    let answer = exchange(&mut h1, post(client.held())).await.unwrap();
    assert_eq!((answer.status, answer.free), (417, false), "what was announced and not sent may still be waited for");
    assert_eq!(h1.wire.text(), head);
}

#[tokio::test]
async fn an_answer_may_begin_and_end_before_the_body_does() {
    let mut client = Client::begin("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\none").await;
    let mut h1 = on(Script::new([Does::Says(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno".to_vec())]));
    let answer = exchange(&mut h1, post(client.body())).await.unwrap();
    assert_eq!((answer.status, &answer.body[..], answer.free), (413, &b"no"[..], false));
}

#[tokio::test]
async fn a_body_goes_on_while_the_answer_comes() {
    let mut client = Client::begin("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\none").await;
    let head = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n".len();
    let says = |text: &str| Does::Says(text.into());
    let does = [Does::Hears(head + 3), says("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none"), Does::Hears(head + 6), says("two")];
    let mut h1 = on(Script::new(does));
    let request = post(client.body());
    h1.send(request).await.unwrap();
    let one = poll_fn(|cx| h1.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
    client.io.write_all(b"two").await.unwrap();
    let two = poll_fn(|cx| h1.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((&one[..], &two[..], h1.is_free()), (&b"one"[..], &b"two"[..], true));
}

#[tokio::test]
async fn a_node_that_takes_no_more_of_a_request_may_have_answered() {
    let answer = "HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n";
    for until in [1, 20, 60] {
        let mut script = Script::new([Does::Says(answer.into())]);
        (script.until, script.takes) = (until, 20);
        let mut h1 = on(script);
        let answer = exchange(&mut h1, post(whole("0123456789012345678901234567890123456789"))).await.unwrap();
        assert_eq!((answer.status, answer.free), (413, false), "{until}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_is_told_from_a_node_that_does() {
    let mut client = Client::begin("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\none").await;
    let mut h1 = on(Script::new([]));
    let request = post(client.body());
    drop(client);
    match h1.send(request).await {
        Err(Broken::Sent(error)) => assert_eq!(error.reason(), crate::base::reason::Reason::ClientReset, "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(!h1.is_free());
}
