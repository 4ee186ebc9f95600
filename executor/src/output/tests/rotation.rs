//! Output in files of one size, of which the newest are kept.

use super::*;
use std::process::{Command, Stdio};

const AT_BYTES: u64 = 10_000;
const FILES: usize = 3;

fn three() -> Layout {
    Layout::rotated(AT_BYTES, FILES)
}

fn write_to(outputs: &Outputs, layout: Layout, bytes: &[u8]) -> OutputSummary {
    let mut writer = outputs.writer(run(1), layout);
    for piece in bytes.chunks(1_234) {
        writer.write(AT, Stream::Stdout, piece);
    }
    let written = writer.finish(AT);
    assert_eq!(written.error, None);
    written.summary.unwrap()
}

fn files_of(directory: &Path) -> Vec<(String, u64)> {
    let folder = place::path_of(&directory.join("output"), run(1), "out");
    let mut found: Vec<(String, u64)> = std::fs::read_dir(folder.parent().unwrap())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        })
        .collect();
    found.sort();
    found
}

/// What is read is the end of what was written, with a mark that counts exactly what is missing before it.
fn check_newest(outputs: &Outputs, whole: &[u8], at_least: u64, at_most: u64) -> u64 {
    let frames = all(outputs, run(1));
    assert!(frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let (mut seen, mut missed) = (Vec::new(), 0);
    for frame in frames {
        assert!(matches!(frame.content, Content::Bytes { .. }) || seen.is_empty(), "one mark, first");
        take(frame, &mut seen, &mut missed);
    }
    assert_eq!(seen.len() as u64 + missed, whole.len() as u64);
    assert!(whole.ends_with(&seen));
    assert!((at_least..=at_most).contains(&(seen.len() as u64)), "{} of {}", seen.len(), whole.len());
    missed
}

#[test]
fn the_newest_files_are_kept_whole_and_what_went_is_marked() {
    let (directory, disk) = on_disk();
    for outputs in [disk, Outputs::in_memory()] {
        for length in [0, 1, 9_999, 10_000, 10_001, 29_999, 30_000, 30_001, 40_000, 123_456] {
            outputs.remove(&[run(1)]).unwrap();
            let whole = numbers(length / 8 + 1);
            let summary = write_to(&outputs, three(), &whole);
            let most = AT_BYTES * FILES as u64;
            let least = (whole.len() as u64).min(most - AT_BYTES);
            let missed = check_newest(&outputs, &whole, least, most);
            assert_eq!((summary.dropped, summary.bytes), (missed, whole.len() as u64 - missed));
            assert_eq!(missed == 0, whole.len() as u64 <= most, "{length}");
            assert!(outputs.is_kept(run(1)));
        }
    }
    // Three files, and a head with nothing in it that says that there is more behind.
    let found = files_of(directory.path());
    assert_eq!(found.len(), FILES + 1, "{found:?}");
    assert!(found.iter().all(|(_, size)| *size < 2 * AT_BYTES), "{found:?}");
    let disk = Outputs::in_directory(directory.path().join("output"));
    disk.remove(&[run(1)]).unwrap();
    assert!(!directory.path().join("output/0000").exists() && !disk.is_kept(run(1)));
}

/// A file for each run even where only one is kept.
#[test]
fn one_file_is_the_newest_one() {
    let (directory, outputs) = on_disk();
    let whole = numbers(6_000);
    let summary = write_to(&outputs, Layout::rotated(AT_BYTES, 1), &whole);
    assert_eq!(summary.bytes, 48_000 % AT_BYTES);
    check_newest(&outputs, &whole, 1, AT_BYTES);
    assert_eq!(files_of(directory.path()).len(), 2);
}

/// Each attempt may be made by another definition, with other files or none, and keeps no more than that says, whatever
/// others have left.
#[test]
fn attempts_that_divide_output_differently_go_on_in_one_stream() {
    let layouts = [
        Layout::rotated(AT_BYTES, 3),
        Layout::capped(80_000),
        Layout::rotated(AT_BYTES / 2, 5),
        Layout::rotated(AT_BYTES, 2),
        Layout::capped(70_000),
        Layout::rotated(AT_BYTES, 1),
    ];
    let caps = [30_000, 80_000, 25_000, 20_000, 70_000, 10_000];
    for first in 0..layouts.len() {
        let (directory, _) = on_disk();
        let whole = numbers(16_000);
        let mut written = 0;
        for (n, bytes) in whole.chunks(17_001).enumerate() {
            let outputs = Outputs::in_directory(directory.path().join("output"));
            let which = (first + n) % layouts.len();
            let summary = write_to(&outputs, layouts[which], bytes);
            assert!(summary.bytes <= caps[which], "{first} {n}: {summary:?}");
            // Numbers and the beginnings of files come to that, and to half as much again.
            let on_disk: u64 = files_of(directory.path()).into_iter().map(|(_, size)| size).sum();
            assert!(on_disk <= caps[which] * 3 / 2, "{first} {n}: {on_disk}");
            written += bytes.len() as u64;
            assert_eq!(summary.bytes + summary.dropped, written);
            let frames = all(&outputs, run(1));
            assert!(frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
            let (mut seen, mut missed) = (Vec::new(), 0);
            frames.into_iter().for_each(|frame| take(frame, &mut seen, &mut missed));
            assert_eq!((seen.len() as u64, missed), (summary.bytes, summary.dropped), "{first} {n}");
            assert!(whole[..written as usize].ends_with(&seen[seen.len().saturating_sub(1_000)..]));
        }
    }
}

/// A crash in a turn: a part that was begun and has no name yet, or the oldest still standing beside the newest.
#[test]
fn a_crash_in_the_middle_of_a_turn_loses_nothing_and_is_put_right_by_the_next_one() {
    let (directory, outputs) = on_disk();
    let whole = numbers(20_000);
    write_to(&outputs, three(), &whole[..29_000]);
    let head = place::path_of(&directory.path().join("output"), run(1), "out");
    let before = std::fs::read(&head).unwrap();
    write_to(&outputs, three(), &whole[29_000..31_000]);
    assert!(std::fs::metadata(&head).unwrap().len() < 100, "the head went with this turn");
    std::fs::write(&head, before).unwrap();
    std::fs::write(head.with_extension("tail.new"), b"PNCTOUT1 and half a beginning").unwrap();
    assert_eq!(check_newest(&outputs, &whole[..31_000], 31_000, 31_000), 0);
    let mut written = 31_000;
    for bytes in whole[31_000..].chunks(7_777) {
        let summary = write_to(&outputs, three(), bytes);
        written += bytes.len();
        assert_eq!(summary.bytes + summary.dropped, written as u64);
        let most = AT_BYTES * FILES as u64 + if written < 40_000 { AT_BYTES } else { 0 };
        check_newest(&outputs, &whole[..written], AT_BYTES * (FILES as u64 - 1), most);
    }
    assert_eq!(files_of(directory.path()).len(), FILES + 1);
}

/// Where one file ends and the next begins, anything may be torn: what was torn is counted, what follows is read.
#[test]
fn damage_at_a_seam_costs_what_was_damaged_and_is_marked() {
    let (directory, outputs) = on_disk();
    let whole = numbers(12_000);
    write_to(&outputs, three(), &whole);
    let root = directory.path().join("output");
    let parts: Vec<_> = (1..=FILES)
        .map(|slot| place::path_of(&root, run(1), &extension(slot)))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    for (path, good) in &parts {
        let last = good.len() - 1;
        for at in [0, 12, 48, 60, last] {
            for cut in [false, true] {
                parts.iter().for_each(|(path, good)| std::fs::write(path, good).unwrap());
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                bad.truncate(if cut { at } else { bad.len() });
                std::fs::write(path, bad).unwrap();
                let (mut seen, mut missed) = (Vec::new(), 0);
                let frames = all(&outputs, run(1));
                assert!(frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
                frames.into_iter().for_each(|frame| take(frame, &mut seen, &mut missed));
                assert!(seen.len() as u64 + missed <= whole.len() as u64, "{path:?} {at}");
                // One file is harmed, and the two others are read.
                assert!(seen.len() as u64 >= AT_BYTES, "{path:?} {at}: {}", seen.len());
                let added = vec![b'x'; 3 * AT_BYTES as usize];
                write_to(&outputs, three(), &added);
                let shown = text(&all(&outputs, run(1)));
                assert!(shown.ends_with(&added[..2 * AT_BYTES as usize]), "{path:?} {at}");
                for slot in 4..8 {
                    let _ = std::fs::remove_file(place::path_of(&root, run(1), &extension(slot)));
                }
            }
        }
    }
}

/// It keeps up, so it misses nothing, although most of what it has read is gone by then.
#[tokio::test]
async fn a_follower_sees_everything_through_the_turns_of_another_process() {
    let (directory, disk) = on_disk();
    let elsewhere = Outputs::in_directory(directory.path().join("output"));
    let memory = Outputs::in_memory();
    for (outputs, writing) in [(disk, elsewhere), (memory.clone(), memory)] {
        let whole = numbers(20_000);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let mut stream = outputs.follow(run(1), 0, clock, async { drop(ended.await) });
        let mut writer = writing.writer(run(1), three());
        let (mut seen, mut missed, mut sequence) = (Vec::new(), 0, None);
        for bytes in whole.chunks(7_000) {
            writer.write(AT, Stream::Stdout, bytes);
            while missed == 0 && !seen.ends_with(bytes) {
                let frame = stream.next().await.unwrap().unwrap();
                assert_eq!(frame.sequence, sequence.map_or(0, |last: u64| last + 1));
                sequence = Some(frame.sequence);
                take(frame, &mut seen, &mut missed);
            }
        }
        writer.finish(AT);
        end.send(()).unwrap();
        assert!(stream.next().await.is_none());
        assert_eq!((seen, missed), (whole, 0));
    }
}

#[test]
fn a_reader_that_lags_behind_the_turns_is_told_exactly_what_it_missed() {
    let (_directory, outputs) = on_disk();
    let whole = numbers(30_000);
    let mut writer = outputs.writer(run(1), three());
    let mut reader = outputs.read(run(1));
    let (mut seen, mut missed) = (Vec::new(), 0);
    for (n, bytes) in whole.chunks(1_000).enumerate() {
        writer.write(AT, Stream::Stdout, bytes);
        if n % 5 == 0 {
            let before = seen.len();
            take(reader.next_frame().unwrap().unwrap(), &mut seen, &mut missed);
            let end = seen.len() + usize::try_from(missed).unwrap();
            assert!(whole[..end].ends_with(&seen[before..]), "each piece stands where it says");
        }
    }
    while let Some(frame) = reader.next_frame().unwrap() {
        take(frame, &mut seen, &mut missed);
    }
    assert_eq!(seen.len() as u64 + missed, whole.len() as u64);
    assert!(missed > 0);
}

/// Where a process of the test below finds the directory that it is to write to.
const WRITES_TO: &str = "PUNCTUAL_TEST_ROTATES_IN";

/// Writes numbered lines until it is killed, beginning with the number that follows what is there.
fn write_for_ever(directory: &Path) -> ! {
    let outputs = Outputs::in_directory(directory.join("output"));
    let last = text(&all(&outputs, run(1)));
    let last = last.rsplit(|byte| *byte == b'\n').nth(1).and_then(|line| std::str::from_utf8(line).ok());
    let mut next = last.map_or(0, |line| line.parse::<u64>().unwrap() + 1);
    let mut writer = outputs.writer(run(1), Layout::rotated(1_000, FILES));
    loop {
        writer.write(AT, Stream::Stdout, format!("{next:09}\n").as_bytes());
        next += 1;
    }
}

/// Lines of a file, of which each counts as many bytes as the header of its frame has.
const LINES: usize = 1_000 / frame::HEADER;

/// Files of a few lines, so that many of the kills come in the middle of a turn.
#[test]
fn whoever_is_killed_while_files_turn_leaves_one_stream_and_the_next_one_goes_on() {
    if let Some(directory) = std::env::var_os(WRITES_TO) {
        write_for_ever(Path::new(&directory));
    }
    let (directory, outputs) = on_disk();
    let mut known = 0;
    for _ in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "output::tests::rotation::whoever_is_killed_while_files_turn_leaves_one_stream_and_the_next_one_goes_on"])
            .env(WRITES_TO, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until it has turned a few times.
        let mut reader = outputs.read(run(1));
        let clock = SystemClock::new().unwrap();
        let mut last = 0;
        while last < known + 1_000 {
            match reader.next_frame().unwrap() {
                Some(Frame { content: Content::Bytes { bytes, .. }, .. }) => {
                    last = std::str::from_utf8(&bytes).unwrap().trim().parse::<u64>().unwrap();
                }
                Some(_) => {}
                None => {
                    assert!(clock.monotonic().as_secs() < 60 && child.try_wait().unwrap().is_none());
                    std::thread::yield_now();
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let frames = all(&outputs, run(1));
        assert!(frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
        let (mut seen, mut missed) = (Vec::new(), 0);
        frames.into_iter().for_each(|frame| take(frame, &mut seen, &mut missed));
        let lines: Vec<u64> =
            std::str::from_utf8(&seen).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no hole");
        assert_eq!(lines[0] * 10, missed, "what is gone is counted");
        // Two files at least, and one too many if it died in a turn.
        assert!((2 * LINES..=4 * LINES).contains(&lines.len()), "{}", lines.len());
        known = *lines.last().unwrap();
    }
    assert!(files_of(directory.path()).len() <= FILES + 3, "{:?}", files_of(directory.path()));
}
