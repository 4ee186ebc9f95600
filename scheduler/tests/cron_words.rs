//! What users are told about a schedule: the sentence, the warnings, the preview. Behaviour XT14.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use punctual_model::schedule::{Cron, DstGap, DstOverlap, Every, Schedule};
use punctual_scheduler::schedule::{Explanation, Timeline, Zone, explain, preview};
use std::time::Duration;

fn now() -> Timestamp {
    "2026-11-21T17:39:26Z".parse().unwrap()
}

fn berlin() -> Zone {
    Zone::find(&TimeZoneDatabase::bundled(), "Europe/Berlin").unwrap()
}

fn explained(expr: &str) -> Explanation {
    explain(&Schedule::Cron(Cron::new(expr)), &berlin(), now()).unwrap()
}

#[test]
fn a_cron_expression_reads_as_a_sentence() {
    let cases = [
        ("30 2 * * 1-5", "At 02:30, Monday through Friday"),
        ("30 2 * * *", "At 02:30, every day"),
        ("0 9,17 * * *", "At 09:00 and 17:00, every day"),
        ("15 30 4 * * *", "At 04:30:15, every day"),
        ("* * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*/7 * * * *", "Every 7 minutes, anew each hour"),
        ("5 * * * *", "At minute 5, every hour"),
        ("5,10 * * * *", "At minutes 5 and 10, every hour"),
        ("*/15 9-17 * * 1-5", "Every 15 minutes, from 09:00 through 17:59, Monday through Friday"),
        ("0 9-17 * * 1-5", "At minute 0, in hours 9 through 17, Monday through Friday"),
        ("0 */2 * * *", "At minute 0, every 2 hours"),
        ("0 */5 * * *", "At minute 0, every 5 hours, anew each day"),
        ("0 9,12,15,18,21 * * *", "At minute 0, in hours 9, 12, 15, 18 and 21, every day"),
        ("* 9 * * *", "Every minute, from 09:00 through 09:59"),
        ("* * * * * *", "Every second"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("* 5 * * * *", "Every second, at minute 5, every hour"),
        ("0,30 * * * * *", "At seconds 0 and 30, every minute"),
        ("0,30 */5 * * * *", "At seconds 0 and 30, every 5 minutes"),
        ("10 5 * * * *", "At second 10, at minute 5, every hour"),
        ("*/10 0 12 * * 1", "Every 10 seconds, at minute 0, in hour 12, Monday"),
        ("0 0 13 * 5", "At 00:00, on day 13 of the month or on Friday (either is enough)"),
        ("0 0 */2 * 1", "At 00:00, every 2 days from day 1 of the month, but only Monday"),
        ("0 0 */2 * *", "At 00:00, every 2 days from day 1 of the month"),
        ("0 0 1,15 * *", "At 00:00, on days 1 and 15 of the month"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        (
            "0 0 LW 3,6,9,12 *",
            "At 00:00, on the last workday of the month, in March, June, September and December",
        ),
        (
            "0 0 1,15W,L * *",
            "At 00:00, on day 1, the workday nearest to day 15 and the last day of the month",
        ),
        ("0 0 * * 5L", "At 00:00, on the last Friday of the month"),
        ("0 0 * * 2#2", "At 00:00, on the second Tuesday of the month"),
        ("0 0 * * 1,5#2", "At 00:00, on Monday and the second Friday of the month"),
        (
            "0 0 1 * 5L",
            "At 00:00, on day 1 of the month or on the last Friday of the month (either is enough)",
        ),
        ("0 0 * * 5-7", "At 00:00, Friday through Sunday"),
        ("0 0 * * 1,3,5", "At 00:00, Monday, Wednesday and Friday"),
        ("0 0 29 2 *", "At 00:00, on day 29 of the month, in February"),
        ("0 0 12 1 1 * 2030", "At 12:00, on day 1 of the month, in January, in 2030"),
        ("0 0 12 1 1 ? 2028-2040", "At 12:00, on day 1 of the month, in January, in 2028 through 2040"),
        ("@hourly", "At minute 0, every hour"),
        ("@weekly", "At 00:00, Sunday"),
        ("0 0 13 * 0-6", "At 00:00, every day"),
        ("0-58 * * * *", "At minutes 0 through 58, every hour"),
        (
            "30 2,4,6 1-7 * 1-5",
            "At 02:30, 04:30 and 06:30, on days 1 through 7 of the month or on Monday through Friday (either is enough)",
        ),
    ];
    let mut wrong = Vec::new();
    for (expr, sentence) in cases {
        let found = explained(expr).sentence;
        let plain = found.strip_suffix(" (Europe/Berlin)").expect("the zone is always named");
        if plain != sentence {
            wrong.push(format!("({expr:?}, {plain:?}),"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[track_caller]
fn check_warnings(expr: &str, expected: &[(&str, &str)]) {
    let warnings = explained(expr).warnings;
    let codes: Vec<&str> = warnings.iter().map(|warning| warning.code()).collect();
    let wanted: Vec<&str> = expected.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, wanted, "{expr}: {warnings:?}");
    for (warning, (_, text)) in warnings.iter().zip(expected) {
        assert!(warning.to_string().contains(text), "{expr}: {warning}");
    }
}

#[test]
fn what_may_surprise_is_said() {
    check_warnings("0 12 * * 1-5", &[]);
    check_warnings("*/15 * * * *", &[]);
    check_warnings("0 12 13 * 5", &[("either_day", "either of them is enough")]);
    check_warnings(
        "0 12 */2 * 5",
        &[("both_days", "must match both"), ("restarting_step", "anew each month")],
    );
    check_warnings("0 12 ? * 1-5", &[("weekday_numbers", "1 = Monday here")]);
    check_warnings("0 12 ? * MON-FRI", &[]);
    check_warnings("*/7 * * * *", &[("restarting_step", "not always 7 minutes")]);
    check_warnings("0 */5 * * *", &[("restarting_step", "anew each day")]);
    check_warnings("0 12 29 2 *", &[("leap_day", "29 February")]);
    check_warnings("0 12 31 * *", &[("short_months", "without a day 31")]);
    check_warnings("0 12 31 1,3 *", &[]);
}

#[test]
fn xt14_seven_fields_with_star_seconds_are_accepted_and_the_rate_is_told() {
    check_warnings("* * * * * * *", &[("every_second", "60 runs in each matching minute, 86400 on a")]);
    check_warnings("* 0 12 * * * 2027", &[("every_second", "60 runs in each matching minute, 60 on a")]);
    check_warnings("* */5 9-16 * * *", &[("every_second", "5760 on a matching day")]);
    check_warnings("0 0 12 * * * *", &[]);
}

#[test]
fn clock_changes_of_the_next_year_are_told_to_fixed_times() {
    check_warnings(
        "30 2 * * *",
        &[
            ("dst_gap", "on 2027-03-28 the clock skips 02:30:00: it runs at 03:00:00 instead"),
            ("dst_overlap", "on 2027-10-31 the clock shows 02:30:00 twice: it runs the first time"),
        ],
    );
    check_warnings("30 2 * * 1-5", &[]);
    check_warnings("*/30 2 * * *", &[]);
    check_warnings("0 3 * * *", &[]);
    let cron = Cron { expr: "0 2 * * *".into(), dst_gap: DstGap::Skip, dst_overlap: DstOverlap::Both };
    let warnings = explain(&Schedule::Cron(cron), &berlin(), now()).unwrap().warnings;
    assert!(warnings[0].to_string().ends_with("02:00:00: it does not run at that time"), "{}", warnings[0]);
    assert!(warnings[1].to_string().ends_with("twice: it runs both times"), "{}", warnings[1]);
    let utc = explain(&Schedule::Cron(Cron::new("30 2 * * *")), &Zone::utc(), now()).unwrap();
    assert_eq!(utc.warnings, []);
    assert_eq!(utc.sentence, "At 02:30, every day (UTC)");
}

#[test]
fn intervals_and_single_instants_read_as_sentences() {
    let every = Every::new(Duration::from_secs(5_400));
    let explanation = explain(&Schedule::Every(every.clone()), &berlin(), now()).unwrap();
    assert_eq!(explanation.normalised, "every 1h30m");
    assert_eq!(
        explanation.sentence,
        "Every 1h30m of real time, in whole multiples from 0001-01-01T00:00:00Z"
    );
    let anchored = Every { anchor: Some(now()), ..every };
    let explanation = explain(&Schedule::Every(anchored), &berlin(), now()).unwrap();
    assert_eq!(explanation.normalised, "every 1h30m from 2026-11-21T17:39:26Z");
    let explanation = explain(&Schedule::At(now()), &berlin(), now()).unwrap();
    assert_eq!(explanation.normalised, "at 2026-11-21T17:39:26Z");
    assert_eq!(
        explanation.sentence,
        "Once, at Sat 2026-11-21 18:39:26 +01:00 (2026-11-21T17:39:26Z) (Europe/Berlin)"
    );
}

#[test]
fn a_preview_shows_weekday_offset_and_utc_through_a_clock_change() {
    let timeline = Timeline::compile(&[Schedule::Cron(Cron::new("30 2 * * *"))], &berlin()).unwrap();
    let after = "2027-03-27T00:00:00Z".parse().unwrap();
    let lines: Vec<String> = preview(&timeline, after, 3).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "Sat 2027-03-27 02:30:00 +01:00 (2027-03-27T01:30:00Z)",
            "Sun 2027-03-28 03:00:00 +02:00 (2027-03-28T01:00:00Z)",
            "Mon 2027-03-29 02:30:00 +02:00 (2027-03-29T00:30:00Z)",
        ]
    );
    let newfoundland = Zone::find(&TimeZoneDatabase::bundled(), "America/St_Johns").unwrap();
    let once = Timeline::compile(&[Schedule::At(after)], &newfoundland).unwrap();
    let before = "2027-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        preview(&once, before, 5)[0].to_string(),
        "Fri 2027-03-26 21:30:00 -02:30 (2027-03-27T00:00:00Z)"
    );
    assert_eq!(preview(&once, before, 5).len(), 1, "it ends after one");
}
