//! What a daemon and a shim tell each other, as lines of JSON. The two may be of different builds: the daemon that
//! comes back after an upgrade talks with shims of the one before. Fields are only ever added.

use super::super::control::Step;
use punctual_model::Usage;
use punctual_model::outcome::OutputSummary;
use serde::{Deserialize, Serialize};

/// From the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// The first line of a daemon that comes back.
    Hello { token: String },
    /// End it: the signal, and after so many milliseconds KILL.
    Kill { signal: i32, grace: u64 },
    /// Send it a signal.
    Signal { signal: i32 },
    /// The definition has changed: milliseconds from the start of the work that it may take, and how it is ended when
    /// they are over and no daemon is there.
    Change { timeout: Option<u64>, signal: i32, grace: u64 },
    /// Its end is recorded; nothing of it needs to be kept.
    Recorded,
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tell {
    /// The answer to a daemon that came back.
    Hello { token: String },
    /// The work lives.
    Started,
    /// It does not, and why.
    NotStarted {
        errno: Option<i32>,
        text: String,
        /// At what the work was.
        #[serde(default)]
        step: Step,
    },
    /// There is more output.
    Output,
    /// A signal was sent, or why not.
    Signaled { error: Option<String> },
    /// Killed, and these live still.
    Alive { pids: Vec<i32> },
    /// Nothing of it lives any more.
    Ended(End),
}

/// How an attempt ended; also what the file says that is left for a daemon that was not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct End {
    /// As in the state.
    pub(crate) token: String,
    /// When, in microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// The shim has ended it because its time was up.
    pub(crate) timed_out: bool,
    /// Milliseconds that it was allowed then.
    pub(crate) timeout: Option<u64>,
    /// It did not go by itself when it was told to.
    pub(crate) by_force: bool,
    /// By what its limits were kept, if it had any.
    pub(crate) limits: Option<String>,
    /// How many of its processes the kernel has killed for want of memory.
    pub(crate) out_of_memory: u64,
    /// What the run wrote.
    pub(crate) output: Option<OutputSummary>,
    pub(crate) output_error: Option<String>,
    /// What all of it took of the machine.
    pub(crate) usage: Option<Usage>,
    /// What its record should tell besides.
    pub(crate) said: Vec<String>,
    /// Who kept it can take another order when this end is recorded.
    pub(crate) again: bool,
}

/// A line.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    // It has no map with keys that are no text, and nothing else can fail.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Takes the first whole line off a buffer. None if there is none; an error if it says nothing that is known.
pub(crate) fn take<T: for<'a> Deserialize<'a>>(buffer: &mut Vec<u8>) -> Option<Result<T, serde_json::Error>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let message = serde_json::from_slice(&buffer[..end]);
    buffer.drain(..=end);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_one_by_one_as_they_went_in() {
        let asked =
            [Ask::Recorded, Ask::Kill { signal: 15, grace: 5 }, Ask::Hello { token: "a\nb".to_owned() }];
        let mut buffer: Vec<u8> = asked.iter().flat_map(line).collect();
        buffer.extend(b"{\"kill\"");
        for expected in asked {
            assert_eq!(take::<Ask>(&mut buffer).unwrap().unwrap(), expected);
        }
        assert!(take::<Ask>(&mut buffer).is_none());
        buffer.extend(b":1}\n");
        assert!(take::<Ask>(&mut buffer).unwrap().is_err());
    }

    #[test]
    fn an_end_of_another_build_is_understood() {
        let end: End = serde_json::from_str(r#"{"code":3,"of a later build":[1]}"#).unwrap();
        assert_eq!(end, End { code: Some(3), ..End::default() });
    }
}
