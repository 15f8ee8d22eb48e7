//! Temporary files that killed processes left behind.

use std::path::Path;

/// The prefix of the temporary directories of the stages.
const PREFIX: &str = "rowmill-";

/// Removes the temporary directories of killed processes. When Lambda kills a function because of its
/// time or memory limit, it keeps `/tmp` for the next process.
///
/// Failures are only logged, because the space may be sufficient anyway.
pub(crate) fn remove(temporary: &Path) {
    let entries = match std::fs::read_dir(temporary) {
        Ok(entries) => entries.flatten(),
        Err(error) => {
            tracing::warn!(%error, "cannot search for leftovers of killed processes");
            return;
        }
    };
    for entry in entries {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        match std::fs::remove_dir_all(entry.path()) {
            Ok(()) => tracing::info!(?name, "removed a leftover directory of a killed process"),
            Err(error) => {
                tracing::warn!(?name, %error, "cannot remove a leftover directory of a killed process")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_directories_of_the_stages_are_removed() {
        let temporary = std::env::temp_dir().join(format!("leftovers-{}", std::process::id()));
        for name in ["rowmill-split-a", "rowmill-report-b", "other"] {
            fs::create_dir_all(temporary.join(name)).unwrap();
            fs::write(temporary.join(name).join("file"), "x").unwrap();
        }
        remove(&temporary);
        let left = fs::read_dir(&temporary).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        fs::remove_dir_all(&temporary).unwrap();
        assert_eq!(left, ["other"]);
        // Also if the directory does not exist.
        remove(&temporary);
    }
}
