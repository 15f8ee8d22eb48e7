//! A control group: limits for a process, as Lambda sets them for a function, and what it used. Needs root
//! and a writable `/sys/fs/cgroup`, version 1 or 2.
//!
//! Source: Linux, "Control Group v2" and "Control Groups version 1".

use std::io::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup";
/// The period of the processors' quota, in microseconds: the default of Linux.
const PERIOD: u32 = 100_000;

/// A control group. Dropping it removes it, once its processes have ended.
pub struct Cgroup {
    /// One folder with version 2; one for each controller with version 1.
    folders: Vec<PathBuf>,
    version: u8,
}

impl Cgroup {
    /// Creates a group with a share of the processors and a maximum memory.
    ///
    /// # Errors
    /// The caller is not root, or the controllers are not available.
    pub fn new(name: &str, processors: f64, mebibytes: u64) -> Result<Cgroup> {
        let name = format!("{name}-{}", std::process::id());
        let quota = (processors * f64::from(PERIOD)) as u32;
        let bytes = (mebibytes << 20).to_string();
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            std::fs::write(root.join("cgroup.subtree_control"), "+cpu +memory")?;
            let group = Cgroup {
                folders: vec![root.join(name)],
                version: 2,
            };
            std::fs::create_dir(&group.folders[0])?;
            group.set("cpu.max", &format!("{quota} {PERIOD}"))?;
            group.set("memory.max", &bytes)?;
            // Not there without swap.
            let _ = group.set("memory.swap.max", "0");
            return Ok(group);
        }
        // `cpu` and `cpuacct` can be links to one folder.
        let mut folders: Vec<PathBuf> = Vec::new();
        for controller in ["cpu", "cpuacct", "memory"] {
            let folder = root.join(controller).canonicalize()?.join(&name);
            if !folders.contains(&folder) {
                std::fs::create_dir(&folder)?;
                folders.push(folder);
            }
        }
        let group = Cgroup {
            folders,
            version: 1,
        };
        group.set("cpu.cfs_period_us", &PERIOD.to_string())?;
        group.set("cpu.cfs_quota_us", &quota.to_string())?;
        group.set("memory.limit_in_bytes", &bytes)?;
        Ok(group)
    }

    fn file(&self, name: &str) -> PathBuf {
        let all = self.folders.iter().map(|folder| folder.join(name));
        // A file that is nowhere gives an error with the name of one place.
        let existing = all.clone().find(|path| path.exists());
        existing.unwrap_or_else(|| self.folders[0].join(name))
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        std::fs::write(self.file(name), value)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// A command for `/bin/sh -c` that enters the group and becomes the program `$0`.
    pub fn entering(&self) -> String {
        let enter = self.folders.iter();
        let enter = enter.map(|folder| format!("echo $$ > {}/cgroup.procs; ", folder.display()));
        format!("set -e; {}exec \"$0\"", enter.collect::<String>())
    }

    /// The processor time that the group used.
    pub fn processor_time(&self) -> Duration {
        let nanoseconds = match self.version {
            1 => self.read("cpuacct.usage").trim().parse().unwrap_or(0),
            _ => self
                .read("cpu.stat")
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "))
                .and_then(|text| text.trim().parse::<u64>().ok())
                .map_or(0, |microseconds| microseconds * 1000),
        };
        Duration::from_nanos(nanoseconds)
    }

    /// The most memory that the group used, in MiB, with the pages of files that Linux may drop at any
    /// time.
    pub fn peak(&self) -> u64 {
        let file = match self.version {
            1 => "memory.max_usage_in_bytes",
            _ => "memory.peak",
        };
        self.read(file).trim().parse::<u64>().unwrap_or(0) >> 20
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // A killed process takes a moment to leave.
            for _ in 0..100 {
                if std::fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
