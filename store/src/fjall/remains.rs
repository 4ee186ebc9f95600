//! What is left of the journals of a damaged directory: everything up to the first damage, and nothing behind it.
//!
//! Called by the repair and the survey. Only reads.

use super::journals::{self, Commit, Contents, Journal, Rest};
use super::seal::Mark;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The journals of one folder, up to the first damage.
pub(super) struct Remains {
    pub(super) folder: PathBuf,
    /// Those that are kept; the last one only as far as it can be read.
    pub(super) kept: Vec<(Journal, Contents)>,
    pub(super) last: Option<Commit>,
    pub(super) damage: Option<String>,
}

impl Remains {
    /// Reads the journals of a folder.
    pub(super) fn read(folder: &Path, mark: Option<Mark>) -> io::Result<Self> {
        let mut remains = Self { folder: folder.to_owned(), kept: Vec::new(), last: None, damage: None };
        let journals = journals::list(folder)?;
        let count = journals.len();
        let first = journals.first().map(|journal| journal.number);
        // After a stop in order none is missing; after a crash the database may have removed some that it needed
        // no more.
        let mut expected = mark.filter(|mark| mark.clean).map(|mark| mark.journals.0).or(first).unwrap_or(0);
        for (n, journal) in journals.into_iter().enumerate() {
            if journal.number != expected {
                remains.damage = Some(format!("journal {expected} is missing"));
                return Ok(remains);
            }
            expected += 1;
            let contents = journals::read(&journal.path, remains.last.map(|last| last.sequence))?;
            remains.last = contents.last.or(remains.last);
            let number = journal.number;
            remains.kept.push((journal, contents));
            let is_last = n + 1 == count;
            let what = match contents.rest {
                Rest::Nothing => continue,
                // What every crash may leave.
                Rest::Torn if is_last => continue,
                Rest::Torn | Rest::Hole => "cannot be read",
                Rest::Checksum => "has a wrong checksum",
            };
            let after =
                remains.last.map_or_else(String::new, |last| format!(" after commit {}", last.sequence));
            remains.damage = Some(format!("journal {number} {what}{after}"));
            return Ok(remains);
        }
        if mark.is_some_and(|mark| expected <= mark.journals.1) {
            remains.damage = Some(format!("journal {expected} is missing"));
        }
        Ok(remains)
    }

    /// Journals that an earlier start has kept, if these ones are what was left of them and they hold more.
    pub(super) fn kept_aside(&self, aside: &Path, mark: Option<Mark>) -> io::Result<Option<Self>> {
        let sequence = |remains: &Self| remains.last.map_or(0, |last| last.sequence);
        if self.damage.is_none() && mark.is_none_or(|mark| sequence(self) >= mark.sequence) {
            return Ok(None);
        }
        let mut best: Option<Self> = None;
        let folders = match fs::read_dir(aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            folders => folders?,
        };
        for folder in folders {
            let other = Self::read(&folder?.path(), None)?;
            let most = best.as_ref().map_or(sequence(self), sequence);
            if sequence(&other) > most && self.is_left_of(&other)? {
                best = Some(other);
            }
        }
        Ok(best)
    }

    /// Whether these journals are the beginnings of those.
    fn is_left_of(&self, other: &Self) -> io::Result<bool> {
        for (journal, contents) in &self.kept {
            let Some((same, _)) = other.kept.iter().find(|(same, _)| same.number == journal.number) else {
                return Ok(false);
            };
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            File::open(&journal.path)?.take(contents.end).read_to_end(&mut ours)?;
            File::open(&same.path)?.take(contents.end).read_to_end(&mut theirs)?;
            if ours != theirs {
                return Ok(false);
            }
        }
        Ok(!self.kept.is_empty())
    }

    /// Name, bytes and trouble of each.
    pub(super) fn told(&self) -> Vec<(String, u64, Option<String>)> {
        let rest = |rest| match rest {
            Rest::Nothing => None,
            Rest::Torn => Some("ends within a commit".to_owned()),
            Rest::Hole => Some("cannot be read, and commits follow".to_owned()),
            Rest::Checksum => Some("has a wrong checksum".to_owned()),
        };
        let kept = self.kept.iter();
        kept.map(|(journal, contents)| (format!("{}.jnl", journal.number), contents.end, rest(contents.rest)))
            .collect()
    }
}
