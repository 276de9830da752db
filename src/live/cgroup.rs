//! How much memory the kernel allows this process: the limit of its cgroup, or of one above it.
//!
//! Reads files and understands them; what is made of the number is decided elsewhere. Version 2 and
//! version 1, in a container (where the own cgroup is the root) and outside of one.

use std::path::{Path, PathBuf};

/// The tightest limit that applies, in bytes; `None` if there is none or it cannot be told.
pub(super) fn memory_limit() -> Option<u64> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    tightest(&cgroups, Path::new("/sys/fs/cgroup"))
}

fn tightest(cgroups: &str, mounted: &Path) -> Option<u64> {
    let lines = cgroups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if hierarchy == "0" && controllers.is_empty() {
            Some(along(mounted.to_owned(), path, "memory.max"))
        } else if controllers.split(',').any(|controller| controller == "memory") {
            Some(along(mounted.join("memory"), path, "memory.limit_in_bytes"))
        } else {
            None
        }
    });
    lines.flatten().min()
}

/// The tightest limit from the mount down to `path`: a limit holds for everything below it.
fn along(mounted: PathBuf, path: &str, file: &str) -> Option<u64> {
    /// Version 1 writes the largest multiple of a page for "none".
    const NONE_FROM: u64 = 1 << 60;
    let mut directory = mounted;
    let mut limits = vec![read(&directory.join(file))];
    for step in path.split('/').filter(|step| !step.is_empty() && *step != "..") {
        directory.push(step);
        limits.push(read(&directory.join(file)));
    }
    limits.into_iter().flatten().filter(|limit| *limit < NONE_FROM).min()
}

/// `max` is no number, and no limit.
fn read(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test's own with these files in it, gone when it ends.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new(test: &str, files: &[(&str, &str)]) -> Mounted {
            let root = std::env::temp_dir().join(format!("laghound-{test}-{}", std::process::id()));
            for (name, content) in files {
                let path = root.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Mounted(root)
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_2_takes_the_tightest_on_the_way_down() {
        let files = [
            ("memory.max", "max\n"),
            ("pods/memory.max", "1000\n"),
            ("pods/a/memory.max", "5000\n"),
            ("pods/b/memory.max", "500\n"),
        ];
        let mounted = Mounted::new("cgroup-2", &files);
        assert_eq!(tightest("0::/pods/a\n", &mounted.0), Some(1000));
        assert_eq!(tightest("0::/pods/b\n", &mounted.0), Some(500));
        assert_eq!(tightest("0::/other\n", &mounted.0), None);
    }

    #[test]
    fn in_a_container_the_own_cgroup_is_the_root() {
        let mounted = Mounted::new("cgroup-container", &[("memory.max", "268435456\n")]);
        assert_eq!(tightest("0::/\n", &mounted.0), Some(256 << 20));
        assert_eq!(tightest("0::/../../elsewhere\n", &mounted.0), Some(256 << 20));
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory_and_a_number_for_none() {
        let files = [
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/x/memory.limit_in_bytes", "300\n"),
        ];
        let mounted = Mounted::new("cgroup-1", &files);
        let cgroups = "9:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n";
        assert_eq!(tightest(cgroups, &mounted.0), Some(300));
        assert_eq!(tightest("4:memory:/\n", &mounted.0), None);
    }

    #[test]
    fn what_is_not_there_or_not_understood_is_no_limit() {
        let mounted = Mounted::new("cgroup-odd", &[("memory.max", "lots\n")]);
        for cgroups in ["", "0::/\n", "0\n", "nonsense", "3:cpu:/x\n"] {
            assert_eq!(tightest(cgroups, &mounted.0), None, "{cgroups:?}");
        }
    }
}
