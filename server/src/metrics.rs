//! The numbers of all rooms as OpenMetrics text, which Prometheus reads.
//!
//! Nothing is counted here: the rooms count, and a scrape reads them. Labels are bounded (type, state, trigger,
//! kind, class) and are called what logs and JSON call them; no task and no run has a label of its own.

use crate::api::Api;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use punctual_executor::Figures;
use punctual_scheduler::Statistics;
use punctual_store::{Histogram, StoreStats, Tallies};
use std::fmt::Error;
use std::time::Duration;

/// The content type of [`render`]'s text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What stands before every name.
const PREFIX: &str = "punctual";

/// Reads the rooms and writes the text.
pub(crate) fn render(api: &Api) -> Result<String, Error> {
    let parts = api.parts();
    let numbers = Numbers {
        now: parts.clock.now(),
        started: api.started(),
        scheduler: parts.scheduler.statistics(),
        store: parts.store.stats(),
        tallies: parts.store.tallies(),
        quarantined: parts.store.quarantined().len(),
        executor: parts.executor.upgrade().map(|pool| pool.figures()),
    };
    let mut registry = Registry::with_prefix(PREFIX);
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What is running", build);
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// All numbers at one moment.
#[derive(Debug)]
struct Numbers {
    now: Timestamp,
    started: Timestamp,
    scheduler: Statistics,
    store: StoreStats,
    tallies: Tallies,
    quarantined: usize,
    /// None where the program runs an executor of its own.
    executor: Option<Figures>,
}

/// Labels of one value.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut sheet = Sheet { encoder };
        let started = seconds(self.started);
        sheet.gauge("start_time_seconds", "When this process began to answer", &[(&[], started)])?;
        self.schedule(&mut sheet)?;
        self.runs(&mut sheet)?;
        self.work(&mut sheet)?;
        self.storage(&mut sheet)
    }
}

impl Numbers {
    fn schedule(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let Statistics { tasks, waiting, next_run_at, overdue_since, dues_handed_out, looks, .. } =
            self.scheduler;
        sheet.gauge(
            "tasks",
            "Tasks that the scheduler knows: those with a next due, and those without",
            &[
                (&[("state", "scheduled")], waiting as f64),
                (&[("state", "unscheduled")], tasks.saturating_sub(waiting) as f64),
            ],
        )?;
        sheet.counter("scheduler_ticks", "Looks for dues", &[(&[], looks)])?;
        sheet.counter("scheduler_fires", "Dues handed out to be recorded", &[(&[], dues_handed_out)])?;
        if let Some(next) = next_run_at {
            let help = "When the next due is to start";
            sheet.gauge("scheduler_next_fire_timestamp_seconds", help, &[(&[], seconds(next))])?;
        }
        let age = overdue_since.map_or(0.0, |since| seconds(self.now) - seconds(since));
        let help = "How long the oldest due that has no record yet is owed";
        sheet.gauge("scheduler_unrecorded_due_age_seconds", help, &[(&[], age.max(0.0))])
    }

    fn runs(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let StoreStats { waiting, at_work, .. } = self.store;
        let help = "Runs that wait for a time, a place or a limit";
        sheet.gauge("queue_depth", help, &[(&[], waiting as f64)])?;
        sheet.gauge("runs_at_work", "Runs at work", &[(&[], at_work as f64)])?;
        let mut ended = Vec::new();
        let mut attempts = Vec::new();
        let mut delays: Vec<([(&str, &str); 1], &Histogram)> = Vec::new();
        let mut durations: Vec<([(&str, &str); 2], &Histogram)> = Vec::new();
        for (kind, tally) in self.tallies.types() {
            let kind = ("type", kind);
            for (state, trigger, count) in tally.ended() {
                ended.push(([kind, ("state", state.as_str()), ("trigger", trigger)], count));
            }
            attempts.push(([kind], tally.attempts));
            delays.push(([kind], &tally.start_delay));
            for (state, all) in tally.duration() {
                durations.push(([kind, ("state", state.as_str())], all));
            }
        }
        sheet.counter("runs", "Runs that ended, once each", &of(&ended))?;
        sheet.counter("run_attempts", "Attempts that were begun", &of(&attempts))?;
        let missed = self.tallies.missed_dues;
        sheet.counter("missed_dues", "Dues that records of missed ones stand for", &[(&[], missed)])?;
        let help = "From when a run was to start until its first attempt was started";
        sheet.histogram("run_start_delay_seconds", help, &of(&delays))?;
        let help = "How long the last attempt of a run was at work";
        sheet.histogram("run_duration_seconds", help, &of(&durations))
    }

