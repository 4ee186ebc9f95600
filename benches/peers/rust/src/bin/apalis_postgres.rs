//! apalis over PostgreSQL.
//!
//! Settings: told of new jobs by `NOTIFY` and polling (10 ms) beside it, jobs fetched in batches as
//! large as the number of callers.

use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage, Pubsub};
use peers::{CALLERS, Job, Outcome, POLL, Peer, started};
use sqlx::postgres::PgPoolOptions;

const QUEUE: &str = "noop";

#[derive(Clone)]
struct Apalis {
    pool: PgPool,
    storage: PostgresStorage<Job>,
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
        let strategy =
            Strategy::new().stream(Pubsub::new(self.pool.clone(), QUEUE.to_owned())).interval(POLL);
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
        let left: i64 = sqlx::query_scalar("select count(*) from apalis.jobs where status <> 'Done'")
            .fetch_one(&self.pool)
            .await?;
        Ok(left.unsigned_abs())
    }
}

fn main() -> Outcome {
    peers::main(async |address| {
        let pool = PgPoolOptions::new().max_connections(20).connect(&address).await?;
        PostgresStorage::setup(&pool).await?;
        let config = Config::default().queue(QUEUE).batch_size(CALLERS as usize);
        let storage = PostgresStorage::new(&pool).with_config(config);
        Ok(Apalis { pool, storage })
    })
}
