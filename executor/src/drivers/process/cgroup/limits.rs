//! What a task may use, as what is written into the files of a group in either version, and as words.

use punctual_model::process::Resources;

/// The time over which a share of the processors is counted, in microseconds: what the kernel takes by default.
const PERIOD: u64 = 100_000;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// The controller that keeps it, in both versions.
    pub(super) controller: &'static str,
    /// How much it is, for people.
    pub(super) amount: String,
    /// Version 1.
    pub(super) single: Vec<Setting>,
    /// Version 2.
    pub(super) unified: Vec<Setting>,
}

/// A file and what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Kernels that do not count this have no such file.
    pub(super) may_lack: bool,
}

impl Setting {
    fn new(file: &'static str, value: impl ToString) -> Self {
        Self { file, value: value.to_string(), may_lack: false }
    }

    fn if_there(file: &'static str, value: impl ToString) -> Self {
        Self { may_lack: true, ..Self::new(file, value) }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.controller, self.amount)
    }
}

/// All that are asked for.
pub(super) fn of(resources: &Resources) -> Vec<Limit> {
    let memory = resources.memory.map(|bytes| Limit {
        controller: "memory",
        amount: size(bytes),
        // Whatever were swapped out would not count otherwise. The second cannot be below the first.
        single: vec![
            Setting::new("memory.limit_in_bytes", bytes),
            Setting::if_there("memory.memsw.limit_in_bytes", bytes),
        ],
        unified: vec![Setting::new("memory.max", bytes), Setting::if_there("memory.swap.max", 0)],
    });
    let cpu = resources.cpu.map(|cores| {
        let quota = u64::from(cores.as_thousandths()) * PERIOD / 1000;
        Limit {
            controller: "cpu",
            amount: cores.to_string(),
            single: vec![Setting::new("cpu.cfs_period_us", PERIOD), Setting::new("cpu.cfs_quota_us", quota)],
            unified: vec![Setting::new("cpu.max", format!("{quota} {PERIOD}"))],
        }
    });
    let pids = resources.pids.map(|count| Limit {
        controller: "pids",
        amount: count.to_string(),
        single: vec![Setting::new("pids.max", count)],
        unified: vec![Setting::new("pids.max", count)],
    });
    [memory, cpu, pids].into_iter().flatten().collect()
}

/// Bytes for people, exactly.
pub(in super::super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |bits: u32| bytes > 0 && bytes.trailing_zeros() >= bits;
    match units.into_iter().find(|(bits, _)| fits(*bits)) {
        Some((bits, unit)) => format!("{} {unit}", bytes >> bits),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_model::number::Decimal;

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings
            .iter()
            .map(|it| format!("{}={}{}", it.file, it.value, if it.may_lack { "?" } else { "" }))
            .collect()
    }

    #[test]
    fn each_limit_has_its_files_in_both_versions() {
        let resources =
            Resources { memory: Some(64 << 20), cpu: Some(Decimal::thousandths(1500)), pids: Some(20) };
        let all = of(&resources);
        let text: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["memory 64 MiB", "cpu 1.5", "pids 20"]);
        let single: Vec<String> = all.iter().flat_map(|limit| lines(&limit.single)).collect();
        assert_eq!(
            single,
            [
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=67108864?",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "pids.max=20"
            ]
        );
        let unified: Vec<String> = all.iter().flat_map(|limit| lines(&limit.unified)).collect();
        assert_eq!(
            unified,
            ["memory.max=67108864", "memory.swap.max=0?", "cpu.max=150000 100000", "pids.max=20"]
        );
        assert_eq!(of(&Resources::default()), []);
        // The least that a task may ask for is the least that the kernel takes: a millisecond.
        let least = Resources { cpu: Some(Resources::MIN_CPU), ..Resources::default() };
        assert_eq!(of(&least)[0].unified[0].value, "1000 100000");
    }

    #[test]
    fn sizes_are_shown_exactly() {
        for (bytes, text) in
            [(1 << 20, "1 MiB"), (3 << 30, "3 GiB"), (1536, "1536 bytes"), (5 << 10, "5 KiB"), (0, "0 bytes")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
