use std::path::Path;

/// What the names of the stages' temporary directories begin with.
const PREFIX: &str = "rowmill-";

/// Removes the temporary directories that a killed process left. Lambda keeps what lies in `/tmp`
/// when it ends a function for its time or memory, and starts the next process beside it.
///
/// What cannot be removed is logged: there may be room enough.
pub(crate) fn remove(temporary: &Path) {
    let entries = match std::fs::read_dir(temporary) {
        Ok(entries) => entries.flatten(),
        Err(error) => {
            tracing::warn!(%error, "what a killed process left cannot be looked for");
            return;
        }
    };
    for entry in entries {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        match std::fs::remove_dir_all(entry.path()) {
            Ok(()) => tracing::info!(?name, "removed what a killed process left"),
            Err(error) => tracing::warn!(?name, %error, "what a killed process left stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn directories_of_the_stages_go_and_all_else_stays() {
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
        // And where there is none.
        remove(&temporary);
    }
}
