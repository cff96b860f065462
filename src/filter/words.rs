//! The words of transforms: the main key that names one, and the keys that may stand beside it. Knows no values.

/// Which transform an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Main {
    PathPrefix,
    PathRemovePrefix,
    PathSet,
    QueryValueParameter,
    QueryRemoveParameter,
    QueryRouteParameter,
    HttpMethodChange,
    RequestHeadersCopy,
    RequestHeadersAllowed,
    RequestHeaderOriginalHost,
    RequestHeader,
    RequestHeaderRemove,
    RequestHeaderRouteValue,
    XForwarded,
    Forwarded,
    ClientCert,
    ResponseHeadersCopy,
    ResponseHeadersAllowed,
    ResponseHeader,
    ResponseHeaderRemove,
    ResponseTrailersCopy,
    ResponseTrailersAllowed,
    ResponseTrailer,
    ResponseTrailerRemove,
}

/// A main key as documented, and the keys that may stand beside it.
pub(super) type Row = (Main, &'static str, &'static [&'static str]);

const VALUE: &[&str] = &["Set", "Append"];
const VALUE_WHEN: &[&str] = &["Set", "Append", "When"];
const WHEN: &[&str] = &["When"];

const ROWS: [Row; 24] = [
    (Main::PathPrefix, "PathPrefix", &[]),
    (Main::PathRemovePrefix, "PathRemovePrefix", &[]),
    (Main::PathSet, "PathSet", &[]),
    (Main::QueryValueParameter, "QueryValueParameter", VALUE),
    (Main::QueryRemoveParameter, "QueryRemoveParameter", &[]),
    (Main::QueryRouteParameter, "QueryRouteParameter", VALUE),
    (Main::HttpMethodChange, "HttpMethodChange", &["Set"]),
    (Main::RequestHeadersCopy, "RequestHeadersCopy", &[]),
    (Main::RequestHeadersAllowed, "RequestHeadersAllowed", &[]),
    (Main::RequestHeaderOriginalHost, "RequestHeaderOriginalHost", &[]),
    (Main::RequestHeader, "RequestHeader", VALUE),
    (Main::RequestHeaderRemove, "RequestHeaderRemove", &[]),
    (Main::RequestHeaderRouteValue, "RequestHeaderRouteValue", VALUE),
    (Main::XForwarded, "X-Forwarded", &["For", "Proto", "Host", "Prefix", "HeaderPrefix"]),
    (Main::Forwarded, "Forwarded", &["ForFormat", "ByFormat", "Action"]),
    (Main::ClientCert, "ClientCert", &[]),
    (Main::ResponseHeadersCopy, "ResponseHeadersCopy", &[]),
    (Main::ResponseHeadersAllowed, "ResponseHeadersAllowed", &[]),
    (Main::ResponseHeader, "ResponseHeader", VALUE_WHEN),
    (Main::ResponseHeaderRemove, "ResponseHeaderRemove", WHEN),
    (Main::ResponseTrailersCopy, "ResponseTrailersCopy", &[]),
    (Main::ResponseTrailersAllowed, "ResponseTrailersAllowed", &[]),
    (Main::ResponseTrailer, "ResponseTrailer", VALUE_WHEN),
    (Main::ResponseTrailerRemove, "ResponseTrailerRemove", WHEN),
];

/// Every main key as documented, with the keys that may stand beside it.
pub fn words() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    ROWS.into_iter().map(|(_, name, beside)| (name, beside))
}

/// A key without case and separators: `path_prefix`, `PathPrefix` and `PATHPREFIX` are one.
pub(super) fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

/// The transform that a key names.
pub(super) fn row(key: &str) -> Option<Row> {
    let key = plain(key);
    ROWS.into_iter().find(|(_, name, _)| plain(name) == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_without_case_and_underscores() {
        for key in ["PathPrefix", "path_prefix", "pathprefix", "PATH_PREFIX", "_pathPrefix"] {
            assert_eq!(row(key).map(|row| row.0), Some(Main::PathPrefix), "{key}");
        }
        for key in ["X-Forwarded", "x_forwarded", "XForwarded", "x-forwarded"] {
            assert_eq!(row(key).map(|row| row.0), Some(Main::XForwarded), "{key}");
        }
        assert_eq!(row("Set").map(|row| row.1), None);
    }

    #[test]
    fn no_key_is_two_transforms_and_none_is_both_main_and_beside() {
        for (main, name, _) in ROWS {
            assert_eq!(row(name).map(|row| row.0), Some(main));
            assert!(ROWS.iter().all(|(_, _, beside)| beside.iter().all(|key| plain(key) != plain(name))), "{name}");
        }
    }
}
