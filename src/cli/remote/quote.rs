//! Words as a shell reads them back.

/// One word, quoted if a shell would read it as anything else.
pub(crate) fn word(text: &str) -> String {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'_' | b'.' | b'/' | b':' | b'=' | b'@' | b'%' | b'+' | b',')
    };
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command line.
pub(crate) fn words<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|text| word(text.as_ref())).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in ["", "plain", "two words", "it's", "$(rm -rf /)", "a\nb", "*", "é", "--", "a;b"] {
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("printf %s {}", super::word(text))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
        assert_eq!(super::words(["echo", "a b"]), "echo 'a b'");
    }
}
