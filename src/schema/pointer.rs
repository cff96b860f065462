//! JSON Pointers (RFC 6901): made, taken apart and put in order. Never resolved against a document.

use std::cmp::Ordering;

/// The pointer of a member of what `parent` points at.
pub fn child(parent: &str, segment: &str) -> String {
    format!("{parent}/{}", escape(segment))
}

/// One segment as it stands in a pointer.
pub fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// The segments of a pointer, unescaped.
pub fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect()
}

/// The order in which people read: by segment, numbers as numbers, an object before what is in it.
pub fn compare(a: &str, b: &str) -> Ordering {
    let number = |s: &str| s.parse::<u64>().ok();
    let (mut left, mut right) = (a.split('/'), b.split('/'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => match (number(one), number(other)) {
                (Some(low), Some(high)) => low.cmp(&high).then_with(|| one.cmp(other)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => one.cmp(other),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back() {
        assert_eq!(child("/nodes", "a/b~c"), "/nodes/a~1b~0c");
        assert_eq!(segments("/nodes/a~1b~0c"), ["nodes", "a/b~c"]);
        assert_eq!(segments("/~01"), ["~1"]);
        assert!(segments("").is_empty());
    }

    #[test]
    fn items_are_in_the_order_of_their_numbers() {
        let mut all = ["/b", "/nodes/10", "/nodes/9/port", "/nodes", "", "/nodes/9"];
        all.sort_by(|a, b| compare(a, b));
        assert_eq!(all, ["", "/b", "/nodes", "/nodes/9", "/nodes/9/port", "/nodes/10"]);
    }
}
