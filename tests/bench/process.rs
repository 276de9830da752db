//! A server process as the kernel sees it: CPU time of all its threads, by name, and resident memory.
//!
//! `schedstat` counts nanoseconds where `stat` counts hundredths of a second. A thread that has ended is
//! gone from there, so a watcher looks often and keeps what each one had used when it was last seen.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running server. Killed when dropped, if it has not ended by itself.
pub(crate) struct Process {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

/// Nanoseconds of CPU by thread, and memory.
#[derive(Default)]
struct Seen {
    threads: BTreeMap<u64, (String, u64)>,
    peak_rss: u64,
}

/// What a process had used at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of CPU, by name of thread without its number.
    pub(crate) cpu: BTreeMap<String, f64>,
    /// Bytes.
    pub(crate) peak_rss: u64,
}

impl Usage {
    /// Seconds of CPU of all threads.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu.values().sum()
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Usage) -> Usage {
        let spent = |(name, &now): (&String, &f64)| {
            (name.clone(), now - before.cpu.get(name).copied().unwrap_or_default())
        };
        Usage { cpu: self.cpu.iter().map(spent).collect(), peak_rss: self.peak_rss }
    }
}

/// Servers that run: a panic ends this program without dropping what owns them.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// From now on a panic takes the servers with it.
pub(crate) fn end_servers_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        let running = RUNNING.try_lock().map(|pids| pids.clone()).unwrap_or_default();
        for pid in running {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }));
}

const LOOK: Duration = Duration::from_millis(50);

impl Process {
    /// Starts a program and watches it.
    pub(crate) fn start(mut command: Command) -> Process {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        RUNNING.lock().expect("nobody panics while holding it").push(child.id());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (pid, seen, stop) = (child.id(), Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    look(pid, &seen);
                    std::thread::sleep(LOOK);
                }
            })
        };
        Process { child, seen, stop, watcher: Some(watcher) }
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Usage {
        look(self.child.id(), &self.seen);
        let seen = self.seen.lock().expect("the watcher does not panic");
        let mut cpu = BTreeMap::new();
        for (name, nanos) in seen.threads.values() {
            *cpu.entry(name.clone()).or_default() += *nanos as f64 / 1e9;
        }
        Usage { cpu, peak_rss: seen.peak_rss }
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        for _ in 0..200 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        // Harmless if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let pid = self.child.id();
        RUNNING.lock().expect("nobody panics while holding it").retain(|&running| running != pid);
    }
}

fn look(pid: u32, seen: &Mutex<Seen>) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    let mut seen = seen.lock().expect("nobody panics while holding it");
    for task in tasks.flatten() {
        let Some(tid) = task.file_name().to_str().and_then(|tid| tid.parse().ok()) else {
            continue;
        };
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let stat = read("schedstat");
        let Some(nanos) = stat.split(' ').next().and_then(|nanos| nanos.parse().ok()) else {
            continue;
        };
        // Each time, because a thread is named by its parent until it has named itself.
        seen.threads.insert(tid, (group(read("comm").trim()), nanos));
    }
    seen.peak_rss = seen.peak_rss.max(resident(pid));
}

/// `shard-0` and `shard-1` are both `shard`.
fn group(name: &str) -> String {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned()
}

/// Resident memory of a process in bytes; 0 if it is gone.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// CPU seconds of the calling thread.
pub(crate) fn own_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.unwrap_or_default() / 1e9
}

/// CPU seconds of all children of this process that have ended and been waited for.
pub(crate) fn children_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may hold anything; after it the state is the third field of the line.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        fields.split_whitespace().skip(13).take(2).filter_map(|tick| tick.parse::<f64>().ok());
    // A hundred a second on Linux, whatever the kernel's own clock does.
    ticks.sum::<f64>() / 100.0
}
