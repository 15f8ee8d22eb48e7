//! Temporary folders. They hold rows, so nobody but the user can read them.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{Builder, TempDir};

/// Only for the user.
const PRIVATE: u32 = 0o700;

/// Creates a folder with mode 0700 in the system's directory for temporary files. It is deleted when
/// the value is dropped.
///
/// # Errors
/// The folder cannot be created.
pub fn scratch_folder(prefix: &str) -> io::Result<TempDir> {
    scratch_folder_in(prefix, &tempfile::env::temp_dir())
}

/// The same in another directory, such as one on the file system of the result.
///
/// # Errors
/// The folder cannot be created.
pub fn scratch_folder_in(prefix: &str, directory: &Path) -> io::Result<TempDir> {
    let mut builder = Builder::new();
    builder.prefix(prefix);
    builder.permissions(Permissions::from_mode(PRIVATE));
    builder.tempdir_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_can_read_a_scratch_folder() {
        let folder = scratch_folder("rowmill-test-").unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let inner = scratch_folder_in("inner-", folder.path()).unwrap();
        let mode = inner.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(inner.path().starts_with(folder.path()));
    }
}
