//! What the parser takes and refuses, and what it makes of it. Behaviours CR01, CR02, CR05, CR06.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;
use punctual_model::schedule::{Cron, Schedule};
use punctual_scheduler::schedule::{
    CronError, MAX_CRON_BYTES, MAX_CRON_ITEMS, ScheduleError, Timeline, Zone, explain,
};
use std::sync::Arc;

/// A Saturday afternoon.
const NOW: &str = "2026-11-21T17:39:26Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn compile(expr: &str) -> Result<Arc<Timeline>, ScheduleError> {
    Timeline::compile(&[Schedule::Cron(Cron::new(expr))], &Zone::utc())
}

fn refused(expr: &str) -> CronError {
    match compile(expr) {
        Err(ScheduleError::Cron(error)) => error,
        Err(other) => panic!("{expr:?}: {other}"),
        Ok(_) => panic!("{expr:?} was accepted"),
    }
}

#[test]
fn cr01_five_six_and_seven_fields_names_ranges_steps_blanks_and_case() {
    // Text, normal form, first instant after Saturday 2026-11-21 17:39:26.
    let cases = [
        ("* * * * *", "* * * * *", "2026-11-21T17:40:00Z"),
        ("*/15 * * * *", "*/15 * * * *", "2026-11-21T17:45:00Z"),
        ("*/1 * * * *", "* * * * *", "2026-11-21T17:40:00Z"),
        ("0 0 * * *", "0 0 * * *", "2026-11-22T00:00:00Z"),
        ("30 2 * * *", "30 2 * * *", "2026-11-22T02:30:00Z"),
        ("5 4 * * sun", "5 4 * * 0", "2026-11-22T04:05:00Z"),
        ("0 22 * * 1-5", "0 22 * * 1-5", "2026-11-23T22:00:00Z"),
        ("23 0-20/2 * * *", "23 0-20/2 * * *", "2026-11-21T18:23:00Z"),
        ("0 0,12 1 */2 *", "0 0,12 1 */2 *", "2027-01-01T00:00:00Z"),
        ("0 4 8-14 * *", "0 4 8-14 * *", "2026-12-08T04:00:00Z"),
        ("0 0 1,15 * 3", "0 0 1,15 * 3", "2026-11-25T00:00:00Z"),
        ("15 14 1 * *", "15 14 1 * *", "2026-12-01T14:15:00Z"),
        ("0 0 1 1 *", "0 0 1 1 *", "2027-01-01T00:00:00Z"),
        ("  0\t 9   *  *  mon  ", "0 9 * * 1", "2026-11-23T09:00:00Z"),
        ("0 9 * jan-mar mon-fri", "0 9 * 1-3 1-5", "2027-01-01T09:00:00Z"),
        ("0 9 * JAN-MAR MON-FRI", "0 9 * 1-3 1-5", "2027-01-01T09:00:00Z"),
        ("0 9 * Jan,Jul Mon,Wed,Fri", "0 9 * 1,7 1,3,5", "2027-01-01T09:00:00Z"),
        ("0 9 * * 7", "0 9 * * 0", "2026-11-22T09:00:00Z"),
        ("0 9 * * 0", "0 9 * * 0", "2026-11-22T09:00:00Z"),
        ("0 9 * * 5-7", "0 9 * * 5-7", "2026-11-22T09:00:00Z"),
        ("0 9 * * SUN-TUE", "0 9 * * 0-2", "2026-11-22T09:00:00Z"),
        ("0 9 * * mon/2", "0 9 * * 1-6/2", "2026-11-23T09:00:00Z"),
        ("5/15 * * * *", "5-59/15 * * * *", "2026-11-21T17:50:00Z"),
        ("5-30/15 * * * *", "5-30/15 * * * *", "2026-11-21T18:05:00Z"),
        ("50/15 * * * *", "50 * * * *", "2026-11-21T17:50:00Z"),
        ("0 5/6 * * *", "0 5-23/6 * * *", "2026-11-21T23:00:00Z"),
        ("0 0 10/10 * *", "0 0 10-31/10 * *", "2026-11-30T00:00:00Z"),
        ("0 0 * 3/4 *", "0 0 * 3-12/4 *", "2026-11-22T00:00:00Z"),
        ("0 0 * * 5/1", "0 0 * * 5-6", "2026-11-27T00:00:00Z"),
        ("05 08 * * *", "5 8 * * *", "2026-11-22T08:05:00Z"),
        ("3-3 * * * *", "3 * * * *", "2026-11-21T18:03:00Z"),
        ("3-3/2 * * * *", "3 * * * *", "2026-11-21T18:03:00Z"),
        ("1,1,2 * * * *", "1,2 * * * *", "2026-11-21T18:01:00Z"),
        ("0 12 L * *", "0 12 L * *", "2026-11-30T12:00:00Z"),
        ("0 12 l * *", "0 12 L * *", "2026-11-30T12:00:00Z"),
        ("0 12 LW * *", "0 12 LW * *", "2026-11-30T12:00:00Z"),
        ("0 12 15w * *", "0 12 15W * *", "2026-12-15T12:00:00Z"),
        ("0 12 1,15W,L * *", "0 12 1,15W,L * *", "2026-11-30T12:00:00Z"),
        ("0 12 * * 5L", "0 12 * * 5L", "2026-11-27T12:00:00Z"),
        ("0 12 * * friL", "0 12 * * 5L", "2026-11-27T12:00:00Z"),
        ("0 12 * * 7L", "0 12 * * 0L", "2026-11-29T12:00:00Z"),
        ("0 12 * * 5#2", "0 12 * * 5#2", "2026-12-11T12:00:00Z"),
        ("0 12 * * FRI#2,mon#1", "0 12 * * 5#2,1#1", "2026-12-07T12:00:00Z"),
        ("0 12 * * 1#1,5", "0 12 * * 1#1,5", "2026-11-27T12:00:00Z"),
        ("0 9 ? * MON-FRI", "0 9 * * 1-5", "2026-11-23T09:00:00Z"),
        ("0 9 1 * ?", "0 9 1 * *", "2026-12-01T09:00:00Z"),
        ("* * * * * *", "* * * * * *", "2026-11-21T17:39:27Z"),
        ("*/10 * * * * *", "*/10 * * * * *", "2026-11-21T17:39:30Z"),
        ("30 0 12 * * *", "30 0 12 * * *", "2026-11-22T12:00:30Z"),
        ("0 */5 9-17 * * 1-5", "0 */5 9-17 * * 1-5", "2026-11-23T09:00:00Z"),
        ("0 0 12 1 1 * 2030", "0 0 12 1 1 * 2030", "2030-01-01T12:00:00Z"),
        ("0 0 0 1 1 ? 2028-2099/4", "0 0 0 1 1 * 2028-2099/4", "2028-01-01T00:00:00Z"),
        ("0 30 4 29 2 * *", "0 30 4 29 2 * *", "2028-02-29T04:30:00Z"),
        ("* * * * * * *", "* * * * * * *", "2026-11-21T17:39:27Z"),
        ("15 30 4 * * mon 2027,2029", "15 30 4 * * 1 2027,2029", "2027-01-04T04:30:15Z"),
        ("@hourly", "0 * * * *", "2026-11-21T18:00:00Z"),
        ("@Daily", "0 0 * * *", "2026-11-22T00:00:00Z"),
        ("@MIDNIGHT", "0 0 * * *", "2026-11-22T00:00:00Z"),
        ("@weekly", "0 0 * * 0", "2026-11-22T00:00:00Z"),
        ("@monthly", "0 0 1 * *", "2026-12-01T00:00:00Z"),
        ("@yearly", "0 0 1 1 *", "2027-01-01T00:00:00Z"),
        ("@annually", "0 0 1 1 *", "2027-01-01T00:00:00Z"),
        ("*,5 * * * *", "*,5 * * * *", "2026-11-21T17:40:00Z"),
        ("0 0 */31 * *", "0 0 */31 * *", "2026-12-01T00:00:00Z"),
        ("0 0 1 */12 *", "0 0 1 */12 *", "2027-01-01T00:00:00Z"),
        ("0 0 * * */7", "0 0 * * */7", "2026-11-22T00:00:00Z"),
        ("0 0 13 * 5", "0 0 13 * 5", "2026-11-27T00:00:00Z"),
        ("0 0 */2 * 1", "0 0 */2 * 1", "2026-11-23T00:00:00Z"),
    ];
    let mut wrong = Vec::new();
    for (expr, normalised, next) in cases {
        let explanation = explain(&Schedule::Cron(Cron::new(expr)), &Zone::utc(), now()).unwrap();
        let found = compile(expr).unwrap().next(now()).unwrap().to_string();
        if explanation.normalised != normalised || found != next {
            wrong.push(format!("({expr:?}, {:?}, {found:?}),", explanation.normalised));
        }
        // The normal form is one: it stands for itself and is due at the same times.
        let again =
            explain(&Schedule::Cron(Cron::new(&explanation.normalised)), &Zone::utc(), now()).unwrap();
        assert_eq!(again.normalised, explanation.normalised, "{expr:?}");
        assert_eq!(again.sentence, explanation.sentence, "{expr:?}");
        assert_eq!(compile(&explanation.normalised).unwrap().next(now()).unwrap().to_string(), found);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn cr02_errors_name_the_byte_and_what_to_write_instead() {
    // Text, byte, a piece of the reason, a piece of the hint.
    let cases = [
        ("", 0, "empty", "30 2 * * 1-5"),
        (" \t ", 0, "empty", ""),
        ("* * * *", 7, "5, 6 or 7 fields, found 4", "seconds first"),
        ("1 2 3 4 5 6 7 8", 14, "found 8", ""),
        ("60 0 0 * * *", 0, "second 60 is out of range 0-59", "write 0"),
        ("60 * * * *", 0, "minute 60 is out of range 0-59", "write 0"),
        ("* 24 * * *", 2, "hour 24 is out of range 0-23", "midnight is hour 0"),
        ("* * 0 * *", 4, "day of month 0 is out of range 1-31", ""),
        ("* * 32 * *", 4, "out of range", ""),
        ("* * * 0 *", 6, "month 0 is out of range 1-12", ""),
        ("* * * 13 *", 6, "month 13", ""),
        ("* * * * 8", 8, "day of week 8 is out of range 0-7", ""),
        ("99999999999 * * * *", 0, "out of range", ""),
        ("*/0 * * * *", 2, "never moves on", "smallest step is 1"),
        ("*/60 * * * *", 2, "step 60 is larger than the minute field", "`every`"),
        ("* */24 * * *", 4, "step 24 is larger", ""),
        ("0 0 * * */8", 10, "step 8 is larger", ""),
        ("*/ * * * *", 2, "expected a step", ""),
        ("*/x * * * *", 2, "expected a step", ""),
        ("5-3 * * * *", 0, "runs backwards", "5-59,0-3"),
        ("0 22-2 * * *", 2, "runs backwards", "22-23,0-2"),
        ("0 0 * * FRI-MON", 8, "runs backwards", "5-6,0-1"),
        ("0 0 * * FRI-SUN", 8, "runs backwards", "5-6,0"),
        ("0 0 * * MON-3", 8, "mixes a name and a number", "both ends as names"),
        ("1,,2 * * * *", 2, "between the commas", "remove the empty"),
        (",1 * * * *", 0, "between the commas", ""),
        ("1, * * * *", 2, "between the commas", ""),
        ("1, 2 * * * *", 2, "between the commas", ""),
        ("-1 * * * *", 0, "expected a minute", ""),
        ("1- * * * *", 2, "expected a minute", ""),
        ("+1 * * * *", 0, "expected a minute", ""),
        ("** * * * *", 0, "expected a minute", "stands alone"),
        ("? * * * *", 0, "expected a minute", "day of the month or of the week"),
        ("0 0 ?/2 * *", 4, "expected a day of month", "stands alone"),
        ("a * * * *", 0, "expected a minute", "a number from 0 to 59"),
        ("* * * foo *", 6, "expected a month", "JAN-DEC"),
        ("* * * JANUARY *", 6, "expected a month", "three letters: JAN"),
        ("* * * * funday", 8, "expected a day of week", "SUN-SAT"),
        ("% * * * *", 0, "expected a minute", "crontab's newline"),
        ("H * * * *", 0, "expected a minute", "`jitter` or `splay`"),
        ("0~59 * * * *", 0, "expected a minute", "`jitter` or `splay`"),
        ("1;2 * * * *", 0, "expected a minute", ""),
        ("٣ * * * *", 0, "unexpected character", "ASCII"),
        ("1 2 3 4\n5", 7, "unexpected character", "ASCII"),
        ("0 0 * * 5\u{a0}", 9, "unexpected character", ""),
        ("0 0 L-3 * *", 4, "expected L or LW", "counted back"),
        ("* * L-1x * *", 4, "expected L or LW", ""),
        ("0 0 * * L", 8, "which day", "6L"),
        ("0 0 0W * *", 4, "out of range", ""),
        ("0 0 32W * *", 4, "out of range", ""),
        ("0 0 1-5W * *", 4, "expected a day of month", ""),
        ("0 0 * * 1#6", 10, "1 to 5 after #", "second Friday"),
        ("0 0 * * 1#0", 10, "1 to 5 after #", ""),
        ("0 0 * * 6#", 10, "1 to 5 after #", ""),
        ("0 0 * * 7/2", 8, "no days after it", "write 0/2"),
        ("0 0 12 1 * * 1969", 13, "year 1969 is out of range 1970-2099", ""),
        ("0 0 12 1 * * 2100", 13, "year 2100", ""),
        ("@reboot", 0, "names no time", "durable"),
        ("@every 5m", 0, "not cron", "`every`"),
        ("@every -5m", 0, "not cron", "`every`"),
        ("@fortnightly", 0, "unknown word", "@weekly"),
        ("@daily 5", 7, "nothing may follow", ""),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", 0, "zone is not part", "`timezone`"),
        ("  tz=UTC 0 2 * * *", 2, "zone is not part", "`timezone`"),
        ("0 0 30 2 *", 4, "no date", ""),
        ("0 0 31 4,6,9,11 *", 4, "no date", ""),
        ("0 0 0 29 2 * 2027", 6, "no date", ""),
    ];
    for (expr, at, reason, hint) in cases {
        let error = refused(expr);
        assert_eq!(error.at, at, "{expr:?}: {error}");
        assert!(error.reason.contains(reason), "{expr:?}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{expr:?}: {error}");
        assert!(error.to_string().contains(&format!("at byte {at}: ")), "{error}");
    }
}

#[test]
fn days_that_never_meet_are_refused_but_the_either_rule_saves_them() {
    // The fifth Monday is never before the 29th; a star makes both fields count.
    refused("0 0 */30 2 1#5");
    refused("0 0 0 30W 2 *");
    let either = compile("0 0 30 2 1").unwrap();
    assert_eq!(either.next(now()).unwrap().to_string(), "2027-02-01T00:00:00Z", "Mondays in February");
}

#[test]
fn sc11_an_invalid_cron_is_an_error_with_the_users_own_text() {
    let error = refused("0  0 30 FEB *");
    assert_eq!(error.expr, "0  0 30 FEB *");
    assert!(refused("not a cron at all, really").to_string().starts_with("invalid cron expression \"not"));
}

#[test]
fn cr05_a_year_that_is_over_gives_never_and_is_refused_only_at_creation() {
    let timeline = compile("0 0 0 1 1 * 1980").unwrap();
    assert_eq!(timeline.next(now()), None);
    let error = timeline.require_future(now()).unwrap_err();
    assert!(matches!(error, ScheduleError::Exhausted { .. }), "{error}");
    assert!(error.to_string().contains("never be due again"), "{error}");
    let before = "1979-06-01T00:00:00Z".parse().unwrap();
    assert_eq!(timeline.next(before).unwrap().to_string(), "1980-01-01T00:00:00Z");
    timeline.require_future(before).unwrap();
}

#[test]
fn the_calendar_ends_with_2099_and_never_panics_at_the_ends_of_time() {
    for expr in ["* * * * * *", "0 0 29 2 *", "0 0 31W * 5L", "30 2 * * *"] {
        for name in ["UTC", "Europe/Berlin", "Pacific/Apia", "America/Adak"] {
            let zone = Zone::find(&TimeZoneDatabase::bundled(), name).unwrap();
            let timeline = Timeline::compile(&[Schedule::Cron(Cron::new(expr))], &zone).unwrap();
            assert_eq!(timeline.next(Timestamp::MAX), None);
            assert!(timeline.next(Timestamp::MIN).unwrap().as_second() < 3 * 366 * 86_400, "{expr} {name}");
            let end = "2099-12-30T00:00:00Z".parse().unwrap();
            let last =
                std::iter::successors(timeline.next(end), |due| timeline.next(*due)).take(400_000).last();
            let limit = "2100-01-01T12:00:00Z".parse().unwrap();
            assert!(last.is_none_or(|last| last < limit), "{expr} {name}: {last:?}");
        }
    }
}

#[test]
fn limits_of_length_and_of_list_items_hold() {
    let longest = format!("{}0 0 * * *", " ".repeat(MAX_CRON_BYTES - 9));
    compile(&longest).unwrap();
    assert_eq!(refused(&format!("{longest} ")).at, MAX_CRON_BYTES);
    let list = |items: usize| format!("{} * * * *", vec!["7"; items].join(","));
    compile(&list(MAX_CRON_ITEMS)).unwrap();
    assert!(refused(&list(MAX_CRON_ITEMS + 1)).reason.contains("list items"));
    assert!(refused(&"1".repeat(1 << 20)).expr.len() < 100, "errors do not repeat a megabyte");
}

/// Anything that looks a little like cron, and anything at all.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[-0-9*,/?#LWlwHA-Ua-u@%~ \\t]{0,40}",
        "([0-9*]{1,2}|\\*/[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}(/[0-9])?|[0-9]{1,2}(W|L|#[0-9])|L|LW|\\?|[a-z]{3})( ([0-9*]{1,2}|\\*/[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}(W|L|#[0-9])|L|LW|\\?|mon|JUN)){4,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// CR06: no text makes the parser panic, and what it accepts only moves forward.
    #[test]
    fn cr06_no_text_panics_and_next_only_rises(text in any_text(), second in 0_i64..4_200_000_000, nano in 0..1_000_000_000) {
        if let Ok(timeline) = compile(&text) {
            let mut after = Timestamp::new(second, nano).unwrap();
            for _ in 0..5 {
                let Some(next) = timeline.next(after) else { break };
                prop_assert!(next > after);
                prop_assert_eq!(next.subsec_nanosecond(), 0);
                prop_assert!(timeline.includes(next));
                // Nothing is due in between: asked from anywhere in between, the answer is the same.
                let between = Timestamp::from_second(after.as_second() + (next.as_second() - after.as_second()) / 2).unwrap();
                if between < next {
                    prop_assert_eq!(timeline.next(between.max(after)), Some(next));
                }
                after = next;
            }
            prop_assert!(explain(&Schedule::Cron(Cron::new(text)), &Zone::utc(), after).is_ok());
        }
    }
}
