//! From an error of the validator to violations, in the words of api7's validator where clients know them. Never decides what
//! is valid.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::embed::Documents;
use super::pointer;
use crate::base::nearest::nearest;
use crate::base::violation::Violation;

/// The most characters of a user's value that a message repeats.
const SHOWN: usize = 200;
/// No field's name is as long as this; longer ones are not compared with the known ones.
const LONGEST_NAME: usize = 64;

/// Adds what the error says to `found`.
pub(super) fn explain(error: &ValidationError<'_>, documents: &Documents, found: &mut Vec<Violation>) {
    if let Some(clause) = clause(error) {
        // the rules of the clause itself follow
        let told = Violation::new("", "if", format!("{clause} clause did not match"));
        if !found.contains(&told) {
            found.push(told);
        }
    }
    let path = error.instance_path().as_str();
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds are one violation, whatever kinds the crate adds")]
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            found.extend(unexpected.iter().map(|name| unknown_field(error, documents, name)));
        }
        Kind::Enum { options } => found.push(no_such_word(error, documents, options)),
        Kind::AnyOf { context } => {
            found.push(Violation::new(path, "anyOf", "object matches none of the required"));
            if error.instance().is_object() || error.instance().is_array() {
                let meant = context.iter().find(|branch| !branch.iter().any(|e| is_type_of(e, path)));
                for inner in meant.into_iter().flatten() {
                    explain(inner, documents, found);
                }
            }
        }
        Kind::PropertyNames { error: inner } => {
            let name = inner.instance().as_str().unwrap_or_default();
            found.push(Violation::new(pointer::child(path, name), "propertyNames", says(inner)));
        }
        kind => found.push(Violation::new(path, kind.keyword(), says(error))),
    }
}

