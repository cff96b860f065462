//! Which reasons of an outage were told already, so that the log has each of them once and not one with every try. Writes no line.

/// The most that are told of one outage.
const MOST: usize = 8;

/// What was told since the store last answered.
///
/// A store that lets nobody in may say so in several ways in turn (a handshake that ends, a stream that breaks), and with numbers that
/// run on (for how many seconds a certificate has been expired).
#[derive(Debug, Default)]
pub struct Reasons(Vec<String>);

impl Reasons {
    /// Whether a reason is news. It is none from now on.
    pub fn is_news(&mut self, reason: &str) -> bool {
        let plain: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let is_news = self.0.len() < MOST && !self.0.contains(&plain);
        if is_news {
            self.0.push(plain);
        }
        is_news
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The store answers: what comes next is news.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_news_once_whatever_its_numbers_and_however_they_take_turns() {
        let mut reasons = Reasons::default();
        assert!(reasons.is_empty());
        let told = ["refused", "expired 10 seconds ago", "refused", "expired 11 seconds ago", "a wrong password", "expired 9 seconds ago"];
        assert_eq!(told.map(|reason| reasons.is_news(reason)), [true, true, false, false, true, false]);
        assert!(!reasons.is_empty());
        reasons.clear();
        assert!(reasons.is_empty() && reasons.is_news("refused"));
    }

    #[test]
    fn an_outage_that_always_finds_new_words_is_told_for_a_while_only() {
        let mut reasons = Reasons::default();
        let words = (0..100).map(|n| "x".repeat(n));
        assert_eq!(words.filter(|word| reasons.is_news(word)).count(), MOST);
    }
}
