//! `error_msg`: one sentence for a client that knows APISIX, made of the first violation and its place. Never judges.

use super::pointer;
use crate::base::violation::Violation;

/// The keywords whose message needs its place before it. Rules of ours have messages that stand alone.
const KEYWORDS: [&str; 16] = [
    "additionalProperties",
    "anyOf",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "propertyNames",
    "required",
    "type",
    "uniqueItems",
];

/// The text of the first violation in the words of api7's validator: `property "id" validation failed: …`. Without the
/// `invalid configuration: ` that APISIX puts before it. Empty when there is none.
pub fn error_msg(violations: &[Violation]) -> String {
    let Some(first) = violations.first() else { return String::new() };
    if !KEYWORDS.contains(&first.rule.as_str()) {
        return first.message.clone();
    }
    let mut segments = pointer::segments(&first.path);
    if first.rule == "additionalProperties" {
        // its message names the field; its path does, too
        segments.pop();
    }
    let mut text = String::new();
    let mut parent = "";
    for segment in &segments {
        text.push_str(&prefix(parent, segment));
        parent = segment;
    }
    text.push_str(&first.message);
    text
}

fn prefix(parent: &str, segment: &str) -> String {
    if parent == "labels" {
        return format!("failed to validate {segment} (matching \".*\"): ");
    }
    match segment.parse::<u64>() {
        Ok(index) => format!("failed to validate item {}: ", index.saturating_add(1)),
        Err(_) => format!("property \"{segment}\" validation failed: "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, rule: &str, message: &str) -> String {
        error_msg(&[Violation::new(path, rule, message)])
    }

    #[test]
    fn the_place_stands_before_the_text_of_a_keyword() {
        assert_eq!(said("", "type", "wrong type"), "wrong type");
        assert_eq!(
            said("/upstream/retries", "minimum", "m"),
            "property \"upstream\" validation failed: property \"retries\" validation failed: m"
        );
        assert_eq!(said("/addr/0", "type", "m"), "property \"addr\" validation failed: failed to validate item 1: m");
        assert_eq!(said("/labels/env", "type", "m"), "property \"labels\" validation failed: failed to validate env (matching \".*\"): m");
        assert_eq!(said("/labels/7", "type", "m"), "property \"labels\" validation failed: failed to validate 7 (matching \".*\"): m");
        assert_eq!(
            said("/timeout", "required", "property \"read\" is required"),
            "property \"timeout\" validation failed: property \"read\" is required"
        );
        assert_eq!(said("/upstream/x", "additionalProperties", "found x"), "property \"upstream\" validation failed: found x");
    }

    #[test]
    fn a_text_of_ours_stands_alone() {
        assert_eq!(said("/remote_addr", "address", "invalid remote_addr: :/8"), "invalid remote_addr: :/8");
        assert_eq!(error_msg(&[]), "");
    }
}
