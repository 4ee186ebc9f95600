//! graphile_worker over PostgreSQL.
//!
//! Settings: as its guides say for many small jobs, and as its own benchmarks have them: a local queue (500 jobs), ends
//! written in batches (5 ms), starts told by `NOTIFY`, and as many at work as there are callers.

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext, WorkerOptions,
    WorkerUtils,
};
use peers::{CALLERS, Job, Outcome, Peer, started};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Noop(Job);

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        started(&self.0);
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
struct Graphile {
    pool: PgPool,
    utils: Arc<WorkerUtils>,
}

fn options(pool: &PgPool) -> WorkerOptions {
    WorkerOptions::default()
        .pg_pool(pool.clone())
        .concurrency(CALLERS as usize)
        .local_queue(LocalQueueConfig::default().with_size(500))
        .complete_job_batch_delay(Duration::from_millis(5))
        .define_job::<Noop>()
}

impl Peer for Graphile {
    async fn submit(&self, job: Job) -> Outcome {
        self.utils.add_job(Noop(job), JobSpec::default()).await?;
        Ok(())
    }

    async fn fill(&self, jobs: Vec<Job>) -> Outcome {
        for some in jobs.chunks(1_000) {
            let some = some.iter().map(|job| {
                let payload = serde_json::to_value(job)?;
                Ok(RawJobSpec { identifier: Noop::IDENTIFIER.to_owned(), payload, spec: JobSpec::default() })
            });
            self.utils.add_raw_jobs(&some.collect::<Outcome<Vec<_>>>()?).await?;
        }
        Ok(())
    }

    async fn work(&self) -> Outcome {
        let worker = options(&self.pool).init().await?;
        tokio::spawn(async move {
            if let Err(error) = worker.run().await {
                eprintln!("the worker has ended: {error}");
            }
        });
        Ok(())
    }

    /// What is done is deleted.
    async fn left(&self) -> Outcome<u64> {
        let left: i64 = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs")
            .fetch_one(&self.pool)
            .await?;
        Ok(left.unsigned_abs())
    }
}

fn main() -> Outcome {
    peers::main(async |address| {
        let pool = PgPoolOptions::new().max_connections(20).connect(&address).await?;
        let utils = Arc::new(options(&pool).init().await?.create_utils());
        Ok(Graphile { pool, utils })
    })
}
