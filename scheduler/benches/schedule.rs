//! How long parsing and `next` take, and how much a parsed schedule holds: `cargo bench -p
//! punctual-scheduler`. Walks 10,000 dues of each expression and prints the mean.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use punctual_model::schedule::{Cron, Schedule};
use punctual_scheduler::schedule::{ScheduleCache, Timeline, Zone};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Instant;

/// Counts what is allocated, to tell what one schedule costs.
struct Counting;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

#[expect(unsafe_code, reason = "an allocator can only be wrapped by an unsafe impl; this one only counts")]
// SAFETY: every call is passed on unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as isize, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as isize, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const EXPRESSIONS: [&str; 12] = [
    "* * * * *",
    "*/15 * * * *",
    "30 2 * * *",
    "0 9 * * 1-5",
    "*/10 * * * * *",
    "0 0 1 * *",
    "0 0 13 * 5",
    "0 12 L * *",
    "0 12 15W * *",
    "0 12 * * 5#2",
    "0 0 29 2 *",
    "0 0 1 1 *",
];

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    let start: Timestamp = "2026-11-21T17:39:26Z".parse().expect("an instant");
    println!("{:<18} {:>10} {:>10} {:>12} {:>8}", "expression", "UTC ns", "Berlin ns", "compile µs", "bytes");
    let zones =
        [Zone::utc(), Zone::find(&TimeZoneDatabase::bundled(), "Europe/Berlin").expect("a known zone")];
    for expr in EXPRESSIONS {
        let schedules = [Schedule::Cron(Cron::new(expr))];
        let compile = || Timeline::compile(black_box(&schedules), &zones[1]).expect("a valid schedule");
        // The first one also fills what all share.
        drop(compile());
        let before = ALLOCATED.load(Relaxed);
        let held = compile();
        let bytes = ALLOCATED.load(Relaxed) - before;
        drop(held);
        let began = now();
        for _ in 0..2_000 {
            black_box(compile());
        }
        let micros = began.elapsed().as_secs_f64() * 1e6 / 2_000.0;
        let nanos = zones.each_ref().map(|zone| {
            let timeline = Timeline::compile(&schedules, zone).expect("a valid schedule");
            let (mut after, mut walked) = (start, 0_u32);
            let began = now();
            while walked < 10_000 {
                // Rare expressions run out of years: start again.
                after = timeline.next(after).unwrap_or(start);
                walked += 1;
            }
            black_box(after);
            began.elapsed().as_nanos() as f64 / f64::from(walked)
        });
        println!("{expr:<18} {:>10.0} {:>10.0} {micros:>12.1} {bytes:>8}", nanos[0], nanos[1]);
    }
    let cache = ScheduleCache::new();
    let schedules = [Schedule::Cron(Cron::new("30 2 * * 1-5"))];
    let _held = cache.compile(&schedules, &zones[1]);
    let began = now();
    for _ in 0..10_000 {
        let _ = black_box(cache.compile(black_box(&schedules), &zones[1]));
    }
    println!("known to the cache: {:.1} µs", began.elapsed().as_secs_f64() * 1e6 / 10_000.0);
    let before = ALLOCATED.load(Relaxed);
    let zone = Zone::find(&TimeZoneDatabase::bundled(), "America/Santiago");
    println!("a zone: {} bytes", ALLOCATED.load(Relaxed) - before);
    drop(zone);
}
