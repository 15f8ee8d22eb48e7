//! Where a command may write its output file.

use std::path::{Path, PathBuf};

use miette::miette;

use crate::error::CliError;

/// The path to create or replace for the output path `out`. A symbolic link is resolved, so that
/// the link itself stays. A device, a pipe or a socket is refused, because a file would replace it.
pub(crate) fn target(out: &Path) -> Result<PathBuf, CliError> {
    let linked = out.is_symlink();
    let why = match out.metadata() {
        Ok(found) if found.is_file() && linked => match out.canonicalize() {
            Ok(file) => return Ok(file),
            Err(e) => format!("it is a broken symbolic link: {e}"),
        },
        Ok(found) if found.is_file() => return Ok(out.to_owned()),
        Ok(found) if found.is_dir() => "it is a folder".to_owned(),
        Ok(_) => "it is a device, a pipe or a socket, not a file".to_owned(),
        Err(e) if linked => format!("it is a broken link: {e}"),
        Err(_) if !folder(out).is_dir() => "its folder does not exist".to_owned(),
        Err(_) => return Ok(out.to_owned()),
    };
    Err(CliError::refused(miette!(
        "cannot write {}: {why}",
        out.display()
    )))
}

/// The folder that contains a file.
pub(crate) fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Moves a file to `to`, whole or not at all. They may be on different file systems.
pub(crate) fn replace(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::rename(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {}
        renamed => return renamed,
    }
    let mut copy = tempfile::Builder::new()
        .prefix(".rowmill-")
        // As for any new file; the umask applies.
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder(to))?;
    std::io::copy(&mut std::fs::File::open(from)?, copy.as_file_mut())?;
    copy.as_file().sync_all()?;
    copy.persist(to)?;
    std::fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_is_moved_to_another_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let (from, to) = (elsewhere.path().join("a"), dir.path().join("b"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        replace(&from, &to).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
        assert!(!from.exists());
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "no part is left");
    }

    #[test]
    fn a_link_resolves_to_its_file_and_anything_but_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "old").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        std::os::unix::fs::symlink("socket", at("to-socket")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

        assert_eq!(target(&at("new")).unwrap(), at("new"));
        assert_eq!(target(&at("file")).unwrap(), at("file"));
        let file = at("file").canonicalize().unwrap();
        assert_eq!(target(&at("link")).unwrap(), file);
        for (name, why) in [
            ("", "it is a folder"),
            ("no/file", "its folder does not exist"),
            ("socket", "it is a device, a pipe or a socket"),
            ("to-socket", "it is a device, a pipe or a socket"),
            ("dangling", "it is a broken link"),
        ] {
            let message = target(&at(name)).unwrap_err().reports[0].to_string();
            assert!(message.contains(why), "{name}: {message}");
        }
    }
}
