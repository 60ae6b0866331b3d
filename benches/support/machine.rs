//! The machine that was measured, and the resources that processes use on it.

use std::fs;

use tenantry::domain::{Clock, SystemClock};

use super::{Result, bench::Bench};

/// Linux counts CPU time in hundredths of a second, regardless of the kernel's tick rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// The lines above the table.
pub(crate) fn description(bench: &Bench) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let settings = bench.load.settings.iter().map(|(name, value)| format!(" {name}={value}"));
    let settings: String = settings.collect();
    format!(
        "{}\n{cores} cores ({}), {} GiB of memory, Linux {}, MongoDB {}\n\
         Client, server and mongod share these cores. Closed loop, {} connections, {} s each.{}\n",
        SystemClock.now().format("%Y-%m-%d %H:%M UTC"),
        field(&read("/proc/cpuinfo"), "model name"),
        kib >> 20,
        read("/proc/sys/kernel/osrelease").trim(),
        bench.database_version(),
        bench.load.connections,
        bench.load.window.as_secs(),
        settings,
    )
}

/// CPU seconds (user and system) that the process has used so far.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in the second field may contain blanks and parentheses.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc has an unexpected format")?;
    let mut times = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<f64>);
    match (times.next(), times.next()) {
        (Some(user), Some(system)) => Ok((user? + system?) / TICKS_PER_SECOND),
        _ => Err("/proc has an unexpected format".into()),
    }
}

/// The process's resident memory in MiB.
pub(crate) fn memory_mib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(kib.ok_or("/proc has an unexpected format")?.parse::<u64>()? >> 10)
}
