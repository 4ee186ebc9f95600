use super::*;
use crate::driver::Stream;
use jiff::Timestamp;
use punctual_clock::SystemClock;
use punctual_model::outcome::OutputSummary;
use std::os::unix::fs::PermissionsExt;

mod rotation;

const AT: Timestamp = Timestamp::constant(1_767_225_600, 0);

fn run(number: u64) -> RunId {
    RunId::new(number).unwrap()
}

fn on_disk() -> (tempfile::TempDir, Outputs) {
    let directory = tempfile::tempdir().unwrap();
    let outputs = Outputs::in_directory(directory.path().join("output"));
    (directory, outputs)
}

fn all(outputs: &Outputs, id: RunId) -> Vec<Frame> {
    let mut reader = outputs.read(id);
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

fn text(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.content.show().into_owned()).collect()
}

fn write(outputs: &Outputs, id: RunId, cap: u64, pieces: &[(Stream, &[u8])]) -> Option<OutputSummary> {
    let mut writer = outputs.writer(id, Layout::capped(cap));
    for (stream, bytes) in pieces {
        writer.write(AT, *stream, bytes);
    }
    let written = writer.finish(AT);
    assert_eq!(written.error, None);
    written.summary
}

#[test]
fn bytes_are_kept_exactly_through_several_attempts() {
    let (_directory, disk) = on_disk();
    for outputs in [disk, Outputs::in_memory()] {
        let first: &[(Stream, &[u8])] = &[(Stream::Stdout, b"a\0\xff\r\n"), (Stream::Stderr, b"no newline")];
        assert_eq!(write(&outputs, run(1), 1000, first), Some(OutputSummary { bytes: 15, dropped: 0 }));
        let second = write(&outputs, run(1), 1000, &[(Stream::Log, b"again\n")]);
        assert_eq!(second, Some(OutputSummary { bytes: 21, dropped: 0 }));
        let frames = all(&outputs, run(1));
        assert_eq!(text(&frames), b"a\0\xff\r\nno newlineagain\n");
        assert_eq!(frames.iter().map(|frame| frame.sequence).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(matches!(frames[1].content, Content::Bytes { stream: Stream::Stderr, .. }));
    }
}

#[test]
fn a_run_without_output_has_no_file() {
    let (directory, outputs) = on_disk();
    assert_eq!(write(&outputs, run(1), 1000, &[(Stream::Stdout, b"")]), None);
    assert!(!directory.path().join("output").exists());
    assert!(all(&outputs, run(1)).is_empty());
}

#[test]
fn what_is_over_the_cap_is_counted_and_marked() {
    let outputs = Outputs::in_memory();
    let summary = write(
        &outputs,
        run(1),
        40,
        &[(Stream::Stdout, &[b'x'; 30]), (Stream::Stdout, &[b'y'; 30]), (Stream::Stdout, b"z")],
    );
    assert_eq!(summary, Some(OutputSummary { bytes: 40, dropped: 21 }));
    let frames = all(&outputs, run(1));
    assert_eq!(frames.last().unwrap().content, Content::Dropped(21));
    let shown = String::from_utf8(text(&frames)).unwrap();
    assert!(shown.ends_with("[21 bytes of output dropped]\n"), "{shown}");
    // The next attempt finds no room left and says so for itself.
    let summary = write(&outputs, run(1), 40, &[(Stream::Stdout, b"more")]);
    assert_eq!(summary, Some(OutputSummary { bytes: 40, dropped: 25 }));
}

/// XT12. Cost is counted, not timed: each line is appended once and nothing is read or written again.
#[test]
fn xt12_a_hundred_thousand_lines_cost_no_more_each_than_one_and_leave_a_marker() {
    let (directory, outputs) = on_disk();
    let cap = 1 << 20;
    let mut writer = outputs.writer(run(7), Layout::capped(cap));
    let mut written = 0;
    for n in 0..100_000 {
        let line = format!("line {n} of a rather talkative handler\n");
        written += line.len() as u64;
        writer.write(AT, Stream::Log, line.as_bytes());
    }
    let summary = writer.finish(AT).summary.unwrap();
    assert_eq!(summary.bytes + summary.dropped, written);
    assert!((cap * 3 / 4..=cap).contains(&summary.bytes), "{summary:?}");
    let frames = all(&outputs, run(7));
    let marks = frames.iter().filter(|frame| frame.content == Content::Dropped(summary.dropped)).count();
    assert_eq!(marks, 1);
    assert!(frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let shown = text(&frames);
    assert!(shown.starts_with(b"line 0 ") && shown.ends_with(b"line 99999 of a rather talkative handler\n"));
    assert!(size_on_disk(directory.path(), run(7)) < 2 * cap);
}

fn size_on_disk(directory: &Path, run: RunId) -> u64 {
    let paths = (0..10).map(|slot| place::path_of(&directory.join("output"), run, &extension(slot)));
    paths.filter_map(|path| std::fs::metadata(path).ok()).map(|part| part.len()).sum()
}

/// What the kept bytes of a text have to be: its beginning, the mark, its end.
fn check_rotated(shown: &[u8], whole: &[u8], summary: OutputSummary, cap: u64) {
    assert_eq!(summary.bytes + summary.dropped, whole.len() as u64);
    assert!((cap / 2 + 1..=cap).contains(&summary.bytes), "{summary:?}");
    let mark = format!("\n[{} bytes of output dropped]\n", summary.dropped).into_bytes();
    let at = shown.windows(mark.len()).position(|bytes| bytes == mark).expect("a mark");
    let (head, tail) = (&shown[..at], &shown[at + mark.len()..]);
    assert_eq!(head.len() as u64, cap - 2 * (cap / 4));
    assert!(tail.len() as u64 >= cap / 4, "{}", tail.len());
    assert!(whole.starts_with(head) && whole.ends_with(tail));
}

fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{n:07}\n").into_bytes()).collect()
}

#[test]
fn up_to_the_cap_nothing_is_lost_and_behind_it_the_newest_is_kept() {
    let cap = 100_000;
    let (_directory, disk) = on_disk();
    for (outputs, piece) in [(disk, 999), (Outputs::in_memory(), 70_000)] {
        for (id, count) in [(1, 6_000), (2, 12_500), (3, 20_000), (4, 100_000)] {
            let whole = numbers(count);
            let pieces: Vec<(Stream, &[u8])> =
                whole.chunks(piece).map(|bytes| (Stream::Stdout, bytes)).collect();
            let summary = write(&outputs, run(id), cap, &pieces).unwrap();
            let shown = text(&all(&outputs, run(id)));
            if whole.len() as u64 <= cap {
                assert_eq!((shown.as_slice(), summary.dropped), (whole.as_slice(), 0));
            } else {
                check_rotated(&shown, &whole, summary, cap);
            }
        }
    }
}

/// What a later attempt, a later daemon or a process of its own knows is what stands in the files.
#[test]
fn every_writer_goes_on_where_the_one_before_stopped() {
    let cap = 100_000;
    let (directory, _) = on_disk();
    let whole = numbers(60_000);
    let mut written = 0;
    for bytes in whole.chunks(17_001) {
        let outputs = Outputs::in_directory(directory.path().join("output"));
        let summary = write(&outputs, run(1), cap, &[(Stream::Stdout, bytes)]).unwrap();
        written += bytes.len();
        assert_eq!(summary.bytes + summary.dropped, written as u64);
        let shown = text(&all(&outputs, run(1)));
        if written as u64 <= cap {
            assert_eq!(shown, &whole[..written]);
        } else if summary.dropped > 0 {
            check_rotated(&shown, &whole[..written], summary, cap);
        }
    }
    let outputs = Outputs::in_directory(directory.path().join("output"));
    outputs.remove(&[run(1)]).unwrap();
    assert_eq!(size_on_disk(directory.path(), run(1)), 0);
    assert!(!directory.path().join("output/0000").exists());
}

/// A crash may tear any part at any byte.
#[test]
fn a_torn_part_costs_what_was_torn_and_is_marked_where_more_follows() {
    let (directory, outputs) = on_disk();
    let cap = 65_536;
    let whole = numbers(30_000);
    let pieces: Vec<(Stream, &[u8])> = whole.chunks(4_000).map(|bytes| (Stream::Stdout, bytes)).collect();
    write(&outputs, run(1), cap, &pieces);
    let good = [2, 1, 0].map(|slot| {
        let path = place::path_of(&directory.path().join("output"), run(1), &extension(slot));
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    });
    for (path, bytes) in &good {
        for cut in [0, 4, 9, 20, 40, 49, 60, bytes.len() / 2, bytes.len() - 1] {
            good.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
            std::fs::write(path, &bytes[..cut]).unwrap();
            let before = all(&outputs, run(1));
            assert!(before.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{path:?} {cut}");
            let told: u64 = before
                .iter()
                .map(|frame| match &frame.content {
                    Content::Bytes { bytes, .. } => bytes.len() as u64,
                    Content::Dropped(count) => *count,
                })
                .sum();
            assert!(told <= whole.len() as u64, "{path:?} {cut}");
            let added = vec![b'x'; 50_000];
            write(&outputs, run(1), cap, &[(Stream::Stdout, &added)]);
            let after = text(&all(&outputs, run(1)));
            assert!(after.ends_with(&added[..cap as usize / 4]), "{path:?} {cut}");
        }
    }
}

#[test]
fn a_reader_that_lags_is_told_what_it_missed_and_loses_nothing_else() {
    let (_directory, disk) = on_disk();
    for outputs in [disk, Outputs::in_memory()] {
        let whole = numbers(60_000);
        let mut writer = outputs.writer(run(1), Layout::capped(100_000));
        let mut reader = outputs.read(run(1));
        let (mut seen, mut missed) = (Vec::new(), 0);
        for (n, bytes) in whole.chunks(1_000).enumerate() {
            writer.write(AT, Stream::Stdout, bytes);
            // It looks seldom, and never at a part's end on purpose.
            if n % 97 == 0 {
                let frame = reader.next_frame().unwrap().unwrap();
                take(frame, &mut seen, &mut missed);
            }
        }
        writer.finish(AT);
        while let Some(frame) = reader.next_frame().unwrap() {
            take(frame, &mut seen, &mut missed);
        }
        assert_eq!(seen.len() as u64 + missed, whole.len() as u64);
        assert!(missed > 0 && whole.starts_with(&seen[..50_000]) && whole.ends_with(&seen[50_000..]));
    }
}

fn take(frame: Frame, seen: &mut Vec<u8>, missed: &mut u64) {
    match frame.content {
        Content::Bytes { bytes, .. } => seen.extend(bytes),
        Content::Dropped(count) => *missed += count,
    }
}

#[test]
fn single_bytes_do_not_make_a_file_many_times_its_cap() {
    let (directory, outputs) = on_disk();
    let mut writer = outputs.writer(run(7), Layout::capped(10_000));
    for _ in 0..100_000 {
        writer.write(AT, Stream::Stdout, b"x");
    }
    let summary = writer.finish(AT).summary.unwrap();
    assert_eq!(summary.bytes + summary.dropped, 100_000);
    let path = place::path_of(&directory.path().join("output"), run(7), "out");
    assert!(std::fs::metadata(path).unwrap().len() <= 20_000 + 100);
}

#[test]
fn a_torn_last_frame_is_not_believed_and_the_next_attempt_writes_over_it() {
    let (directory, outputs) = on_disk();
    write(&outputs, run(1), 1000, &[(Stream::Stdout, b"whole"), (Stream::Stdout, b"torn")]);
    let path = place::path_of(&directory.path().join("output"), run(1), "out");
    let bytes = std::fs::read(&path).unwrap();
    for cut in 1..frame::HEADER + 4 {
        std::fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        assert_eq!(text(&all(&outputs, run(1))), b"whole", "{cut}");
    }
    write(&outputs, run(1), 1000, &[(Stream::Stdout, b" again")]);
    let frames = all(&outputs, run(1));
    assert_eq!(text(&frames), b"whole again");
    assert_eq!(frames[1].sequence, 1);
    // A file of which not even the magic is whole begins anew.
    std::fs::write(&path, b"PNCT").unwrap();
    assert!(all(&outputs, run(1)).is_empty());
    write(&outputs, run(1), 1000, &[(Stream::Stdout, b"new")]);
    assert_eq!(text(&all(&outputs, run(1))), b"new");
}

#[test]
fn only_the_owner_reads_and_directories_go_with_their_last_file() {
    let (directory, outputs) = on_disk();
    let root = directory.path().join("output");
    write(&outputs, run(0x0123_4567_89ab_cdef), 10, &[(Stream::Stdout, b"x")]);
    write(&outputs, run(0x0123_4567_89ab_cdee), 10, &[(Stream::Stdout, b"x")]);
    let path = root.join("0123/45/0123456789abcdef.out");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    outputs.remove(&[run(0x0123_4567_89ab_cdef), run(5)]).unwrap();
    assert!(!path.exists() && path.parent().unwrap().exists());
    outputs.remove(&[run(0x0123_4567_89ab_cdee)]).unwrap();
    assert!(root.exists() && !root.join("0123").exists());
}

#[test]
fn an_error_is_told_once_and_drops_what_follows() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("output");
    std::fs::write(&root, b"a file where a directory should be").unwrap();
    let mut writer = Outputs::in_directory(&root).writer(run(1), Layout::capped(100));
    writer.write(AT, Stream::Stdout, b"gone");
    writer.write(AT, Stream::Stdout, b" too");
    let written = writer.finish(AT);
    assert!(written.error.is_some());
    assert_eq!(written.summary, Some(OutputSummary { bytes: 0, dropped: 8 }));
}

#[test]
fn the_tail_is_as_much_as_was_asked_for() {
    let outputs = Outputs::in_memory();
    let lines: Vec<String> = (0..50).map(|n| format!("line {n:02}\n")).collect();
    let pieces: Vec<(Stream, &[u8])> = lines.iter().map(|line| (Stream::Stdout, line.as_bytes())).collect();
    write(&outputs, run(1), 10_000, &pieces);
    assert_eq!(text(&outputs.tail(run(1), 10).unwrap()), b"line 48\nline 49\n");
    assert_eq!(outputs.tail(run(1), 1_000_000).unwrap().len(), 50);
    assert!(outputs.tail(run(2), 10).unwrap().is_empty());
}

#[tokio::test]
async fn a_follower_sees_what_was_there_what_comes_and_the_end() {
    let (_directory, disk) = on_disk();
    for outputs in [disk, Outputs::in_memory()] {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let mut stream = outputs.follow(run(1), 1, clock, async { drop(ended.await) });
        let mut writer = outputs.writer(run(1), Layout::capped(10_000));
        writer.write(AT, Stream::Stdout, b"before it was asked for");
        writer.write(AT, Stream::Stdout, b"one");
        assert_eq!(stream.next().await.unwrap().unwrap().content.show().as_ref(), b"one");
        let reading = tokio::spawn(async move {
            let mut rest = Vec::new();
            while let Some(frame) = stream.next().await {
                rest.extend(frame.unwrap().content.show().into_owned());
            }
            rest
        });
        for n in 0..100 {
            tokio::task::yield_now().await;
            writer.write(AT, Stream::Stdout, format!("{n},").as_bytes());
        }
        writer.finish(AT);
        end.send(()).unwrap();
        let expect: String = (0..100).map(|n| format!("{n},")).collect();
        assert_eq!(String::from_utf8(reading.await.unwrap()).unwrap(), expect);
        assert_eq!(outputs.shared.following.load(Ordering::Relaxed), 0);
        assert!(lock(&outputs.shared.followers).is_empty());
    }
}

/// Nobody wakes this follower: the writer has nothing in common with it but the files.
#[tokio::test]
async fn a_follower_sees_what_another_process_writes_through_all_parts() {
    let (directory, outputs) = on_disk();
    let whole = numbers(9_000);
    let elsewhere = Outputs::in_directory(directory.path().join("output"));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let mut stream = outputs.follow(run(1), 0, clock, async { drop(ended.await) });
    let mut writer = elsewhere.writer(run(1), Layout::capped(80_000));
    let (mut seen, mut missed) = (Vec::new(), 0);
    for bytes in whole.chunks(9_000) {
        writer.write(AT, Stream::Stdout, bytes);
        // Each is seen before the next one is written, so none is missed.
        while missed == 0 && !seen.ends_with(bytes) {
            take(stream.next().await.unwrap().unwrap(), &mut seen, &mut missed);
        }
    }
    writer.finish(AT);
    end.send(()).unwrap();
    while let Some(frame) = stream.next().await {
        take(frame.unwrap(), &mut seen, &mut missed);
    }
    assert_eq!((seen, missed), (whole, 0));
}
