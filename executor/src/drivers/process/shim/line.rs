//! The shim's end of a connection with a daemon. Nothing here ever waits: a daemon that stands still must not hold
//! up the work's output.

use super::messages::{self, Ask, Tell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Read at once.
const PIECE: usize = 4096;

/// Unread bytes after which somebody is no daemon of ours.
const LONGEST: usize = 1 << 20;

pub(super) struct Line {
    stream: UnixStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// It is the daemon that started this shim, or has shown that it may talk with it.
    pub(super) trusted: bool,
}

impl Line {
    pub(super) fn new(stream: UnixStream, trusted: bool) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, inbox: Vec::new(), outbox: Vec::new(), trusted })
    }

    /// Sends, or keeps what cannot be sent yet.
    pub(super) fn tell(&mut self, message: &Tell) {
        self.outbox.extend(messages::line(message));
        self.flush();
    }

    /// Says that there is more, unless that has been said and not been heard.
    pub(super) fn hint(&mut self) {
        if self.outbox.is_empty() {
            self.tell(&Tell::Output);
        }
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(sent) if sent > 0 => drop(self.outbox.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Later, or never: an end is seen when reading.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Everything that has come, and whether more can come.
    pub(super) fn hear(&mut self) -> (Vec<Ask>, bool) {
        let mut piece = [0; PIECE];
        let open = loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break false,
                Ok(read) => self.inbox.extend(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
            if self.inbox.len() > LONGEST {
                return (Vec::new(), false);
            }
        };
        let mut asked = Vec::new();
        while let Some(ask) = messages::take(&mut self.inbox) {
            // What a later daemon may ask for and this one does not know is left undone.
            asked.extend(ask);
        }
        (asked, open)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
