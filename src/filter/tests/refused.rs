//! What is not taken, and where the mistake is shown.

use serde_json::{Value, json};

use super::super::{Transforms, words};
use super::specs;

fn wrong(list: &Value) -> Vec<(String, String)> {
    let found = Transforms::compile(&specs(list)).err().unwrap_or_default();
    assert!(found.iter().all(|violation| violation.rule == "transform"));
    found.into_iter().map(|violation| (violation.path, violation.message)).collect()
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    for (element, key, says) in [
        (json!({"Foo": "1"}), "/Foo", "unknown transform Foo"),
        (json!({"PathPrefx": "/a"}), "/PathPrefx", "unknown transform PathPrefx (did you mean PathPrefix?)"),
        (json!({"request_headr": "a", "Set": "b"}), "/request_headr", "unknown transform request_headr (did you mean RequestHeader?)"),
        (json!({"a/b~c": ""}), "/a~1b~0c", "unknown transform a/b~c"),
        (json!({"Set": "b"}), "", "half a transform: the key that says what to do is absent"),
        (
            json!({"PathPrefix": "/a", "PathSet": "/b"}),
            "/PathSet",
            "PathPrefix and PathSet: write two elements, in the order in which they are to go",
        ),
        (json!({"PathPrefix": "/a", "Set": "/b"}), "/Set", "PathPrefix has no Set: it stands alone"),
        (json!({"RequestHeader": "h", "Ste": "b"}), "/Ste", "RequestHeader has no Ste (did you mean Set?): it goes with Set, Append"),
        (json!({"ResponseHeader": "h", "Set": "b", "SET": "c"}), "/Set", "Set stands twice: case and underscores are no difference"),
        (
            json!({"PathPrefix": "/a", "path_prefix": "/b"}),
            "/path_prefix",
            "PathPrefix and path_prefix: write two elements, in the order in which they are to go",
        ),
        (json!({"PathPrefix": ""}), "/PathPrefix", "PathPrefix is empty"),
        (json!({"path_set": ""}), "/path_set", "PathSet is empty"),
        (json!({"QueryValueParameter": "k"}), "/QueryValueParameter", "QueryValueParameter needs Set or Append"),
        (json!({"QueryValueParameter": "k", "Set": "a", "Append": "b"}), "/Append", "Set and Append exclude each other"),
        (json!({"QueryRemoveParameter": ""}), "/QueryRemoveParameter", "QueryRemoveParameter is empty"),
        (json!({"HttpMethodChange": "PUT"}), "/HttpMethodChange", "HttpMethodChange needs Set"),
        (json!({"HttpMethodChange": "P T", "Set": "GET"}), "/HttpMethodChange", "P T is no method"),
        (json!({"HttpMethodChange": "GET", "Set": "head"}), "/Set", "a request cannot become HEAD: its answer is framed differently"),
        (json!({"RequestHeadersCopy": "no"}), "/RequestHeadersCopy", "RequestHeadersCopy is true or false, not no"),
        (json!({"RequestHeaderOriginalHost": 1}), "/RequestHeaderOriginalHost", "RequestHeaderOriginalHost is true or false, not 1"),
        (json!({"RequestHeader": "h"}), "/RequestHeader", "RequestHeader needs Set or Append"),
        (json!({"RequestHeader": "h", "Set": "a", "Append": "b"}), "/Append", "Set and Append exclude each other"),
        (json!({"RequestHeader": "a b", "Set": "a"}), "/RequestHeader", "a b is no name of a header"),
        (json!({"RequestHeader": "h", "Set": "a\r\nb: secret"}), "/Set", "Set holds a control character"),
        (
            json!({"RequestHeader": "Content-Length", "Set": "1"}),
            "/RequestHeader",
            "content-length frames the message: only the gateway writes it",
        ),
        (json!({"RequestHeader": "Host", "Append": "b"}), "/RequestHeader", "a request has one Host: Set it"),
        (json!({"RequestHeadersAllowed": " ; "}), "/RequestHeadersAllowed", "RequestHeadersAllowed names no header"),
        (json!({"RequestHeadersAllowed": "a,b;c d"}), "/RequestHeadersAllowed", "a,b is no name of a header"),
        (
            json!({"RequestHeadersAllowed": "Connection"}),
            "/RequestHeadersAllowed",
            "connection frames the message: only the gateway writes it",
        ),
        (json!({"X-Forwarded": "For,Host"}), "/X-Forwarded", "X-Forwarded is one of Set, Append, Remove, Off, not For,Host"),
        (json!({"X-Forwarded": "Set", "Proto": "on"}), "/Proto", "Proto is one of Set, Append, Remove, Off, not on"),
        (json!({"X-Forwarded": "Set", "HeaderPrefix": "a b"}), "/HeaderPrefix", "a bFor is no name of a header"),
        (json!({"Forwarded": ""}), "/Forwarded", "Forwarded is empty"),
        (json!({"Forwarded": ", "}), "/Forwarded", "Forwarded names no part: for, by, host, proto"),
        (json!({"Forwarded": "for,port"}), "/Forwarded", "Forwarded is a list of for, by, host, proto, not port"),
        (json!({"Forwarded": "for", "Action": "Add"}), "/Action", "Action is one of Set, Append, Remove, Off, not Add"),
        (json!({"ClientCert": ""}), "/ClientCert", "ClientCert is empty"),
        (json!({"ResponseHeader": "h", "Set": "a", "When": "Never"}), "/When", "When is one of Success, Failure, Always, not Never"),
        (
            json!({"ResponseTrailersCopy": "Header1;header2"}),
            "/ResponseTrailersCopy",
            "ResponseTrailersCopy is true or false, not Header1;header2",
        ),
        (
            json!({"ResponseTrailer": "Transfer-Encoding", "Set": "a"}),
            "/ResponseTrailer",
            "transfer-encoding frames the message: only the gateway writes it",
        ),
    ] {
        let expected = (format!("/transforms/1{key}"), says.to_owned());
        assert_eq!(wrong(&json!([{"PathSet": "/"}, element])), [expected], "{element}");
    }
    let formats = "ForFormat is one of Random, RandomAndPort, RandomAndRandomPort, Unknown, UnknownAndPort, UnknownAndRandomPort, Ip, IpAndPort, IpAndRandomPort, not x";
    assert_eq!(wrong(&json!([{"Forwarded": "for", "ForFormat": "x"}])), [("/transforms/0/ForFormat".to_owned(), formats.to_owned())]);
}

