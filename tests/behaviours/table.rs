//! `docs/behaviours.md` is true: every behaviour has its row, and every test that it names is there and carries the
//! behaviour's id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the first of the page's tables has to have: (prefix, numbers).
const REQUIRED: [(&str, &[u8]); 11] = [
    ("EX", &[1, 2, 3, 4, 6, 7, 8, 10, 13, 15, 16, 18]),
    ("SC", &[1, 2, 3, 4, 7, 8, 10, 11, 13, 15, 16, 17, 18, 21, 23, 24, 25, 26]),
    ("CO", &[1, 2, 4, 6, 7, 8, 11, 12]),
    ("TS", &[1, 2, 4, 5, 7, 8, 9, 11, 13, 14, 16, 18, 19, 21, 24, 26, 28, 29]),
    ("OP", &[2, 4]),
    ("ER", &[1, 3]),
    ("CR", &[1, 2, 5, 6, 7, 11]),
    ("DI", &[1, 2, 3, 5]),
    ("XT", &[4, 6, 8, 10, 12, 14]),
    ("RS", &[1, 2, 3, 5, 6, 8, 10]),
    ("TR", &[1, 4, 5, 7, 8, 9, 12, 13, 14, 15, 16, 18, 19, 21, 23, 24, 25, 27, 28, 29, 32, 34]),
];

/// Rows that name no test, since what they need is not there yet.
const LATER: [&str; 7] = ["CO11", "EX18", "TR05", "TR07", "TR18", "TR25", "TS05"];

/// A row of the page: the id, and the tests that it names as (file, function).
struct Row {
    id: String,
    by: String,
    tests: Vec<(String, String)>,
}

fn is_id(cell: &str) -> bool {
    cell.len() == 4
        && cell[..2].bytes().all(|byte| byte.is_ascii_uppercase())
        && cell[2..].bytes().all(|byte| byte.is_ascii_digit())
}

/// The rows whose first cell is an id. A test is written as `` `path/file.rs` :: `name` ``.
fn rows(page: &str) -> Vec<Row> {
    let cells = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.splitn(3, '|').map(str::trim);
        Some((cells.next()?, cells.next()?, cells.next()?))
    });
    cells
        .filter(|(id, ..)| is_id(id))
        .map(|(id, says, by)| {
            assert!(!says.is_empty(), "{id} says nothing");
            let quoted: Vec<&str> = by.split('`').collect();
            let tests = quoted
                .windows(3)
                .filter(|part| part[1].trim() == "::")
                .map(|part| (part[0].to_owned(), part[2].to_owned()))
                .collect();
            Row { id: id.to_owned(), by: by.to_owned(), tests }
        })
        .collect()
}

fn page() -> (&'static Path, Vec<Row>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/behaviours.md")).unwrap();
    (root, rows(&page))
}

/// The line of a function with the comments and attributes right above it, or nothing if it is not there.
fn with_its_docs(source: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let at = lines.iter().position(|line| line.contains(&head))?;
    let above = lines[..at].iter().rev();
    let docs = above.take_while(|line| line.starts_with("///") || line.starts_with("#["));
    Some(docs.chain([&lines[at]]).copied().collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_behaviour_has_its_row_once() {
    let (_, rows) = page();
    let mut seen = BTreeSet::new();
    for row in &rows {
        assert!(seen.insert(row.id.as_str()), "{} has two rows", row.id);
    }
    for (prefix, numbers) in REQUIRED {
        for number in numbers {
            let id = format!("{prefix}{number:02}");
            assert!(seen.contains(id.as_str()), "{id} has no row");
        }
    }
}

#[test]
fn every_row_names_a_test_that_carries_its_id() {
    let (root, rows) = page();
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in &rows {
        let later = row.by.starts_with("later:");
        if later != LATER.contains(&row.id.as_str()) || later != row.tests.is_empty() {
            wrong.push(format!("{}: names no test, or says \"later\" without need", row.id));
        }
        for (file, name) in &row.tests {
            let read = || std::fs::read_to_string(root.join(file)).unwrap_or_default();
            let source = sources.entry(file.clone()).or_insert_with(read);
            match with_its_docs(source, name) {
                None => wrong.push(format!("{}: there is no {name} in {file}", row.id)),
                Some(found) if !found.to_ascii_uppercase().contains(&row.id) => {
                    wrong.push(format!("{}: {name} in {file} does not carry the id", row.id));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `docs/defects.md`: a row for each, and every test that it names is there.
#[test]
fn every_defect_has_its_row_and_its_tests_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/defects.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| B")).collect();
    let ids: Vec<&str> = rows.iter().filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(ids, (1..=37).map(|number| format!("B{number}")).collect::<Vec<_>>());
    for row in rows {
        let quoted: Vec<&str> = row.split('`').collect();
        let named = quoted.windows(3).filter(|part| part[1].trim() == "::");
        let mut count = 0;
        for part in named {
            let source = std::fs::read_to_string(root.join(part[0])).unwrap_or_default();
            assert!(with_its_docs(&source, part[2]).is_some(), "there is no {} in {}", part[2], part[0]);
            count += 1;
        }
        assert!(count > 0 || row.contains("cannot be: "), "{row}");
    }
}

#[test]
fn the_page_is_read_as_it_is_written() {
    let page =
        "| id | says |\n|---|---|---|\n| XT99 | a thing | `a/b.rs` :: `one` and `c.rs` :: `two`; see `d` |\n";
    let rows = rows(page);
    assert_eq!((rows.len(), rows[0].id.as_str()), (1, "XT99"));
    let pair = |file: &str, name: &str| (file.to_owned(), name.to_owned());
    assert_eq!(rows[0].tests, [pair("a/b.rs", "one"), pair("c.rs", "two")]);
    let source = "/// XT99: so it is.\n#[test]\nfn one() {\n}\n// XT98\n\nfn two() {}\n";
    assert!(with_its_docs(source, "one").unwrap().contains("XT99"));
    assert_eq!(with_its_docs(source, "two").unwrap(), "fn two() {}");
    assert_eq!(with_its_docs(source, "three"), None);
}
