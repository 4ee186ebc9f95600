//! What a shim is told to do, on its way from the daemon to a shim of the same build.
//!
//! A length, a header of JSON, then texts that end with a zero each, as an exec wants them, then the input.

use super::super::control::Control;
use crate::output::Layout;
use punctual_model::RunId;
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// One attempt, with all that a shim has to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) about: About,
    /// Where notes, ends and sockets of shims are.
    pub(crate) states: PathBuf,
    /// Where output is.
    pub(crate) outputs: PathBuf,
    /// The program's file.
    pub(crate) file: CString,
    pub(crate) directory: Option<CString>,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) input: Option<Vec<u8>>,
}

/// The part that is no text for the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) run: RunId,
    pub(crate) attempt: u32,
    /// The name of the file in which the shim notes whom it keeps; the same one in each of its orders.
    pub(crate) note: String,
    /// The node whose shim it is.
    pub(crate) node: String,
    /// Known to the daemon and the shim only.
    pub(crate) token: String,
    /// Milliseconds that it may take.
    pub(crate) timeout: Option<u64>,
    /// By what it is ended, and how long that may take in milliseconds.
    pub(crate) signal: i32,
    pub(crate) grace: u64,
    /// How the run's output is divided.
    pub(crate) layout: Layout,
    /// Bytes of the disk that are kept free of new work; none for the usual mark.
    pub(crate) free_space: Option<u64>,
    /// What the work may be and use.
    pub(crate) control: Control,
}

#[derive(Serialize, Deserialize)]
struct Header {
    about: About,
    arguments: usize,
    environment: usize,
    texts: usize,
    input: Option<usize>,
}

/// Texts before the arguments: two directories, the file, the working directory.
const FIXED: usize = 4;

/// Largest part that is believed: far above what the system lets a program have.
const LARGEST: usize = 1 << 30;

impl Order {
    /// The bytes to send.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut texts = Vec::new();
        let directory = self.directory.as_ref().map(|directory| directory.as_bytes()).unwrap_or_default();
        for path in [&self.states, &self.outputs] {
            texts.extend(path.as_os_str().as_bytes());
            texts.push(0);
        }
        let fixed = [self.file.as_bytes(), directory].into_iter();
        let more = self.arguments.iter().chain(&self.environment).map(|text| text.as_bytes());
        for text in fixed.chain(more) {
            texts.extend(text);
            texts.push(0);
        }
        let header = Header {
            about: self.about.clone(),
            arguments: self.arguments.len(),
            environment: self.environment.len(),
            texts: texts.len(),
            input: self.input.as_ref().map(Vec::len),
        };
        let header = serde_json::to_vec(&header)?;
        let length = u32::try_from(header.len()).map_err(io::Error::other)?;
        let mut all = length.to_le_bytes().to_vec();
        all.extend(header);
        all.extend(texts);
        all.extend(self.input.as_deref().unwrap_or_default());
        Ok(all)
    }

    /// Reads exactly one.
    pub(super) fn decode(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let header = bytes(from, u32::from_le_bytes(length) as usize)?;
        let header: Header = serde_json::from_slice(&header)?;
        let texts = bytes(from, header.texts)?;
        let input = header.input.map(|length| bytes(from, length)).transpose()?;
        let mut texts = texts.split(|byte| *byte == 0).map(|text| CString::new(text).unwrap_or_default());
        let mut fixed = [const { None }; FIXED];
        fixed.fill_with(|| texts.next());
        let [Some(states), Some(outputs), Some(file), Some(directory)] = fixed else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let path = |text: CString| PathBuf::from(OsString::from_vec(text.into_bytes()));
        Ok(Self {
            about: header.about,
            states: path(states),
            outputs: path(outputs),
            file,
            directory: Some(directory).filter(|directory| !directory.is_empty()),
            arguments: texts.by_ref().take(header.arguments).collect(),
            environment: texts.take(header.environment).collect(),
            input,
        })
    }
}

fn bytes(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A text for the system, which takes none with a zero in it.
pub(crate) fn text(text: impl AsRef<std::ffi::OsStr>) -> io::Result<CString> {
    let text = text.as_ref().as_bytes();
    CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a nul byte stands in it"))
}

/// A path that means the same in every working directory.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_sent() {
        let order = Order {
            about: About {
                run: RunId::new(7).unwrap(),
                attempt: 2,
                note: "session-1.shim".to_owned(),
                node: "a\"b".to_owned(),
                token: "t".to_owned(),
                timeout: Some(5),
                signal: 15,
                grace: 1000,
                layout: Layout::capped(10),
                free_space: None,
                control: Control::default(),
            },
            states: "/a/\u{fc}".into(),
            outputs: OsString::from_vec(b"/o/\xff".to_vec()).into(),
            file: c"/bin/sh".into(),
            directory: None,
            arguments: vec![c"sh".into(), c"".into(), c"-c\n".into()],
            environment: vec![c"A=\xff".into(), c"B=".into()],
            input: Some(b"x\0y".to_vec()),
        };
        let sent = order.encode().unwrap();
        assert_eq!(Order::decode(&mut sent.as_slice()).unwrap(), order);
        for cut in 0..sent.len() {
            assert!(Order::decode(&mut &sent[..cut]).is_err(), "{cut}");
        }
        assert!(text("a\0b").is_err());
    }
}
