//! The lock of a state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::LocalError;
use crate::private::create_private;

/// The exclusive right to use a state directory. Released when dropped, and by the operating system
/// when the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Locks the directory. Creates it if it does not exist.
    ///
    /// # Errors
    /// [`LocalError::Locked`], with the process id of the holder, if another command holds the lock.
    /// [`LocalError::File`] if the directory or the lock file cannot be created.
    pub fn take(state: &Path) -> Result<StateLock, LocalError> {
        create_private(state).map_err(LocalError::file(state))?;
        let path = state.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(LocalError::file(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message: the holder may not have written its id yet.
                let _ = file.read_to_string(&mut text);
                let pid = text.trim();
                let holder = if pid.is_empty() { "unknown" } else { pid };
                return Err(LocalError::Locked {
                    path: state.to_owned(),
                    holder: format!("process {holder}"),
                });
            }
            Err(TryLockError::Error(error)) => return Err(LocalError::file(&path)(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(LocalError::file(&path))?;
        Ok(StateLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn only_one_command_can_hold_the_lock() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("state");
        let lock = StateLock::take(&path).unwrap();
        let error = StateLock::take(&path).unwrap_err().to_string();
        let holder = format!("process {}", std::process::id());
        assert!(error.contains(&holder), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        drop(lock);
        // A process that another test starts at this moment shares the lock until its program runs.
        let deadline = Instant::now() + Duration::from_secs(5);
        while StateLock::take(&path).is_err() {
            assert!(Instant::now() < deadline, "the lock was not released");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
