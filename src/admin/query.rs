//! What stands after the `?`: arguments by name, paging, time to live.

use std::time::Duration;

use super::envelope::Answer;
use crate::base::duration;

/// The arguments, decoded, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text after the first `?`.
    pub(super) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first argument of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every argument.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether an argument says exactly `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// `?ttl=`: seconds after which the object is deleted by itself.
    pub(super) fn ttl(&self) -> Result<Option<Duration>, Answer> {
        let Some(text) = self.get("ttl") else { return Ok(None) };
        let seconds: f64 = text.trim().parse().map_err(|_| Answer::bad("invalid argument ttl: should be a number"))?;
        match duration::from_secs(seconds) {
            Ok(ttl) if !ttl.is_zero() => Ok(Some(ttl)),
            _ => Err(Answer::bad("invalid argument ttl: should be more than 0 and at most 366 days, in seconds")),
        }
    }

    /// `?page=` and `?page_size=`, which work only together.
    pub(super) fn page(&self) -> Result<Option<Page>, Answer> {
        let number = |name: &str| self.get(name).and_then(|text| text.trim().parse::<i64>().ok());
        let (Some(page), Some(size)) = (number("page"), number("page_size")) else { return Ok(None) };
        match usize::try_from(size) {
            Ok(size @ 10..=500) => Ok(Some(Page { before: usize::try_from(page.max(1) - 1).unwrap_or(usize::MAX), size })),
            _ => Err(Answer::text(hyper::StatusCode::BAD_REQUEST, "page_size must be between 10 and 500")),
        }
    }
}

/// One page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Pages before it.
    pub(super) before: usize,
    /// Items on it.
    pub(super) size: usize,
}

impl Page {
    /// The items of the page; none if it is past the end.
    pub(super) fn of<T>(self, items: Vec<T>) -> Vec<T> {
        items.into_iter().skip(self.before.saturating_mul(self.size)).take(self.size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_of_a_name_counts_and_a_second_question_mark_is_part_of_the_name() {
        let query = Query::parse("a=1&a=2&b=x%20y");
        assert_eq!((query.get("a"), query.get("b"), query.get("c")), (Some("1"), Some("x y"), None));
        assert_eq!(Query::parse("?api_key=k").get("api_key"), None);
    }

    #[test]
    fn paging_needs_both_numbers_and_a_size_between_10_and_500() {
        for ignored in ["", "page=2", "page_size=9", "page=a&page_size=10"] {
            assert_eq!(Query::parse(ignored).page().unwrap(), None, "{ignored}");
        }
        for refused in ["page=1&page_size=2", "page=1&page_size=501", "page=1&page_size=-1"] {
            let told = Query::parse(refused).page().unwrap_err().parts();
            assert_eq!(told, (400, "page_size must be between 10 and 500".into()), "{refused}");
        }
        assert_eq!(Query::parse("page=-3&page_size=10").page().unwrap(), Some(Page { before: 0, size: 10 }));
        let eleven: Vec<i32> = (1..=11).collect();
        assert_eq!(Page { before: 1, size: 10 }.of(eleven.clone()), [11]);
        assert_eq!(Page { before: 9, size: 10 }.of(eleven.clone()), Vec::<i32>::new());
        assert_eq!(Page { before: usize::MAX, size: 10 }.of(eleven), Vec::<i32>::new());
    }

    #[test]
    fn a_time_to_live_is_a_positive_number_of_seconds() {
        assert_eq!(Query::parse("ttl=2").ttl().unwrap(), Some(Duration::from_secs(2)));
        assert_eq!(Query::parse("").ttl().unwrap(), None);
        for bad in ["ttl=", "ttl=1s", "ttl=x"] {
            assert_eq!(Query::parse(bad).ttl().unwrap_err().parts().1["error_msg"], "invalid argument ttl: should be a number", "{bad}");
        }
        for bad in ["ttl=0", "ttl=-1", "ttl=inf", "ttl=nan", "ttl=1e12"] {
            assert_eq!(Query::parse(bad).ttl().unwrap_err().parts().0, 400, "{bad}");
        }
    }
}