    fn work(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let Some(Figures { counters, workers }) = &self.executor else { return Ok(()) };
        let help = "Attempts that were followed by another one by policy";
        sheet.counter("run_restarts", help, &[(&[], counters.restarted)])?;
        let help = "Attempts that the stop of the node cut short and that are made again";
        sheet.counter("run_interruptions", help, &[(&[], counters.interrupted)])?;
        let help = "Attempts of which the kernel killed something at their limit of memory";
        sheet.counter("run_out_of_memory", help, &[(&[], counters.out_of_memory)])?;
        let errors: Vec<_> =
            counters.errors.iter().map(|(kind, count)| ([("kind", *kind)], *count)).collect();
        sheet.counter("run_errors", "Attempts that ended badly, by where it went wrong", &of(&errors))?;
        let mut places = Vec::new();
        let mut limits = Vec::new();
        for class in workers {
            let name = ("class", class.name);
            places.push(([name, ("state", "busy")], class.busy as f64));
            places.push(([name, ("state", "idle")], class.limit.saturating_sub(class.busy) as f64));
            limits.push(([name], class.limit as f64));
        }
        sheet.gauge("executor_workers", "Places for attempts", &of(&places))?;
        sheet.gauge("executor_workers_limit", "Attempts that may be at work at once", &of(&limits))
    }

    fn storage(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let StoreStats { commits, requests, .. } = self.store;
        sheet.counter("store_commits", "Commits", &[(&[], commits)])?;
        sheet.counter("store_requests", "Requests answered by those commits", &[(&[], requests)])?;
        let help = "Records that could not be read and were set aside";
        sheet.gauge("store_quarantined_records", help, &[(&[], self.quarantined as f64)])?;
        if self.tallies.commit.count() == 0 {
            return Ok(());
        }
        let help = "From handing a commit to the disk until it was durable";
        sheet.histogram("store_fsync_seconds", help, &[(&[], &self.tallies.commit)])
    }
}

/// The same values with their labels as slices.
fn of<'a, T: Copy, const N: usize>(values: &'a [([(&'a str, &'a str); N], T)]) -> Vec<(Labels<'a>, T)> {
    values.iter().map(|(labels, value)| (&labels[..], *value)).collect()
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1_000.0
}

/// Writes one metric after the other.
struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Sheet<'_> {
    fn counter(&mut self, name: &str, help: &str, values: &[(Labels<'_>, u64)]) -> Result<(), Error> {
        self.metric(name, help, MetricType::Counter, values, |encoder, count| {
            encoder.encode_counter::<[(&str, &str); 0], _, u64>(count, None)
        })
    }

    fn gauge(&mut self, name: &str, help: &str, values: &[(Labels<'_>, f64)]) -> Result<(), Error> {
        self.metric(name, help, MetricType::Gauge, values, |encoder, value| encoder.encode_gauge(value))
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        values: &[(Labels<'_>, &Histogram)],
    ) -> Result<(), Error> {
        self.metric(name, help, MetricType::Histogram, values, |encoder, all| {
            let bound = |bound: Option<Duration>| bound.map_or(f64::MAX, |bound| bound.as_secs_f64());
            let buckets: Vec<_> = all.buckets().map(|(most, count)| (bound(most), count)).collect();
            let sum = all.sum().as_secs_f64();
            encoder.encode_histogram::<[(&str, &str); 0]>(sum, all.count(), &buckets, None)
        })
    }

    fn metric<T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: &[(Labels<'_>, T)],
        encode: impl Fn(&mut MetricEncoder<'_>, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            if labels.is_empty() {
                encode(&mut metric, value)?;
            } else {
                encode(&mut metric.encode_family(labels)?, value)?;
            }
        }
        Ok(())
    }
}
