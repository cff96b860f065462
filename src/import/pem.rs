//! PEM text (RFC 7468) taken apart by labels. Reads no certificate.

/// A certificate with its chain, and a key, as they stand in texts that may hold both.
pub(super) fn pair(certificate: &str, key: Option<&str>) -> Result<(String, String), &'static str> {
    let key = key.unwrap_or(certificate);
    if key.contains("BEGIN ENCRYPTED PRIVATE KEY") || key.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("the key has a password; write it without one: openssl pkey -in KEY -out KEY");
    }
    let certs: String = blocks(certificate).filter(|block| label(block) == "CERTIFICATE").collect();
    if certs.is_empty() {
        return Err("no certificate in PEM; from PFX: openssl pkcs12 -in FILE -nodes");
    }
    let key: String = blocks(key).filter(|block| label(block).ends_with("PRIVATE KEY")).take(1).collect();
    if key.is_empty() { Err("no private key in PEM") } else { Ok((certs, key)) }
}

/// Each block with its two lines of dashes.
fn blocks(text: &str) -> impl Iterator<Item = String> {
    text.split("-----BEGIN ").skip(1).filter_map(|rest| {
        let name = rest.split("-----").next()?;
        let end = format!("-----END {name}-----");
        let (inner, _) = rest.split_once(&end)?;
        Some(format!("-----BEGIN {inner}{end}\n"))
    })
}

fn label(block: &str) -> &str {
    block.strip_prefix("-----BEGIN ").and_then(|rest| rest.split("-----").next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn a_pair_is_found_in_one_text_or_two() {
        let (leaf, key) = (block("CERTIFICATE").repeat(2), block("EC PRIVATE KEY"));
        let expected = Ok((leaf.clone(), key.clone()));
        assert_eq!(pair(&leaf, Some(&key)), expected);
        assert_eq!(pair(&format!("text\n{key}{leaf}"), None), expected);
        assert_eq!(pair(&leaf, Some(&format!("{}{key}", block("EC PARAMETERS")))), expected);
    }

    #[test]
    fn half_a_pair_is_none() {
        let cert = block("CERTIFICATE");
        assert!(pair(&cert, None).is_err_and(|e| e.contains("private key")));
        assert!(pair("", Some(&block("PRIVATE KEY"))).is_err_and(|e| e.contains("no certificate")));
        assert!(pair(&cert, Some(&block("ENCRYPTED PRIVATE KEY"))).is_err_and(|e| e.contains("password")));
        assert!(pair("-----BEGIN CERTIFICATE-----\nAAAA", Some(&block("PRIVATE KEY"))).is_err());
    }
}
