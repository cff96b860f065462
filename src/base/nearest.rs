//! Did-you-mean: the known word that a wrong one most likely stood for.

/// The nearest of the known words, if one is near enough to be worth saying.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (wrong.chars().count() / 3).max(1);
    known.into_iter().map(|k| (strsim::damerau_levenshtein(wrong, k), k)).filter(|(distance, _)| *distance <= allowed).min().map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let known = ["nodes", "retries", "timeout", "scheme"];
        assert_eq!(nearest("nodse", known), Some("nodes"));
        assert_eq!(nearest("retry", known), None);
        assert_eq!(nearest("timeot", known), Some("timeout"));
        assert_eq!(nearest("colour", known), None);
    }
}
