//! What the operating system says of this process: the `process_*` series, from `/proc/self`.
//!
//! Linux only; elsewhere, and where `/proc` is hidden, the series are absent. The parsing is apart
//! from the reading, so that it is tested on text.

/// One look at `/proc/self`. What could not be read is `None`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct ProcessStats {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) start_seconds: Option<f64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

/// Bytes of this process that are in memory, if that can be told.
pub fn resident_bytes() -> Option<u64> {
    status_bytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Ticks a second in `/proc`. Fixed at 100 by the kernel's interface on x86, ARM and RISC-V, whatever
/// the kernel's own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

impl ProcessStats {
    /// Reads it now.
    pub(super) fn read() -> ProcessStats {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        // Reading the directory takes a descriptor of its own.
        let fds = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count());
        let open_fds = fds.and_then(|count| u64::try_from(count.saturating_sub(1)).ok());
        let proc = ProcFiles {
            own_stat: &text("/proc/self/stat"),
            own_status: &text("/proc/self/status"),
            own_limits: &text("/proc/self/limits"),
            system_stat: &text("/proc/stat"),
        };
        ProcessStats { open_fds, ..proc.parse() }
    }
}

/// The texts, as the kernel writes them.
struct ProcFiles<'a> {
    own_stat: &'a str,
    own_status: &'a str,
    own_limits: &'a str,
    system_stat: &'a str,
}

impl ProcFiles<'_> {
    fn parse(&self) -> ProcessStats {
        let ticks = |field| stat_field(self.own_stat, field).map(|t| t as f64 / TICKS_PER_SECOND);
        // proc(5): utime is field 14, stime 15, starttime 22; starttime counts from the boot.
        let boot = self.system_stat.lines().find_map(|line| line.strip_prefix("btime "));
        let boot: Option<f64> = boot.and_then(|seconds| seconds.trim().parse().ok());
        ProcessStats {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            resident_bytes: status_bytes(self.own_status, "VmRSS:"),
            virtual_bytes: status_bytes(self.own_status, "VmSize:"),
            start_seconds: ticks(22).zip(boot).map(|(start, boot)| start + boot),
            open_fds: None,
            max_fds: max_fds(self.own_limits),
        }
    }
}

/// A field of `/proc/self/stat`, counted from 1 as in proc(5). The second, the program's name, is in
/// parentheses and may hold spaces and parentheses of its own.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// A size of `/proc/self/status`, which is in KiB there.
fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of open files; `None` if there is none.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "28492 (a (b) c) R 28488 28488 7836 0 -1 4194304 99 0 0 0 250 75 0 0 20 0 1 \
                        0 210505 3133440 414 18446744073709551615 1 1 1";

    #[test]
    fn all_is_read_from_the_kernels_texts() {
        let stats = ProcFiles {
            own_stat: STAT,
            own_status: "Name:\tx\nVmSize:\t    3892 kB\nVmRSS:\t    1832 kB\nThreads:\t1\n",
            own_limits: "Limit                     Soft Limit           Hard Limit           Units\n\
                         Max open files            1024                 524288               files\n",
            system_stat: "cpu  1 2 3\nbtime 1795206502\nprocesses 5\n",
        }
        .parse();
        assert_eq!(stats.cpu_seconds, Some(3.25));
        assert_eq!(stats.resident_bytes, Some(1832 * 1024));
        assert_eq!(stats.virtual_bytes, Some(3892 * 1024));
        assert_eq!(stats.start_seconds, Some(1_795_206_502.0 + 2_105.05));
        assert_eq!(stats.max_fds, Some(1024));
    }

    #[test]
    fn what_is_missing_or_malformed_is_none() {
        let none = ProcFiles { own_stat: "", own_status: "", own_limits: "", system_stat: "" };
        assert_eq!(none.parse(), ProcessStats::default());
        let odd = ProcFiles {
            own_stat: "1 (x) R",
            own_status: "VmRSS: lots kB\nVmSize: 18446744073709551615 kB",
            own_limits: "Max open files            unlimited            unlimited            files",
            system_stat: "btime never",
        };
        assert_eq!(odd.parse(), ProcessStats::default());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_files() {
        let stats = ProcessStats::read();
        assert!(stats.resident_bytes > Some(0) && stats.virtual_bytes >= stats.resident_bytes);
        assert!(stats.open_fds > Some(0) && stats.start_seconds > Some(0.0));
    }
}
