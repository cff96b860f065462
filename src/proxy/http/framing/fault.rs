//! The rules that a message can break, each with its word and the status that the client gets.

use hyper::StatusCode;

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A line that ends with LF alone, or with CR alone.
    LineEnd,
    /// A control byte in a line: NUL, a CR that ends nothing, DEL.
    ControlByte,
    /// A request line that is not `method SP target SP version`.
    RequestLine,
    /// A method that is no token, or a very long one.
    Method,
    /// A target that is of no form that the method may have, or with bytes that a target cannot have.
    Target,
    /// A target above [`super::LONGEST_TARGET`].
    TargetTooLong,
    /// A version that is neither 1.0 nor 1.1.
    Version,
    /// A head above [`super::LARGEST_HEAD`].
    HeadTooLarge,
    /// More field lines than [`super::MOST_LINES`].
    TooManyLines,
    /// A line that goes on from the line before (RFC 9112, 5.2).
    Folded,
    /// A field name that is empty, no token, or not followed by its colon at once.
    FieldName,
    /// No `Host`, several, or one that names no host.
    Host,
    /// An absolute target, or `:authority`, that names another host than `Host`.
    Authority,
    /// A `Content-Length` that is no plain number.
    ContentLength,
    /// More than one `Content-Length`, equal ones too.
    ContentLengthRepeated,
    /// `Content-Length` and `Transfer-Encoding` in one head.
    LengthAndEncoding,
    /// `Transfer-Encoding` in several lines, or without `chunked` at its end.
    TransferEncoding,
    /// `Transfer-Encoding` with another coding before `chunked`.
    TransferEncodingUnknown,
    /// `Transfer-Encoding` in HTTP/1.0.
    TransferEncodingIn10,
    /// `Connection` names a field that says how the message is framed or where it goes.
    ConnectionNames,
    /// A chunk size that is no plain hexadecimal number.
    ChunkSize,
    /// A chunk extension that is none.
    ChunkExtension,
    /// A chunk that is not followed by CRLF.
    ChunkEnd,
    /// A trailer field that may stand in a head only.
    Trailer,
    /// Bytes sent before the answer that was to switch protocols.
    EarlyBytes,
    /// The parser saw a head that the watcher did not.
    OutOfStep,
}

impl Fault {
    /// The rule's word, for logs.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::LineEnd => "line-end",
            Self::ControlByte => "control-byte",
            Self::RequestLine => "request-line",
            Self::Method => "method",
            Self::Target => "target",
            Self::TargetTooLong => "target-too-long",
            Self::Version => "version",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyLines => "too-many-lines",
            Self::Folded => "folded-line",
            Self::FieldName => "field-name",
            Self::Host => "host",
            Self::Authority => "authority",
            Self::ContentLength => "content-length",
            Self::ContentLengthRepeated => "content-length-repeated",
            Self::LengthAndEncoding => "content-length-and-transfer-encoding",
            Self::TransferEncoding => "transfer-encoding",
            Self::TransferEncodingUnknown => "transfer-encoding-unknown",
            Self::TransferEncodingIn10 => "transfer-encoding-in-1.0",
            Self::ConnectionNames => "connection-names",
            Self::ChunkSize => "chunk-size",
            Self::ChunkExtension => "chunk-extension",
            Self::ChunkEnd => "chunk-end",
            Self::Trailer => "trailer",
            Self::EarlyBytes => "early-bytes",
            Self::OutOfStep => "out-of-step",
        }
    }

    /// The status of the answer, which closes the connection.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyLines => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TransferEncodingUnknown => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::LineEnd
            | Self::ControlByte
            | Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::Folded
            | Self::FieldName
            | Self::Host
            | Self::Authority
            | Self::ContentLength
            | Self::ContentLengthRepeated
            | Self::LengthAndEncoding
            | Self::TransferEncoding
            | Self::TransferEncodingIn10
            | Self::ConnectionNames
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::Trailer
            | Self::EarlyBytes
            | Self::OutOfStep => StatusCode::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.rule())
    }
}

impl std::error::Error for Fault {}
