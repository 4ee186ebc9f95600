//! Keys of the embedded store. Their order is the order of scans; it belongs to the format and never changes.
//! No key is longer than 150 bytes: the model bounds the only parts that people choose.

use crate::ledger::{Lane, LaneKind, OpenKey, OpenMark};
use jiff::Timestamp;
use punctual_model::{RunId, TaskId, TaskType};

/// Two ids, one after the other: a revision of a task, a run of a task.
pub(super) fn pair(first: u64, second: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

/// The id in an eight-byte key or value.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// The second half of a [`pair`].
pub(super) fn second(key: &[u8]) -> Option<u64> {
    (key.len() == 16).then(|| number(&key[8..])).flatten()
}

/// A name within a type. The type comes with its length, so that no two pairs make the same key.
pub(super) fn name(kind: &TaskType, name: &str) -> Vec<u8> {
    let kind = kind.as_str().as_bytes();
    let mut key = Vec::with_capacity(4 + kind.len() + name.len());
    // A type longer than the number can say is refused long before; its bytes still follow.
    key.extend(u32::try_from(kind.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend(kind);
    key.extend(name.as_bytes());
    key
}

/// An idempotency key of a task.
pub(super) fn idempotency(task: TaskId, text: &str) -> Vec<u8> {
    let mut key = task.to_key().to_vec();
    key.extend(text.as_bytes());
    key
}

/// Length of a key of the open index: task, kind, time, run.
const OPEN: usize = 8 + 1 + 9 + 8;

/// A key of the open index, in the order of [`OpenKey`].
pub(super) fn open(open: OpenKey) -> [u8; OPEN] {
    let mut key = [0; OPEN];
    key[..8].copy_from_slice(&open.lane.task.to_key());
    key[8] = open.lane.kind as u8;
    // All instants, counted from the first one, fit nine bytes.
    let nanos = open.ready.as_nanosecond() - Timestamp::MIN.as_nanosecond();
    key[9..18].copy_from_slice(&nanos.to_be_bytes()[7..]);
    key[18..].copy_from_slice(&open.run.to_key());
    key
}

/// Reads what [`open`] wrote.
pub(super) fn read_open(key: &[u8]) -> Option<OpenKey> {
    let key: &[u8; OPEN] = key.try_into().ok()?;
    let mut nanos = [0; 16];
    nanos[7..].copy_from_slice(&key[9..18]);
    let nanos = i128::from_be_bytes(nanos) + Timestamp::MIN.as_nanosecond();
    Some(OpenKey {
        lane: Lane { task: TaskId::new(number(&key[..8])?)?, kind: LaneKind::numbered(key[8])? },
        ready: Timestamp::from_nanosecond(nanos).ok()?,
        run: RunId::new(number(&key[18..])?)?,
    })
}

/// The value beside a key of the open index.
pub(super) fn mark(mark: OpenMark) -> [u8; 1] {
    [u8::from(mark.at_work) | u8::from(mark.begun) << 1]
}

/// Reads what [`mark`] wrote.
pub(super) fn read_mark(value: &[u8]) -> Option<OpenMark> {
    match value {
        [bits @ 0..4] => Some(OpenMark { at_work: bits & 1 != 0, begun: bits & 2 != 0 }),
        _ => None,
    }
}

/// What the keys of crews begin with, beside the other records of the same keyspace.
const CREW: &[u8; 4] = b"crew";

/// The key of a crew.
pub(super) fn crew(number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(CREW);
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Reads what [`crew`] wrote.
pub(super) fn read_crew(key: &[u8]) -> Option<u64> {
    key.strip_prefix(CREW).and_then(number)
}

/// The runs of a crew, one after the other.
pub(super) fn runs(runs: &[RunId]) -> Vec<u8> {
    runs.iter().flat_map(|run| run.to_key()).collect()
}

/// Reads what [`runs`] wrote.
pub(super) fn read_runs(value: &[u8]) -> Option<Vec<RunId>> {
    let (runs, rest) = value.as_chunks::<8>();
    let runs = runs.iter().map(|run| RunId::new(u64::from_be_bytes(*run)));
    if rest.is_empty() { runs.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_open()(
            ids in (1u64..5, 1u64..5),
            kind in (0u8..5).prop_map(|number| LaneKind::numbered(number).unwrap()),
            nanos in prop_oneof![Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond(), -2i128..3],
        ) -> OpenKey {
            OpenKey {
                lane: Lane { task: TaskId::new(ids.0).unwrap(), kind },
                ready: Timestamp::from_nanosecond(nanos).unwrap(),
                run: RunId::new(ids.1).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn open_keys_sort_as_their_bytes_do_and_read_back(a in any_open(), b in any_open()) {
            prop_assert_eq!(a.cmp(&b), open(a).cmp(&open(b)));
            prop_assert_eq!(read_open(&open(a)), Some(a));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (read_open(&bytes), read_mark(&bytes), number(&bytes), second(&bytes));
            let _ = (read_crew(&bytes), read_runs(&bytes));
        }
    }

    #[test]
    fn marks_read_back() {
        for (at_work, begun) in [(false, false), (false, true), (true, false), (true, true)] {
            let before = OpenMark { at_work, begun };
            assert_eq!(read_mark(&mark(before)), Some(before));
        }
        assert_eq!(read_mark(&[4]), None);
        assert_eq!(read_mark(&[]), None);
    }

    #[test]
    fn no_two_names_share_a_key() {
        let key = |kind: &str, text: &str| name(&TaskType::new(kind), text);
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("", "n"), key("system", "n"));
    }
}
