//! Readers that do not read: the daemon neither keeps for them what they leave nor waits for them.

use crate::place::Place;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const READERS: usize = 40;
/// Below the default cap of a run's output, so that all of it is there to be kept.
const OUTPUT: usize = 9_000_000;
/// What all of them together may cost, in KiB: 3 MiB each, of which a batch of frames and the buffer of a connection
/// are half; all that was written would be 350 MB.
const BOUND: usize = READERS * 3 * 1024;

#[test]
fn readers_of_a_log_that_do_not_read_hold_neither_memory_nor_the_stop() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    place.create("talks", &format!("head -c {OUTPUT} /dev/zero | tr '\\0' x"));
    let run = place.ask(&["run", "now", "talks", "--wait", "-o", "json"]).json();
    let before = daemon.memory();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream = UnixStream::connect(place.data().join("punctual.sock")).expect("connected");
        let id = run["id"].as_str().expect("an id");
        write!(stream, "GET /v1/runs/{id}/logs?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n").expect("asked");
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).expect("an answer");
        assert_eq!(&begun, b"HTTP/1.1 200");
        readers.push(stream);
    }
    // Others are answered meanwhile; so often that whatever was read for the stuck ones would have been read by now.
    for _ in 0..10 {
        place.ask(&["task", "list"]).ends(0);
    }
    let more = daemon.memory().saturating_sub(before);
    assert!(more < BOUND, "{READERS} readers that do not read cost {more} KiB");
    // They are still there, and in nobody's way.
    daemon.stop();
}
