//! The token that TCP callers have to show: 256 bits of the system's entropy, made at the first start, in a file
//! that only its owner can read.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Bits of a token: nobody guesses it, however long they try.
const BITS: usize = 256;

/// Fewest characters of a token that somebody has put there by hand: the hex digits of 128 bits.
const MIN_LENGTH: usize = 32;

/// Longest file that is read as a token.
const MAX_LENGTH: u64 = 4096;

/// Most that the file may permit: reading and writing by its owner.
const MODE: u32 = 0o600;

/// A secret. Does not show itself.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The name of its file in the data directory.
    pub const FILE: &str = "admin-token";

    /// The token in this file; if there is no such file, a new one, written there durably.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::InvalidData`] for a file that others may read, or whose token
    /// is too short to keep anybody out.
    pub fn open(path: &Path) -> io::Result<Self> {
        match OpenOptions::new().read(true).open(path) {
            Ok(file) => Self::read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    fn read(file: File) -> io::Result<Self> {
        let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        let mode = file.metadata()?.permissions().mode() & 0o777;
        if mode & !MODE != 0 {
            return wrong(format!("its mode is {mode:o}; others must not read it (chmod 600)"));
        }
        let mut text = Vec::new();
        // One more, so that a longer one is noticed: cut short it would let nobody in.
        file.take(MAX_LENGTH + 1).read_to_end(&mut text)?;
        let token = text.trim_ascii();
        // What cannot be sent in a header can never be shown.
        let is_shown = token.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(token) {
            Ok(token) if is_shown && token.len() >= MIN_LENGTH && text.len() as u64 <= MAX_LENGTH => {
                Ok(Self(token.to_owned()))
            }
            _ => wrong(format!(
                "it holds no token: one line of {MIN_LENGTH} to {MAX_LENGTH} visible ASCII characters; remove it, \
                 and a new one is made"
            )),
        }
    }

    fn create(path: &Path) -> io::Result<Self> {
        let mut secret = [0; BITS / 8];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let text = secret.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        // Whole or not at all: a start that dies in between leaves no half token.
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(MODE);
        let mut file = options.open(&new)?;
        file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(Self(text))
    }

    /// Whether somebody showed this one. Takes the same time for every wrong text of the same length.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        constant_time_eq::constant_time_eq(self.0.as_bytes(), shown.as_bytes())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Token::FILE);
        let made = Token::open(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), BITS / 4);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Token::open(&path).unwrap();
        assert!(again.is(text.trim()) && made.is(text.trim()));
        assert!(
            !made.is("")
                && !made.is(&text.trim()[1..])
                && !made.is(&text.trim().to_uppercase().replace('A', "B"))
        );
        assert!(!format!("{made:?}").contains(&text.trim()[..8]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = Token::open(&dir.path().join("other")).unwrap();
        assert!(!other.is(text.trim()));
    }

    #[test]
    fn a_token_that_keeps_nobody_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Token::FILE);
        let of = |length| "x".repeat(length);
        for (text, mode) in [
            (String::new(), 0o600),
            ("\n".to_owned(), 0o600),
            ("short\n".to_owned(), 0o600),
            (of(MIN_LENGTH - 1), 0o600),
            (of(MAX_LENGTH as usize + 1), 0o600),
            (format!("{}\n{}\n", of(40), of(40)), 0o600),
            (format!("{}\0{}", of(40), of(40)), 0o600),
            (format!("{} {}", of(40), of(40)), 0o600),
            ("é".repeat(64), 0o600),
            (of(64), 0o640),
        ] {
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Token::open(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?} {mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"\xff".repeat(64)).unwrap();
        assert_eq!(Token::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_token_is_the_line_without_its_end_and_nothing_longer_or_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Token::FILE);
        let secret = "0123456789abcdef".repeat(4);
        for end in ["", "\n", "\r\n", "\n\n"] {
            std::fs::write(&path, format!("{secret}{end}")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let token = Token::open(&path).unwrap();
            assert!(token.is(&secret), "{end:?}");
            for length in 0..secret.len() {
                assert!(!token.is(&secret[..length]), "the first {length}");
            }
            for longer in ["0", "\n", "\0", " "] {
                assert!(!token.is(&format!("{secret}{longer}")), "{longer:?}");
            }
            assert!(!token.is(&secret.repeat(2)));
        }
    }
}
