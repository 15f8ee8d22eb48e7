//! The lock of a state directory.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use crate::LocalError;
use crate::private::create_private;

/// The exclusive right to use a state directory. Released when dropped, and by the operating system
/// when the process ends.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

/// The command that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, or `unknown` if it has just started.
    pub process: String,
    /// What it said with [`StateLock::works_on`].
    pub works_on: Option<String>,
}

impl Holder {
    fn read(mut file: &File) -> Holder {
        let mut text = String::new();
        // Only for messages: the holder may not have written anything yet.
        let _ = file.read_to_string(&mut text);
        let mut lines = text.lines().map(str::to_owned);
        Holder {
            process: lines.next().unwrap_or_else(|| "unknown".to_owned()),
            works_on: lines.next(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)
    }
}

/// How often and how far apart to try to take the lock: [`StateLock::holder`] holds it for a moment.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

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
        let file = options.open(&path).map_err(LocalError::file(&path))?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LocalError::Locked {
                        path: state.to_owned(),
                        holder: Holder::read(&file).to_string(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(LocalError::file(&path)(error)),
            }
        }
        let lock = StateLock { file };
        let id = std::process::id();
        lock.write(format_args!("{id}\n"))
            .map_err(LocalError::file(&path))?;
        Ok(lock)
    }

    /// Notes what this command works on, for [`StateLock::holder`].
    ///
    /// # Errors
    /// The lock file cannot be written.
    pub fn works_on(&self, what: &str) -> std::io::Result<()> {
        self.write(format_args!("{}\n{what}\n", std::process::id()))
    }

    fn write(&self, text: fmt::Arguments<'_>) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        // In one call, so that nobody reads half of it.
        file.write_all(text.to_string().as_bytes())
    }

    /// The command that holds the lock of a state directory. `None` if there is none, or if that cannot
    /// be seen.
    pub fn holder(state: &Path) -> Option<Holder> {
        let file = File::open(state.join("lock")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Holder::read(&file)),
            // It is released at once.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
        let found = StateLock::holder(&path).unwrap();
        assert_eq!((found.to_string(), found.works_on), (holder, None));
        lock.works_on("a run").unwrap();
        let found = StateLock::holder(&path).unwrap();
        assert_eq!(found.works_on.as_deref(), Some("a run"));
        drop(lock);
        // A process that another test starts at this moment shares the lock until its program runs.
        let deadline = Instant::now() + Duration::from_secs(5);
        while StateLock::take(&path).is_err() {
            assert!(Instant::now() < deadline, "the lock was not released");
            std::thread::sleep(Duration::from_millis(1));
        }
        let never = StateLock::holder(&state.path().join("no such directory"));
        assert_eq!(never, None);
    }
}
