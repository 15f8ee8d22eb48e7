//! The memory that an attempt uses.

use rustix::process::Pid;

/// Whether an attempt and all processes that it started use more memory than its job has. Always
/// `false` without `/proc`.
pub(super) fn exceeds(leader: Pid, mib: u32) -> bool {
    let limit = u64::from(mib) * 1024;
    let processes = tree(leader.as_raw_nonzero().get());
    let resident = |pid: &i32| kib(*pid, "status", "VmRSS:");
    if processes.iter().map(resident).sum::<u64>() <= limit {
        return false;
    }
    // Memory that processes share counts once, as in a container. This takes longer to read.
    let shared = |pid: &i32| kib(*pid, "smaps_rollup", "Pss:");
    processes.iter().map(shared).sum::<u64>() > limit
}

/// A process and its descendants.
fn tree(leader: i32) -> Vec<i32> {
    let mut processes = vec![leader];
    let mut at = 0;
    while let Some(pid) = processes.get(at).copied() {
        at += 1;
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children = thread.path().join("children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            processes.extend(children.split_whitespace().flat_map(str::parse::<i32>));
        }
    }
    processes
}

/// A number of a file in `/proc/<pid>`, in KiB. 0 if the process has ended.
fn kib(pid: i32, file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(key));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
