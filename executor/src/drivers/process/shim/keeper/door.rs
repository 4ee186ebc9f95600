//! Talking with daemons: the one that is there, and the next one, which knocks at the door.

use super::super::line::Line;
use super::super::messages::{Ask, Tell};
use super::super::time;
use super::{Keeper, named};
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::time::Duration;

impl Keeper<'_> {
    pub(super) fn hear(&mut self) {
        let Some(line) = &mut self.line else { return };
        line.flush();
        let (asked, open) = line.hear();
        for ask in asked {
            match (&ask, self.line.as_mut()) {
                (Ask::Hello { token }, Some(line)) if *token == self.token => {
                    line.trusted = true;
                    line.tell(&Tell::Hello { token: token.clone() });
                    if let Some(over) = &self.over {
                        line.tell(&Tell::Ended(over.end.clone()));
                    }
                }
                (_, Some(line)) if line.trusted => self.asked(ask),
                (_, _) => {
                    self.line = None;
                    return;
                }
            }
        }
        if !open && !self.is_settled() {
            self.line = None;
            self.listen();
            if let Some(over) = &mut self.over {
                over.try_at = time::monotonic();
            }
        }
    }

    /// From now on the next daemon can find us.
    pub(super) fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        let path = self.files.socket();
        let directory = path.parent().unwrap_or(&path);
        // The length of a socket's name is bounded, and that of a directory is not.
        let bound = File::open(directory).and_then(|directory| {
            let name = path.file_name().unwrap_or_default();
            let short = super::super::through(&directory, name);
            let _ = std::fs::remove_file(&path);
            rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO | rustix::fs::Mode::XUSR);
            UnixListener::bind(short)
        });
        // Without it the work goes on, and its end is written down.
        self.listener = bound.ok().filter(|listener| listener.set_nonblocking(true).is_ok());
        self.was_alone = true;
    }

    pub(super) fn open_the_door(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Ok((stream, _)) = listener.accept() else { return };
        let us = rustix::process::geteuid();
        let is_ours = rustix::net::sockopt::socket_peercred(&stream)
            .is_ok_and(|who| who.uid == us || who.uid.is_root());
        if is_ours {
            self.line = Some(Line::new(stream, false));
        }
    }

    pub(super) fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Hello { .. } => {}
            Ask::Kill { signal, grace } => self.end_it(named(signal), Duration::from_millis(grace)),
            // Whoever hears the end hears that there is nobody to send it to.
            Ask::Signal { .. } if self.over.is_some() => {}
            Ask::Signal { signal } => {
                let error = match self.exit {
                    Some(_) => Some("the process has ended".to_owned()),
                    None => rustix::process::kill_process_group(self.leader, named(signal))
                        .err()
                        .map(|error| error.to_string()),
                };
                self.tell(&Tell::Signaled { error });
            }
            Ask::Change { timeout, signal, grace } => {
                self.timeout = timeout.map(Duration::from_millis);
                self.kill = (named(signal), Duration::from_millis(grace));
            }
            Ask::Recorded => {
                if let Some(over) = &mut self.over {
                    if self.was_alone {
                        self.files.remove();
                    }
                    (over.written, over.recorded) = (true, true);
                }
            }
        }
    }

    pub(super) fn tell(&mut self, message: &Tell) {
        if let Some(line) = &mut self.line {
            line.tell(message);
        }
    }
}
