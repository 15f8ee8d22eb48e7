//! Directories that nobody but the user can read.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Creates a directory with mode 0700, because it holds rows, and the directories above it with the
/// user's usual mode. An existing directory keeps its mode.
///
/// # Errors
/// The directory cannot be created.
pub fn create_private(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_directory_is_private_and_an_existing_one_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let state = directory.path().join("above/state");
        create_private(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        assert_ne!(mode(&directory.path().join("above")), 0o700);
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o750)).unwrap();
        create_private(&state).unwrap();
        assert_eq!(mode(&state), 0o750);
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert!(create_private(&directory.path().join("file")).is_err());
    }
}
