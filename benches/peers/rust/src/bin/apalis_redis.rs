//! apalis over Redis.
//!
//! Settings: the factory, whose workers are told of new jobs by publish and subscribe, and polling (10 ms) beside it; jobs
//! fetched in batches as large as the number of callers. How durable it is the server decides.

use apalis::prelude::*;
use apalis_redis::{Client, Config, ConnectionManager, RedisStorage};
use peers::{CALLERS, Job, Outcome, POLL, Peer, started};

#[derive(Clone)]
struct Apalis {
    address: String,
    storage: RedisStorage<Job, ConnectionManager>,
}

async fn noop(job: Job) {
    started(&job);
}

fn config() -> Config {
    Config::default().queue("noop").batch_size(CALLERS as usize)
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
        let client = Client::open(self.address.as_str())?;
        let storage =
            apalis_redis::factory::RedisStorageFactory::new(client).await?.create_with_config(config())?;
        let worker = WorkerBuilder::new("noop").backend(storage.poll_with_interval(POLL)).build(noop);
        tokio::spawn(async move {
            if let Err(error) = worker.run().await {
                eprintln!("the worker has ended: {error}");
            }
        });
        Ok(())
    }

    async fn left(&self) -> Outcome<u64> {
        let mut connection = self.storage.clone().get_connection().clone();
        let (known, done): (u64, u64) = redis::pipe()
            .hlen(config().job_data_hash())
            .scard(config().done_jobs_set())
            .query_async(&mut connection)
            .await?;
        Ok(known.saturating_sub(done))
    }
}

fn main() -> Outcome {
    peers::main(async |address| {
        let storage = RedisStorage::new(apalis_redis::connect(address.as_str()).await?).with_config(config());
        Ok(Apalis { address, storage })
    })
}
