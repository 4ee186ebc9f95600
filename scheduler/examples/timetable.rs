//! What a million tasks cost in the timetable: bytes a task, and how fast they go in, move on and out.
//!
//! `cargo run --release -p punctual-scheduler --example timetable [tasks]`

use jiff::{SignedDuration, Timestamp};
use punctual_clock::{Clock, SystemClock};
use punctual_model::TaskId;
use punctual_scheduler::timetable::{Placed, Timetable, When};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that are allocated.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size, Ordering::Relaxed);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let tasks: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let clock = SystemClock::new().expect("a thread for the clock");
    let start = Timestamp::constant(1_767_571_200, 0);
    // Ids as the generator makes them; times all over a day, so that the heap has something to do.
    let ids: Vec<_> = (1..=tasks).filter_map(|n| TaskId::new((n << 22) | (n % 7))).collect();
    let when = |n: u64| {
        let millis = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 38;
        let due = start + SignedDuration::from_millis(millis.cast_signed());
        When { due, run_at: due }
    };
    let plan = Arc::new(());
    let timed = |what: &str, work: &mut dyn FnMut() -> u64| {
        let began = clock.monotonic();
        let count = work();
        let took = clock.monotonic() - began;
        println!("{what}: {:.2} M/s", count as f64 / took.as_secs_f64() / 1e6);
    };

    let before = IN_USE.load(Ordering::Relaxed);
    let mut table = Timetable::new();
    timed("insert", &mut || {
        for (n, id) in (0u64..).zip(&ids) {
            assert_eq!(table.put(*id, 1, Arc::clone(&plan), Some(when(n))), Placed::Done);
        }
        tasks
    });
    let bytes = IN_USE.load(Ordering::Relaxed) - before;
    println!("{tasks} tasks: {bytes} bytes, {:.1} a task", bytes as f64 / tasks as f64);
    timed("replace", &mut || {
        for (n, id) in (1u64..).zip(&ids) {
            assert_eq!(table.put(*id, 2, Arc::clone(&plan), Some(when(n))), Placed::Done);
        }
        tasks
    });
    timed("pop and move on by a day", &mut || {
        let day = SignedDuration::from_hours(24);
        let next = |when: When| When { due: when.due + day, run_at: when.run_at + day };
        let end = start + day;
        std::iter::from_fn(|| table.pop(end, |head| Some(next(head.when)))).map(black_box).count() as u64
    });
    timed("pop for good", &mut || {
        std::iter::from_fn(|| table.pop(Timestamp::MAX, |_| None)).map(black_box).count() as u64
    });
    timed("release", &mut || ids.iter().filter(|id| table.remove(**id)).count() as u64);
}
