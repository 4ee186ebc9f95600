//! What the operating system knows of the machine and of processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often memory is looked at: often enough to see a peak that lasts.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes of memory that a process has.
pub(crate) fn resident_of(process: &str) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// Bytes of memory that this process has.
pub(crate) fn resident() -> u64 {
    resident_of("self")
}

/// Processor time of this process until now.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Looks at this process's memory until it is asked.
pub(crate) struct Peak {
    highest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Peak {
    pub(crate) fn watch() -> Self {
        let (highest, over) = (Arc::new(AtomicU64::new(resident())), Arc::new(AtomicBool::new(false)));
        let (seen, end) = (Arc::clone(&highest), Arc::clone(&over));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                seen.fetch_max(resident(), Ordering::Relaxed);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { highest, over }
    }

    /// The most there was.
    pub(crate) fn bytes(&self) -> u64 {
        self.highest.fetch_max(resident(), Ordering::Relaxed).max(resident())
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Cores, processor, memory and kernel in one line.
pub(crate) fn described() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: String, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(read("/proc/meminfo"), "MemTotal");
    let gib = memory.split(' ').next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() >> 20;
    let processor = field(read("/proc/cpuinfo"), "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {processor}, {gib} GiB, Linux {}", kernel.trim())
}