#[test]
fn elements_that_contradict_each_other_are_refused_at_the_second() {
    for (list, second) in [
        (json!([{"RequestHeadersCopy": true}, {"RequestHeadersAllowed": "a"}]), "RequestHeadersAllowed"),
        (json!([{"RequestHeadersCopy": true}, {"RequestHeadersCopy": false}]), "RequestHeadersCopy"),
        (json!([{"ResponseHeadersAllowed": "a"}, {"ResponseHeadersCopy": true}]), "ResponseHeadersCopy"),
        (json!([{"ResponseTrailersCopy": true}, {"ResponseTrailersAllowed": "a"}]), "ResponseTrailersAllowed"),
        (json!([{"RequestHeaderOriginalHost": true}, {"RequestHeaderOriginalHost": false}]), "RequestHeaderOriginalHost"),
    ] {
        let found = wrong(&list);
        assert_eq!(found.len(), 1, "{list}");
        assert_eq!(found[0].0, format!("/transforms/1/{second}"));
        assert!(found[0].1.contains("contradicts an element before it"), "{}", found[0].1);
    }
    assert!(wrong(&json!([{"RequestHeadersCopy": false}, {"RequestHeadersCopy": "FALSE"}, {"RequestHeadersAllowed": "a"}])).is_empty());
}

#[test]
fn all_mistakes_of_a_route_are_found_at_once() {
    let found = wrong(&json!([{"Foo": "1"}, {"PathSet": "/"}, {"RequestHeader": "h"}]));
    assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/transforms/0/Foo", "/transforms/2/RequestHeader"]);
}

#[test]
fn no_message_and_no_debug_output_shows_the_value_of_a_header() {
    let list = json!([{"RequestHeader": "a", "Set": "s3cret\n"}, {"RequestHeader": "a b", "Set": "s3cret"}]);
    assert!(!format!("{:?}", wrong(&list)).contains("s3cret"));
    let taken = Transforms::compile(&specs(&json!([{"RequestHeader": "a", "Set": "s3cret"}]))).unwrap();
    assert_eq!(format!("{taken:?}"), "Transforms { request: 1, response: 0, .. }");
}

#[test]
fn every_transform_is_taken_with_its_words_in_any_spelling() {
    for (main, beside) in words() {
        let value = match main {
            "X-Forwarded" => "Set",
            "Forwarded" => "for",
            "HttpMethodChange" => "PUT",
            _ if main.ends_with("Copy") || main.ends_with("Host") => "true",
            _ => "a",
        };
        for spell in [str::to_owned, str::to_uppercase, |key: &str| key.to_lowercase() + "_"] {
            let mut element = json!({ spell(main): value });
            if beside.contains(&"Set") {
                element[spell("Set")] = json!("POST");
            }
            assert!(wrong(&json!([element])).is_empty(), "{element}");
        }
    }
}
