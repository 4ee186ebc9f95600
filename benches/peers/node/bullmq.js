// The work that ../rust/src/lib.rs describes, with BullMQ over Redis.
//
// Settings: as its guide for production says, no eviction and endless reconnecting of workers, finished jobs removed
// beyond the last thousand, and as many at work as there are callers. How durable it is the server decides.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const CALLERS = 64;
const GENTLE = 100; // Submits a second where the time to the start is measured.
const PATIENCE = 30_000; // A peer that does nothing for so long has lost its jobs.
const [port, drained, singles, seconds] = process.argv.slice(2).map(Number);
if (!(seconds > 0)) throw new Error('wanted: PORT DRAINED SINGLES SECONDS');

const connection = () => new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
const queue = new Queue('noop', { connection: connection(), defaultJobOptions: { removeOnComplete: 1_000 } });
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

let latencies = [];
let first = 0;
let done = 0;

function forget() {
  latencies = [];
  done = 0;
}

function work() {
  const handler = async (job) => {
    const now = performance.now();
    first ||= now;
    latencies.push(now - job.data.at);
  };
  const worker = new Worker('noop', handler, { connection: connection(), concurrency: CALLERS });
  // Told when Redis has answered that the job is recorded as completed.
  worker.on('completed', () => { done += 1; });
  worker.on('error', (error) => console.error(error.message));
}

async function ended(jobs) {
  let [seen, since] = [0, performance.now()];
  while (done < jobs) {
    await pause(1);
    if (done !== seen) [seen, since] = [done, performance.now()];
    if (performance.now() - since > PATIENCE) throw new Error(`of ${jobs} jobs ${done} are done`);
  }
}

async function drain(jobs) {
  for (let left = jobs; left > 0; left -= 1_000) {
    const some = Array.from({ length: Math.min(left, 1_000) }, () => ({ name: 'noop', data: { at: performance.now() } }));
    await queue.addBulk(some);
  }
  work();
  await ended(jobs);
  return jobs / ((performance.now() - first) / 1e3);
}

async function single(jobs) {
  forget();
  const begun = performance.now();
  const each = Math.ceil(jobs / CALLERS);
  const caller = async () => {
    for (let n = 0; n < each; n += 1) await queue.add('noop', { at: performance.now() });
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  await ended(each * CALLERS);
  return (each * CALLERS) / ((performance.now() - begun) / 1e3);
}

async function gentle(time) {
  forget();
  for (let n = 0; n < time * GENTLE; n += 1) {
    const begun = performance.now();
    await queue.add('noop', { at: begun });
    await pause(Math.max(0, 1e3 / GENTLE - (performance.now() - begun)));
  }
  await ended(time * GENTLE);
  return latencies.sort((one, other) => one - other);
}

console.log(`drain ${await drain(drained)}`);
await single(singles / 10);
console.log(`single ${await single(singles)}`);
const sorted = await gentle(seconds);
for (const [name, share] of [['p50', 0.5], ['p99', 0.99]]) {
  console.log(`${name} ${sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)]}`);
}
process.exit(0);
