//! Writes measured rows into a page: from the file that a measurement left, never by hand.

use crate::Outcome;
use crate::report::{Heading, Row, grouped, number};
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- figures: written by benches/table -->";
const END: &str = "<!-- end of figures -->";

/// The figures that the front page tells, with what they are there.
const FRONT: [(u32, &str, &str); 7] = [
    (1, "runs by 64 callers", "runs from submit to durable end, one by one, by 64 callers"),
    (4, "drain", "waiting runs drained"),
    (5, "p50", "from submit to the handler's start, with the sync in between (median)"),
    (6, "p50", "from a due time to the handler's start, at 1,000 a second (median)"),
    (8, "until all", "for a million tasks due at one instant, until all have ended"),
    (9, "memory", "of memory for each of a million idle tasks"),
    (10, "to ready", "to start with a million tasks"),
];

/// Puts the rows of a file between the two marks of the page, and those of the front page between its marks.
pub(crate) fn write(rows: &Path, page: &Path, front: &Path) -> Outcome {
    let text = std::fs::read_to_string(rows)?;
    let mut lines = text.lines();
    let heading: Heading = serde_json::from_str(lines.next().ok_or("an empty file")?)?;
    let mut rows = lines.map(serde_json::from_str).collect::<Result<Vec<Row>, _>>()?;
    rows.sort_by_key(|row| row.figure);
    between_marks(page, &table(&heading, &rows))?;
    between_marks(front, &told(&heading, &rows))
}

fn between_marks(page: &Path, text: &str) -> Outcome {
    let old = std::fs::read_to_string(page)?;
    let missing = |mark: &str| format!("{} lacks {mark:?}", page.display());
    let (before, rest) = old.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok(std::fs::write(page, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))?)
}

fn told(heading: &Heading, rows: &[Row]) -> String {
    let mut text = String::new();
    for (figure, what, words) in FRONT {
        let wanted = |row: &&Row| row.figure == figure && row.target.is_some() && row.what.contains(what);
        if let Some(row) = rows.iter().find(wanted) {
            let _ = writeln!(text, "- **{} {}** {words}", number(row.spread.median), row.unit);
        }
    }
    let Heading { version, date, machine, .. } = heading;
    let _ = writeln!(text, "\n({version}, {date}, {machine}.)");
    text
}

fn table(heading: &Heading, rows: &[Row]) -> String {
    let Heading { version, date, machine, file_system, load, command } = heading;
    let mut text = format!(
        "Punctual {version}, {date}, `{command}`.\\\n{machine}; data on {file_system}; load {load} at the start.\n\n"
    );
    text.push_str("| | what | size | median (min … max) | limit | of the limit | floor | goal |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let Row { figure, what, size, unit, rounds, spread, limit, ratio, target } = row;
        let size = size.map(|size| grouped(&size.to_string())).unwrap_or_default();
        let range = match rounds {
            1 => String::new(),
            _ => format!(" ({} … {})", number(spread.min), number(spread.max)),
        };
        let limit = limit.as_ref().map(|limit| format!("{} {}", number(limit.spread.median), limit.what));
        let ratio = ratio.map(|ratio| format!("{:.0} %", ratio * 100.0));
        let floor = target.map(|target| number(target.floor));
        let goal = target.map(|target| number(target.goal));
        let [limit, ratio, floor, goal] = [limit, ratio, floor, goal].map(Option::unwrap_or_default);
        let bold = if target.is_some() { "**" } else { "" };
        let _ = writeln!(
            text,
            "| {figure} | {what} | {size} | {bold}{} {unit}{bold}{range} | {limit} | {ratio} | {floor} | {goal} |",
            number(spread.median)
        );
    }
    text
}
