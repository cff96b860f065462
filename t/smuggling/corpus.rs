//! The requests, byte by byte. Each is one connection's bytes; `N` in a target stands for the number of the request, so that what a
//! node saw can be told apart. What may arrive at a node is said beside it, and nothing else may.

/// One connection's bytes.
pub struct Case {
    pub bytes: Vec<u8>,
    /// `method target body` of what may arrive, in order.
    pub may: Vec<String>,
}

/// A request that hides in others. Where it may not be seen as one, it is seen by nobody.
const HIDDEN: &str = "GET /hidden/N HTTP/1.1\r\nHost: a\r\n\r\n";

/// Lines that some server takes for `Transfer-Encoding: chunked`, and whether they are.
const ENCODINGS: &[(&str, bool)] = &[
    ("Transfer-Encoding: chunked", true),
    ("transfer-encoding:chunked", true),
    ("TRANSFER-ENCODING:\t CHUNKED \t", true),
    (" Transfer-Encoding: chunked", false),
    ("\tTransfer-Encoding: chunked", false),
    ("Transfer-Encoding : chunked", false),
    ("Transfer-Encoding\t: chunked", false),
    ("Transfer-Encoding: \x0bchunked", false),
    ("Transfer-Encoding: \x0cchunked", false),
    ("Transfer-Encoding: chunked\x0b", false),
    ("Transfer-Encoding: chunked\0", false),
    ("Transfer-Encoding\0: chunked", false),
    ("Transfer-Encoding: xchunked", false),
    ("Transfer-Encoding: chunkedx", false),
    ("Transfer-Encoding: chunk", false),
    ("Transfer-Encoding: chunked, identity", false),
    ("Transfer-Encoding: identity, chunked", false),
    ("Transfer-Encoding: chunked, chunked", false),
    ("Transfer-Encoding: chunked,", false),
    ("Transfer-Encoding: ,chunked", false),
    ("Transfer-Encoding: gzip, chunked", false),
    ("Transfer-Encoding: \"chunked\"", false),
    ("Transfer-Encoding: 'chunked'", false),
    ("Transfer-Encoding: chunked; q=1", false),
    ("Transfer-Encoding:\r\n chunked", false),
    ("Transfer-Encoding\r\n: chunked", false),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", false),
    ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", false),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", false),
    ("Transfer-Encoding: identity", false),
    ("Transfer_Encoding: chunked", false),
    ("X: x\nTransfer-Encoding: chunked", false),
    ("X: x\rTransfer-Encoding: chunked", false),
    ("X: x\r\n\tTransfer-Encoding: chunked", false),
    ("Transfer-Encoding: chu\rnked", false),
    ("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", false),
];

/// Lines that some server takes for a length of 5, and whether they are.
const LENGTHS: &[(&str, bool)] = &[
    ("Content-Length: 5", true),
    ("content-length:\t005 ", true),
    ("Content-Length: +5", false),
    ("Content-Length: -5", false),
    ("Content-Length: 0x5", false),
    ("Content-Length: 5.0", false),
    ("Content-Length: 5e0", false),
    ("Content-Length: 5 5", false),
    ("Content-Length: 5, 5", false),
    ("Content-Length: 5,", false),
    ("Content-Length: 5;", false),
    ("Content-Length: \"5\"", false),
    ("Content-Length: 1_0", false),
    ("Content-Length:", false),
    ("Content-Length: 5\r\nContent-Length: 5", false),
    ("Content-Length: 5\r\nContent-Length: 0", false),
    ("Content-Length: 0\r\nContent-Length: 5", false),
    ("Content-Length : 5", false),
    (" Content-Length: 5", false),
    ("Content-Length\0: 5", false),
    ("Content-Length: 5\0", false),
    ("Content-Length: 5\x0b", false),
    ("Content-Length:\r\n 5", false),
    ("Content_Length: 5", false),
    ("Content-Length: 18446744073709551621", false),
    ("Content-Length: 99999999999999999999999999999999", false),
    ("X: x\nContent-Length: 5", false),
    ("Connection: Content-Length\r\nContent-Length: 5", false),
];

/// Chunked bodies that no two servers agree on.
const CHUNKS: &[&str] = &[
    "5 \r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5; a\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "100000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n",
    "5\r\nhello\r\n-0\r\n\r\n",
];

/// Whole heads that are refused, after which the hidden request stands.
const HEADS: &[&str] = &[
    "GET /N HTTP/1.1\nHost: a\n\n",
    "GET /N HTTP/1.1\r\nHost: a\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\n\n",
    "GET /N HTTP/1.1\rHost: a\r\r",
    "GET /N HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "GET /N HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
    "GET /N HTTP/1.1\r\nX: y\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost:\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a,b\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: x@a\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a#b\r\n\r\n",
    "GET http://b/N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:1/N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://x@a/N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:///N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ftp://a/N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a/N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ?N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N\t HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  /N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/N HTTP/1.1\r\nHost: a\r\n\r\n",
    " GET /N HTTP/1.1\r\nHost: a\r\n\r\n",
    "G(T /N HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /N HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET /N HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET /N HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /N HTTP/0.9\r\nHost: a\r\n\r\n",
    "GET /N HTTP/11\r\nHost: a\r\n\r\n",
    "GET /N HTTP/1.10\r\nHost: a\r\n\r\n",
    "GET /N http/1.1\r\nHost: a\r\n\r\n",
    "GET /N\r\n",
    "GET /N\r\n\r\n",
    "\n\nGET /N HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\nGET /N HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /N HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /N HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "GET /N HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n",
];

/// All of them.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    let mut case = |bytes: String, may: &[&str]| {
        let number = all.len().to_string();
        let told = |text: &str| text.replace("/N", &format!("/{number}")).replace("?N", &format!("?{number}"));
        all.push(Case { bytes: told(&bytes).into_bytes(), may: may.iter().map(|text| told(text)).collect() });
    };
    let post = "POST /N HTTP/1.1\r\nHost: a\r\n";
    for (line, is_fine) in ENCODINGS {
        let hidden = format!("0\r\n\r\n{HIDDEN}");
        // one reads the length, the other the chunks: in both orders, and with either too short
        for length in [hidden.len(), 5, 0] {
            case(format!("{post}Content-Length: {length}\r\n{line}\r\n\r\n{hidden}"), &[]);
        }
        case(format!("{post}{line}\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()), &[]);
        let may: &[&str] = if *is_fine { &["POST /N hello", "GET /hidden/N "] } else { &[] };
        case(format!("{post}{line}\r\n\r\n5\r\nhello\r\n{hidden}"), may);
    }
    for (line, is_fine) in LENGTHS {
        let may: &[&str] = if *is_fine { &["POST /N hello", "GET /hidden/N "] } else { &[] };
        case(format!("{post}{line}\r\n\r\nhello{HIDDEN}"), may);
    }
    for chunks in CHUNKS {
        case(format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}"), &[]);
        case(format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{chunks}{HIDDEN}"), &[]);
    }
    for head in HEADS {
        case(format!("{head}{HIDDEN}"), &[]);
        case(format!("GET /N/fine HTTP/1.1\r\nHost: a\r\n\r\n{head}{HIDDEN}"), &["GET /N/fine "]);
        case(format!("{post}Content-Length: 5\r\n\r\nhello{head}{HIDDEN}"), &["POST /N hello"]);
    }
    all
}
