//! The shim's end of a connection with a daemon. While it keeps something nothing here ever waits: a daemon that stands
//! still must not hold up the work's output.

use super::messages::{self, Ask, Tell};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Read at once: most orders are smaller.
const PIECE: usize = 8192;

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
    pub(super) fn new(stream: UnixStream, trusted: bool) -> Self {
        Self { stream, inbox: Vec::new(), outbox: Vec::new(), trusted }
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
            match send(&self.stream, &self.outbox, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) if sent > 0 => drop(self.outbox.drain(..sent)),
                Err(Errno::INTR) => {}
                // Later, or never: an end is seen when reading.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Whether somebody is at the other end, or was until now.
    pub(super) fn is_open(&self) -> bool {
        let mut looked = [PollFd::new(&self.stream, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            match poll(&mut looked, Some(&at_once)) {
                Err(Errno::INTR) => {}
                // Nobody there is the one thing that is told without being asked for.
                found => return found == Ok(0),
            }
        }
    }

    /// Everything that has come, and whether more can come. What comes behind the word that an end is recorded is the next
    /// order, and left for who reads that.
    pub(super) fn hear(&mut self) -> (Vec<Ask>, bool) {
        let mut asked = Vec::new();
        loop {
            while let Some(ask) = messages::take(&mut self.inbox) {
                // What a later daemon may ask for and this one does not know is left undone.
                let Ok(ask) = ask else { continue };
                let is_last = ask == Ask::Recorded;
                asked.push(ask);
                if is_last {
                    return (asked, true);
                }
            }
            if self.inbox.len() > LONGEST {
                return (Vec::new(), false);
            }
            let mut piece = [0; PIECE];
            match recv(&self.stream, &mut piece, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return (asked, false),
                Ok((read, _)) => self.inbox.extend(&piece[..read]),
                Err(Errno::INTR) => {}
                Err(error) => return (asked, error == Errno::AGAIN),
            }
        }
    }
}

/// Waits for what comes.
impl Read for Line {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.inbox.is_empty() {
            if to.len() >= PIECE {
                return self.stream.read(to);
            }
            self.inbox.resize(PIECE, 0);
            let read = self.stream.read(&mut self.inbox);
            self.inbox.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let read = to.len().min(self.inbox.len());
        to[..read].copy_from_slice(&self.inbox[..read]);
        self.inbox.drain(..read);
        Ok(read)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
