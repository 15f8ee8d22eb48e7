//! Unpacks an untrusted zip file that contains a program.
//!
//! The hash in the pipeline proves that this is the file the author chose. But the author may have
//! received it from a third party.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zip::ZipArchive;

/// Maximum number of files and folders in a zip file.
const ENTRIES_MAX: usize = 10_000;
/// Maximum number of bytes that a zip file may unpack to. A child on AWS has 20 GB of disk for itself, but
/// on one machine many children unpack at the same time.
const UNPACKED_MAX: u64 = 1 << 30;

/// Why a zip file was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// Its content is not allowed.
    #[error("{0}")]
    Refused(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn refused(why: impl Into<String>) -> UnpackError {
    UnpackError::Refused(why.into())
}

/// Unpacks the zip file at `from` into the empty directory `to`. Entries outside `to`, links and
/// duplicates are refused. The size limit counts the bytes written, not the sizes that the zip file
/// states.
pub(crate) fn unpack(from: &Path, to: &Path) -> Result<(), UnpackError> {
    let broken = |e: zip::result::ZipError| match e {
        zip::result::ZipError::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => e.into(),
        e => refused(format!("not a readable zip file: {e}")),
    };
    let mut archive = ZipArchive::new(File::open(from)?).map_err(broken)?;
    if archive.len() > ENTRIES_MAX {
        return Err(refused(format!(
            "the zip file has {} entries; at most {ENTRIES_MAX} are allowed",
            archive.len()
        )));
    }
    let mut left = UNPACKED_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let inside = entry.enclosed_name().filter(|_| !entry.is_symlink());
        let Some(inside) = inside else {
            return Err(refused(format!(
                "the entry {name:?} is a link or is outside the folder"
            )));
        };
        let path = to.join(inside);
        if entry.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(refused(format!(
                    "the zip file has two entries named {name:?}"
                )));
            }
            file => file?,
        };
        // Reading one byte more than allowed shows whether there are more.
        let written = io::copy(&mut (&mut entry).take(left + 1), &mut file)
            .map_err(|e| refused(format!("cannot read the entry {name:?}: {e}")))?;
        left = left.checked_sub(written).ok_or_else(|| {
            refused(format!(
                "the zip file unpacks to more than {} MiB",
                UNPACKED_MAX >> 20
            ))
        })?;
        if executable {
            make_executable(&path)?;
        }
    }
    Ok(())
}

/// Lets the owner of the file execute it.
pub(crate) fn make_executable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    /// Unpacks a zip file with these entries: name, mode, bytes.
    fn unpacked(entries: &[(&str, u32, &[u8])]) -> (tempfile::TempDir, Result<(), UnpackError>) {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("x.zip"), directory.path().join("to"));
        let mut writer = ZipWriter::new(File::create(&from).unwrap());
        for (name, mode, bytes) in entries {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
        fs::create_dir(&to).unwrap();
        let result = unpack(&from, &to);
        (directory, result)
    }

    #[test]
    fn files_folders_and_execute_permissions_are_kept() {
        let (directory, result) =
            unpacked(&[("score.sh", 0o755, b"a"), ("lib/words.txt", 0o644, b"b")]);
        result.unwrap();
        let to = directory.path().join("to");
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("score.sh") & 0o777, 0o700);
        assert_eq!(mode("lib/words.txt") & 0o100, 0);
        assert_eq!(fs::read(to.join("lib/words.txt")).unwrap(), b"b");
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        for name in ["../evil", "lib/../../evil", "/etc/evil"] {
            let (directory, result) = unpacked(&[(name, 0o644, b"x")]);
            let refused = matches!(&result, Err(UnpackError::Refused(why)) if why.contains("outside the folder"));
            // An absolute name may also be read as one inside the folder.
            assert!(refused || result.is_ok(), "{name}: {result:?}");
            assert!(!directory.path().join("evil").exists(), "{name}");
            assert!(!Path::new("/etc/evil").exists());
        }
    }

    #[test]
    fn links_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("x.zip");
        let mut writer = ZipWriter::new(File::create(&from).unwrap());
        let options = SimpleFileOptions::default();
        writer
            .add_symlink("passwd", "/etc/passwd", options)
            .unwrap();
        writer.finish().unwrap();
        let to = directory.path().join("to");
        fs::create_dir(&to).unwrap();
        let error = unpack(&from, &to).unwrap_err().to_string();
        assert!(error.contains("is a link"), "{error}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }

    #[test]
    fn a_zip_bomb_is_stopped_while_it_unpacks() {
        let zeros = vec![0; 64 << 20];
        let bombs: Vec<(String, &[u8])> = (0..17).map(|i| (format!("{i}"), &*zeros)).collect();
        let entries: Vec<_> = bombs.iter().map(|(n, b)| (n.as_str(), 0o644, *b)).collect();
        let error = unpacked(&entries).1.unwrap_err().to_string();
        assert!(error.contains("unpacks to more than 1024 MiB"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_a_zip_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("x.zip");
        fs::write(&from, b"#!/bin/sh\n").unwrap();
        let error = unpack(&from, directory.path()).unwrap_err().to_string();
        assert!(error.contains("not a readable zip file"), "{error}");
    }
}
