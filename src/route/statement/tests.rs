//! The language against its tables: every documented row, every refusal with its place, and text that nobody wrote on purpose.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use proptest::prelude::*;

use super::*;
use crate::route::http::form;
use crate::route::http::request::Form;

/// A request that owns what it shows.
struct Sample {
    method: &'static str,
    scheme: &'static str,
    host: &'static str,
    path: &'static str,
    query: &'static str,
    version: Version,
    headers: HeaderMap,
    body: &'static str,
}

fn sample(method: &'static str, scheme: &'static str, host: &'static str, target: &'static str, lines: &[(&str, &'static str)]) -> Sample {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
    }
    Sample { method, scheme, host, path, query, version: Version::HTTP_11, headers, body: "" }
}

fn r1() -> Sample {
    let lines = [
        ("host", "api.example.com:8080"),
        ("user-agent", "curl/8.0"),
        ("x-env", "Test"),
        ("x-multi", "a"),
        ("x-multi", "b"),
        ("x-csv", "a, b"),
        ("cookie", "sid=ABC; theme=dark"),
    ];
    sample("GET", "http", "api.example.com:8080", "/Users/42?id=7&tag=a&tag=b&empty=", &lines)
}

fn r2() -> Sample {
    let lines = [("content-type", "application/json; charset=utf-8"), ("content-length", "30")];
    Sample { version: Version::HTTP_2, ..sample("POST", "https", "shop.example.org", "/cart", &lines) }
}

fn r3() -> Sample {
    let lines = [("host", "a.com"), ("content-type", "application/x-www-form-urlencoded"), ("content-length", "19")];
    Sample { body: "user=Bob&role=admin", ..sample("POST", "http", "a.com", "/form", &lines) }
}

fn r4() -> Sample {
    sample("GET", "http", "a.com", "/", &[("host", "a.com")])
}

impl Sample {
    fn accepts(&self, statement: &str) -> bool {
        let compiled = Statement::compile(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
        let content_type = self.headers.get("content-type").map_or(&b""[..], HeaderValue::as_bytes);
        let fields = form::fields(content_type, self.body.as_bytes());
        compiled.accepts(&self.request(Form::Fields(&fields))).unwrap()
    }

    fn request<'a>(&'a self, form: Form<'a>) -> Request<'a> {
        let Self { method, scheme, host, path, query, version, headers, .. } = self;
        Request { method, scheme, host, path, query, version: *version, headers, form }
    }
}

#[track_caller]
fn table(rows: &[(&str, &str, bool)]) {
    let samples = HashMap::from([("R1", r1()), ("R2", r2()), ("R3", r3()), ("R4", r4())]);
    for (statement, request, expected) in rows {
        assert_eq!(samples[request].accepts(statement), *expected, "{statement} on {request}");
    }
}

#[test]
fn every_documented_row_holds() {
    let rows: Vec<(&str, &str, bool)> = include_str!("documented.txt")
        .lines()
        .map(|line| {
            let (request, rest) = line.split_once(' ').unwrap();
            let (expected, statement) = rest.split_at(6);
            (statement, request, expected.trim() == "true")
        })
        .collect();
    assert!(rows.len() > 60);
    table(&rows);
    table(&[("Method='GET'\n  or\tMethod='HEAD'", "R1", true)]);
}

#[test]
fn and_binds_tighter_than_or() {
    let spelled = |pattern: &str| pattern.replace('T', "Method = 'GET'").replace('F', "Path = '/none'");
    for (pattern, expected) in [
        ("T or F and F", true),
        ("T or T and F", true),
        ("F and T or T", true),
        ("F and F or T", true),
        ("T and F or F and T", false),
        ("(T or F) and F", false),
        ("F and (T or T)", false),
        ("not F or F", true),
        ("not F and not F", true),
        ("not (F or T)", false),
        ("not (F and T) and T", true),
        ("T or T or F and F", true),
        ("(F and T) or (F or T)", true),
        ("(F and T) and (F or T)", false),
    ] {
        assert_eq!(r1().accepts(&spelled(pattern)), expected, "{pattern}");
    }
    table(&[("Method = 'GET' or Method = 'POST' and IsHttps = true", "R1", true)]);
}

#[test]
fn a_value_may_stand_on_the_left_and_keeps_its_meaning() {
    table(&[
        ("'GET' = Method", "R1", true),
        ("30 > ContentLength", "R2", false),
        ("31 > ContentLength", "R2", true),
        ("30 < ContentLength", "R2", false),
        ("29 >= ContentLength", "R2", false),
        ("true != IsHttps", "R1", true),
        ("null = ContentType", "R4", true),
        ("'curl' ~= Header('user-agent')", "R1", true),
    ]);
}

#[test]
fn absence_is_null_and_not_the_empty_text() {
    table(&[
        ("ContentType = null", "R4", true),
        ("ContentType = ''", "R4", false),
        ("ContentType != 'text/plain'", "R4", true),
        ("ContentType != null", "R4", false),
        ("ContentType ~= '.*'", "R4", false),
        ("ContentType in ('a', null)", "R4", true),
        ("ContentLength != 3", "R4", true),
        ("ContentLength != null", "R4", false),
        ("ContentLength >= null", "R2", false),
        ("ContentLength in (10, null)", "R4", true),
        ("ContentLength > -1", "R4", false),
        ("Header('x-env') = null", "R1", false),
        ("Header('x-env') = null", "R4", true),
        ("Header('x-env') != null", "R4", false),
        ("Query('empty') = ''", "R1", true),
        ("Query('empty') = null", "R1", false),
        ("Query('#keys') = null", "R4", true),
        ("Cookie('none') = null", "R1", true),
        ("QueryString = ''", "R4", true),
    ]);
}

#[test]
fn booleans_and_numbers_take_constants_of_other_types() {
    table(&[
        ("IsHttps != true", "R1", true),
        ("IsHttps = 1", "R2", true),
        ("IsHttps = 0.0", "R1", true),
        ("IsHttps in ('true')", "R1", false),
        ("HasFormContentType = true", "R3", true),
        ("ContentLength = '30'", "R2", true),
        ("ContentLength = 30-", "R2", false),
        ("ContentLength in ('10', 29.6)", "R2", true),
        ("Header('x-env') = true", "R1", false),
        ("Query('id') = 7.0", "R1", false),
        ("Query('id') in (6, 7)", "R1", true),
    ]);
}

#[test]
fn a_form_is_asked_for_only_where_it_decides() {
    let unread = |sample: &Sample, text: &str| Statement::compile(text).unwrap().accepts(&sample.request(Form::Unread));
    assert_eq!(unread(&r3(), "Form('user') = 'bob'"), Err(NeedsForm));
    assert_eq!(unread(&r3(), "not (Path = '/form' and Form('#keys') = null)"), Err(NeedsForm));
    assert_eq!(unread(&r3(), "Path = '/other' and Form('user') = 'bob'"), Ok(false));
    assert_eq!(unread(&r3(), "Path = '/form' or Form('user') = 'bob'"), Ok(true));
    for text in ["Form('user') = 'bob'", "Form('user') != 'bob'", "Form('user') = null", "Form('#keys') != null"] {
        assert_eq!(unread(&r2(), text), Ok(false), "{text} without a form");
    }
}

#[test]
fn the_authority_of_http_2_is_the_host_header() {
    table(&[
        ("Header('host') = 'shop.example.org'", "R2", true),
        ("Header('#keys') = 'host'", "R2", true),
        ("Protocol = 'HTTP/2'", "R2", true),
    ]);
}

#[test]
fn names_and_values_are_read_as_they_are_meant() {
    let lines = [("cookie", "a=1; b=2=3; plain; a=4"), ("cookie", "c= x "), ("x-raw", "a")];
    let s = sample("get", "http", "A.com", "/x?na%20me=a%2Bb&plus=a+b&bare&&=v", &lines);
    for (statement, expected) in [
        ("Cookie('a') = 1", false),
        ("Cookie('a') = 4", true),
        ("Cookie('#values') = 1", true),
        ("Cookie('b') = '2=3'", true),
        ("Cookie('c') = 'x'", true),
        ("Cookie('plain') = null", true),
        ("Query('na me') = 'a+b'", true),
        ("Query('plus') = 'a b'", true),
        ("Query('bare') = ''", true),
        ("Query('#kvs') = 'v'", true),
        ("Method = 'GET'", true),
        ("Host = 'a.com'", true),
        ("Header('x-raw') ~= '^A$'", true),
    ] {
        assert_eq!(s.accepts(statement), expected, "{statement}");
    }
}

#[test]
fn a_query_of_a_question_mark_alone_is_none() {
    assert!(sample("GET", "http", "a", "/?", &[]).accepts("QueryString = ''"));
}

#[test]
fn bytes_that_are_no_text_are_unequal_to_every_text() {
    let mut s = r4();
    s.headers.insert("x-raw", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    assert!(!s.accepts("Header('x-raw') = 'a'") && s.accepts("Header('x-raw') != 'a'") && s.accepts("Header('x-raw') != null"));
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    for (statement, expected) in [
        ("1 = 1", "line 1, column 1: one side of a comparison is a field"),
        ("Path", "line 1, column 5: expected one of = != < <= > >= ~= in, found the end"),
        ("Method = GET", "line 1, column 10: a field is compared with a value: put GET in quotes"),
        ("Path ~= ''", "line 1, column 9: `~=` needs a pattern that is not blank"),
        ("Path ~= null", "line 1, column 9: `~=` needs a pattern that is not blank"),
        ("IsHttps = null", "line 1, column 11: IsHttps is true or false"),
        ("ContentLength ~= '3'", "line 1, column 15: ContentLength is compared with one of = != < <= > >= in"),
        ("Header = 'a'", "line 1, column 1: Header needs a name: Header('name')"),
        ("Header(x) = 'a'", "line 1, column 8: expected a name in quotes, found `x`"),
        ("Path in '/a'", "line 1, column 9: expected `(`, found the text '/a'"),
        ("Method = 'GET' Path = '/a'", "line 1, column 16: expected `and`, `or` or the end, found `Path`"),
        ("and Method = 'GET'", "line 1, column 1: expected a field, found `and`"),
        ("Method = 'GET')", "line 1, column 15: expected `and`, `or` or the end, found `)`"),
        ("Path = 1.2.3", "line 1, column 8: not a number: at most 28 digits with one point among them"),
        ("Path = '/a' && Method = 'GET'", "line 1, column 13: expected `and`, `or` or the end, found `&&`"),
        ("not", "line 1, column 4: expected a field, found the end"),
        ("Path == '/a'", "line 1, column 7: expected a value, found `=`"),
        ("(Path = '/a'", "line 1, column 13: expected `)`, found the end"),
        ("Path = '/a' or", "line 1, column 15: expected a field, found the end"),
        ("Path =\n  'ä' and\n ü > 3", "line 3, column 2: there is no field ü"),
        ("Pahts = '/a'", "line 1, column 1: there is no field Pahts"),
        ("Paht = '/a'", "line 1, column 1: there is no field Paht (did you mean Path?)"),
        ("Path('x') = 'a'", "line 1, column 6: Path has one value and takes no name"),
        ("Path < 'a'", "line 1, column 6: Path is compared with one of = != ~= in"),
        ("Header('x') >= 'a'", "line 1, column 13: Header is compared with one of = != ~= in"),
        ("IsHttps > 0", "line 1, column 9: IsHttps is compared with one of = != in"),
        ("IsHttps in (true, 'x')", "line 1, column 19: IsHttps is true or false"),
        ("ContentLength = 'x'", "line 1, column 17: ContentLength is a whole number of at most 64 bits"),
        ("ContentLength = true", "line 1, column 17: ContentLength is a whole number of at most 64 bits"),
        ("Header(' ') = 'a'", "line 1, column 8: a name is not blank"),
        ("Header('a b') = 'a'", "line 1, column 8: no header can have this name"),
        ("Header('x' = 'a'", "line 1, column 12: expected `)`, found `=`"),
        ("Path in ()", "line 1, column 10: expected a value, found `)`"),
        ("Path in ('a',)", "line 1, column 14: expected a value, found `)`"),
        ("Path in ('a' 'b')", "line 1, column 14: expected `)`, found the text 'b'"),
        ("Path in (Host)", "line 1, column 10: a list holds values: put Host in quotes"),
        ("'a' in ('a')", "line 1, column 1: before `in` stands a field"),
        ("Path ~= '('", "line 1, column 9: not a pattern: unclosed group"),
        ("Path ~= '(?=a)'", "line 1, column 9: not a pattern: look-around, including look-ahead and look-behind, is not supported"),
        (r"Path ~= '(a)\1'", "line 1, column 9: not a pattern: backreferences are not supported"),
        (r"Path ~= '(\w{100}){100}'", "line 1, column 9: not a pattern: it is too large when compiled"),
        ("Path = 'x", "line 1, column 8: this text has no closing quote"),
        ("", "line 1, column 1: expected a field, found the end"),
    ] {
        match Statement::compile(statement) {
            Ok(_) => panic!("{statement} was compiled"),
            Err(e) => assert_eq!(e.to_string(), expected, "{statement}"),
        }
    }
}

#[test]
fn length_depth_and_patterns_are_bounded() {
    let said = |text: &str| Statement::compile(text).unwrap_err().says;
    let nested = |n: usize| format!("{}Path = 'a'{}", "(".repeat(n), ")".repeat(n));
    Statement::compile(&nested(DEEPEST)).unwrap();
    assert!(said(&nested(DEEPEST + 1)).starts_with("more than 64 parentheses"));
    assert!(said(&format!("{}Path = 'a'", "not ".repeat(1000))).starts_with("more than 64"));
    assert!(said(&"(".repeat(LONGEST)).starts_with("more than 64"));
    assert!(said(&" ".repeat(LONGEST + 1)).starts_with("the statement has 8193 bytes"));
    let many = |n: usize| vec!["Path ~= 'a'"; n].join(" or ");
    Statement::compile(&many(MOST_REGEXES)).unwrap();
    assert_eq!(said(&many(MOST_REGEXES + 1)), "more than 32 patterns in one statement");
    Statement::compile(&vec!["Path = 'a'"; 500].join(" and ")).unwrap();
}

#[test]
fn a_pattern_that_backtracks_elsewhere_takes_linear_time() {
    let long: &'static str = Box::leak(format!("/{}!", "a".repeat(100_000)).into_boxed_str());
    assert!(!sample("GET", "http", "a", long, &[]).accepts("Path ~= '^/(a+)+$'"));
}

/// Text that is nearly a statement.
fn nearly() -> impl Strategy<Value = String> {
    let words = [
        "Path",
        "Header('x')",
        "Query(\"#kvs\")",
        "Form('a')",
        "ContentLength",
        "IsHttps",
        "and",
        "or",
        "not",
        "in",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        ">=",
        "~=",
        "'a'",
        "'",
        "\"",
        "\\",
        "1",
        "-",
        "1.5",
        "null",
        "true",
        "ü",
        "\n",
        " ",
        "'[a-z]+'",
    ];
    prop::collection::vec((prop::sample::select(words.to_vec()), any::<bool>()), 0..24)
        .prop_map(|list| list.into_iter().flat_map(|(word, gap)| [word, if gap { " " } else { "" }]).collect())
}

/// A condition over `T` and `F`, with what it is worth.
fn condition() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop_oneof![Just(("Method = 'GET'".to_owned(), true)), Just(("'PUT' = Method".to_owned(), false))];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(text, holds)| (format!("not ({text})"), !holds)),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|list| {
                let parts: Vec<_> = list.iter().map(|(text, _)| format!("({text})")).collect();
                (parts.join(" AND "), list.iter().all(|(_, holds)| *holds))
            }),
            (inner.clone(), inner.clone(), inner).prop_map(|((a, x), (b, y), (c, z))| (format!("({a}) or ({b}) and ({c})"), x || y && z)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(2000), ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_text_makes_it_panic_and_every_error_is_inside_the_text(text in prop_oneof![nearly(), any::<String>()]) {
        match Statement::compile(&text) {
            Ok(statement) => drop(statement.accepts(&r1().request(Form::Unread))),
            Err(e) => {
                let lines: Vec<_> = text.split('\n').collect();
                prop_assert!((1..=lines.len()).contains(&e.line), "{text:?}: {e}");
                prop_assert!((1..=lines[e.line - 1].chars().count() + 1).contains(&e.column), "{text:?}: {e}");
                prop_assert!(!e.says.contains('\n') && e.says.len() < 300, "{e}");
            }
        }
    }

    #[test]
    fn a_condition_is_worth_what_logic_says((text, holds) in condition()) {
        match Statement::compile(&text) {
            Ok(statement) => prop_assert_eq!(statement.accepts(&r1().request(Form::Unread)), Ok(holds), "{}", text),
            Err(e) => prop_assert!(e.says.starts_with("more than 64") || text.len() > LONGEST, "{text}: {e}"),
        }
    }
}