/// Which clause of the document's own condition the broken rule is in.
fn clause(error: &ValidationError<'_>) -> Option<&'static str> {
    let location = error.absolute_keyword_location()?;
    let rule = location.as_str().split_once('#').map_or("", |(_, fragment)| fragment);
    ["then", "else"]
        .into_iter()
        .find(|word| rule.strip_prefix('/').and_then(|rule| rule.strip_prefix(word)).is_some_and(|r| r.starts_with('/')))
}

/// Whether the error is that the value at `path` has another type.
fn is_type_of(error: &ValidationError<'_>, path: &str) -> bool {
    matches!(error.kind(), Kind::Type { .. }) && error.instance_path().as_str() == path
}

fn unknown_field(error: &ValidationError<'_>, documents: &Documents, name: &str) -> Violation {
    let parent = error.instance_path().as_str();
    let path = pointer::child(parent, name);
    if words(error, documents, "x-unserved").contains(&name) {
        return Violation::new(&path, "unsupported", format!("{} is not served by this build yet", dotted(&path)));
    }
    if let Some(instead) = beside(error, documents, "x-instead").and_then(|words| words.get(name)?.as_str()) {
        let text = format!("additional properties forbidden, found {name} (write {instead})");
        return Violation::new(path, "additionalProperties", text);
    }
    let known = beside(error, documents, "properties").and_then(Value::as_object);
    let near = known.filter(|_| name.len() <= LONGEST_NAME).and_then(|k| nearest(name, k.keys().map(String::as_str)));
    let hint = near.map(|word| format!(" (did you mean {word}?)")).unwrap_or_default();
    Violation::new(path, "additionalProperties", format!("additional properties forbidden, found {}{hint}", clip(name)))
}

fn no_such_word(error: &ValidationError<'_>, documents: &Documents, options: &Value) -> Violation {
    let path = error.instance_path().as_str();
    let text = "matches none of the enum values";
    let known: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if known.is_empty() {
        return Violation::new(path, "enum", text);
    }
    let extra = beside(error, documents, "x-hint").and_then(Value::as_str).map(|h| format!("; {h}")).unwrap_or_default();
    let hint = format!("(known: {}{extra})", known.join(", "));
    match error.instance().as_str() {
        Some(word) if words(error, documents, "x-unserved").contains(&word) => {
            Violation::new(path, "unsupported", format!("{} {word} is not served by this build yet {hint}", dotted(path)))
        }
        _ => Violation::new(path, "enum", format!("{text} {hint}")),
    }
}

/// The word beside the keyword that was broken, in its file.
fn beside<'d>(error: &ValidationError<'_>, documents: &'d Documents, name: &str) -> Option<&'d Value> {
    documents.beside(error.absolute_keyword_location()?.as_str(), name)
}

fn words<'d>(error: &ValidationError<'_>, documents: &'d Documents, name: &str) -> Vec<&'d str> {
    beside(error, documents, name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `/upstream/checks` as people say it: `upstream.checks`.
fn dotted(path: &str) -> String {
    pointer::segments(path).join(".")
}

/// Text that came from a user, cut where it is too long to be read.
fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| clip(&value.to_string()), clip)
}

fn says(error: &ValidationError<'_>) -> String {
    let value = error.instance();
    let length = || value.as_str().map_or(0, |s| s.chars().count());
    #[expect(clippy::wildcard_enum_match_arm, reason = "keywords that our schemas do not use keep the crate's text, without the value")]
    match error.kind() {
        Kind::Type { kind } => format!("wrong type: expected {}, got {}", expected(kind), lua_type(value)),
        Kind::Required { property } => format!("property \"{}\" is required", shown(property)),
        Kind::Minimum { limit } => format!("expected {} to be at least {limit}", shown(value)),
        Kind::Maximum { limit } => format!("expected {} to be at most {limit}", shown(value)),
        Kind::ExclusiveMinimum { limit } => format!("expected {} to be greater than {limit}", shown(value)),
        Kind::ExclusiveMaximum { limit } => format!("expected {} to be smaller than {limit}", shown(value)),
        Kind::MinLength { limit } => format!("string too short, expected at least {limit}, got {}", length()),
        Kind::MaxLength { limit } => format!("string too long, expected at most {limit}, got {}", length()),
        Kind::Pattern { pattern } => format!("failed to match pattern \"{pattern}\" with \"{}\"", shown(value)),
        Kind::MinItems { limit } => format!("expect array to have at least {limit} items"),
        Kind::MaxItems { limit } => format!("expect array to have at most {limit} items"),
        Kind::UniqueItems => repeated(value),
        _ => error.masked().to_string(),
    }
}

/// `expected unique items but items 1 and 2 are equal`
fn repeated(value: &Value) -> String {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    for (j, item) in items.iter().enumerate() {
        if let Some(i) = items.iter().take(j).position(|earlier| earlier == item) {
            return format!("expected unique items but items {} and {} are equal", i + 1, j + 1);
        }
    }
    "expected unique items".to_owned()
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => format!("one of {}", set.iter().map(JsonType::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// What Lua calls the type of a decoded value; JSON's null is a light userdata there.
const fn lua_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "userdata",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => "table",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(schema: &Value, value: &Value) -> Violation {
        let validator = jsonschema::validator_for(schema).unwrap();
        let mut found = Vec::new();
        for error in validator.iter_errors(value) {
            explain(&error, &Documents::read().unwrap(), &mut found);
        }
        found.remove(0)
    }

    #[test]
    fn every_keyword_has_the_text_that_clients_know() {
        for (schema, value, says) in [
            (json!({"type": "integer"}), json!("x"), "wrong type: expected integer, got string"),
            (json!({"type": "object"}), json!(null), "wrong type: expected object, got userdata"),
            (json!({"type": "string"}), json!([]), "wrong type: expected string, got table"),
            (json!({"type": ["number", "string"]}), json!(true), "wrong type: expected one of number, string, got boolean"),
            (json!({"required": ["read"]}), json!({}), "property \"read\" is required"),
            (json!({"minimum": 0}), json!(-1), "expected -1 to be at least 0"),
            (json!({"maximum": 65535}), json!(70000), "expected 70000 to be at most 65535"),
            (json!({"exclusiveMinimum": 0}), json!(0), "expected 0 to be greater than 0"),
            (json!({"exclusiveMaximum": 5}), json!(5), "expected 5 to be smaller than 5"),
            (json!({"minLength": 2}), json!("ü"), "string too short, expected at least 2, got 1"),
            (json!({"maxLength": 1}), json!("üü"), "string too long, expected at most 1, got 2"),
            (json!({"pattern": "^\\S+$"}), json!("a b"), "failed to match pattern \"^\\S+$\" with \"a b\""),
            (json!({"enum": [0, 1]}), json!(2), "matches none of the enum values"),
            (json!({"minItems": 1}), json!([]), "expect array to have at least 1 items"),
            (json!({"maxItems": 1}), json!([1, 2]), "expect array to have at most 1 items"),
            (json!({"uniqueItems": true}), json!([1, 1]), "expected unique items but items 1 and 2 are equal"),
            (json!({"anyOf": [{"type": "string"}]}), json!(1), "object matches none of the required"),
        ] {
            assert_eq!(one(&schema, &value).message, says, "{schema}");
        }
    }

    #[test]
    fn a_message_does_not_repeat_a_megabyte() {
        let long = "x".repeat(1_000_000);
        assert!(one(&json!({"pattern": "^y"}), &json!(long)).message.len() < 300);
        assert!(one(&json!({"additionalProperties": false}), &json!({long: 1})).message.len() < 300);
    }
}
