//! apalis over SQLite.
//!
//! Settings: write-ahead log with `synchronous = FULL`, for what its own setup leaves on the connection it is given
//! (`OFF`) loses what was acknowledged with the power; so it is given a connection of its own. All share one connection
//! after that: with a pool its transactions refuse each other ("database is locked"). Told of new jobs by the update hook
//! and polling (10 ms) beside it, jobs fetched in batches as large as the number of callers.

use apalis::prelude::*;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::StreamExt;
use peers::{CALLERS, Job, Outcome, POLL, Peer, started};
use sqlx::sqlite::SqlitePoolOptions;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone)]
struct Apalis {
    pool: SqlitePool,
    storage: SqliteStorage<Job>,
    /// An item for each changed row, until the worker has it.
    changes: Arc<Mutex<Option<UnboundedReceiver<()>>>>,
}

async fn noop(job: Job) {
    started(&job);
}

impl Peer for Apalis {
    async fn submit(&self, job: Job) -> Outcome {
        Ok(self.storage.clone().push(job).await?)
    }

    async fn fill(&self, jobs: Vec<Job>) -> Outcome {
        for some in jobs.chunks(1_000) {
            self.storage.clone().push_bulk(some.to_vec()).await?;
        }
        Ok(())
    }

    async fn work(&self) -> Outcome {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let strategy = Strategy::new()
            .stream(changes.ok_or("one worker is enough")?.ready_chunks(CALLERS as usize))
            .interval(POLL);
        let worker =
            WorkerBuilder::new("noop").backend(self.storage.clone().poll_with_strategy(strategy)).build(noop);
        tokio::spawn(async move {
            if let Err(error) = worker.run().await {
                eprintln!("the worker has ended: {error}");
            }
        });
        Ok(())
    }

    async fn left(&self) -> Outcome<u64> {
        let left: i64 = sqlx::query_scalar("select count(*) from Jobs where status <> 'Done'")
            .fetch_one(&self.pool)
            .await?;
        Ok(left.unsigned_abs())
    }
}

fn main() -> Outcome {
    peers::main(async |address| {
        let first = SqlitePool::connect(&format!("{address}?mode=rwc")).await?;
        SqliteStorage::setup(&first).await?;
        first.close().await;
        let (told, changes) = unbounded();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(60))
            .after_connect(move |connection, _| {
                let told = told.clone();
                Box::pin(async move {
                    connection.lock_handle().await?.set_update_hook(move |_| {
                        // Nobody listens before the worker and after it.
                        let _ = told.unbounded_send(());
                    });
                    Ok(())
                })
            })
            .connect(&address)
            .await?;
        let modes: (String, i64) =
            sqlx::query_as("select journal_mode, synchronous from pragma_journal_mode, pragma_synchronous")
                .fetch_one(&pool)
                .await?;
        if modes != ("wal".to_owned(), 2) {
            return Err(format!("not as durable as it shall be: {modes:?}").into());
        }
        let config = Config::default().queue("noop").batch_size(CALLERS as usize);
        let storage = SqliteStorage::new(&pool).with_config(config);
        Ok(Apalis { pool, storage, changes: Arc::new(Mutex::new(Some(changes))) })
    })
}
