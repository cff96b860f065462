//! Where a message of HTTP/1.1 ends, if it says so by a length.

/// The length of the first message, its body included; `None` while its head has not ended. Without a length it has no body.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let told = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(end + told.unwrap_or_default())
}
