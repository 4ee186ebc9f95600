//! Makes one run's record unreadable, as damage below a checksum would: `spoil DATA`. Prints the run.

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use std::process::ExitCode;

/// A byte string that no version of a record begins with.
const NONSENSE: &[u8] = &[0xff; 7];

fn spoil(data: &str) -> Result<String, Box<dyn std::error::Error>> {
    let database = Database::builder(std::path::Path::new(data).join("db")).open()?;
    let runs = database.keyspace("runs", KeyspaceCreateOptions::default)?;
    let first = runs.first_key_value().ok_or("there is no run to spoil")?;
    let key = first.key()?;
    runs.insert(&key[..], NONSENSE)?;
    database.persist(PersistMode::SyncAll)?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn main() -> ExitCode {
    let Some(data) = std::env::args().nth(1) else {
        eprintln!("expected: spoil DATA");
        return ExitCode::FAILURE;
    };
    match spoil(&data) {
        Ok(run) => {
            println!("{run}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
