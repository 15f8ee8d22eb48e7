//! A zip with a program in it, unpacked with suspicion.
//!
//! It is pinned by its hash, so it is what the pipeline's author meant; but the author may have got
//! it from elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zip::ZipArchive;

/// Most files and folders in a zip.
const ENTRIES_MAX: usize = 10_000;
/// Most bytes that a zip may unpack to: a child on AWS has 20 GB of disk, and shares it with
/// nothing else, but locally many children unpack at once.
const UNPACKED_MAX: u64 = 1 << 30;

/// Why a zip is not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// It is refused.
    #[error("{0}")]
    Refused(String),
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn refused(why: impl Into<String>) -> UnpackError {
    UnpackError::Refused(why.into())
}

/// Unpacks the zip at `from` into the empty directory `to`. No file may lie outside of it, be a
/// link or come twice, and what is written is counted as it is, not as the zip says.
pub(crate) fn unpack(from: &Path, to: &Path) -> Result<(), UnpackError> {
    let broken = |e: zip::result::ZipError| match e {
        zip::result::ZipError::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => e.into(),
        e => refused(format!("it is no zip that can be read: {e}")),
    };
    let mut archive = ZipArchive::new(File::open(from)?).map_err(broken)?;
    if archive.len() > ENTRIES_MAX {
        return Err(refused(format!(
            "it has {} entries, more than {ENTRIES_MAX}",
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
                "its entry {name:?} leads out of the folder, or is a link"
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
                return Err(refused(format!("its entry {name:?} comes twice")));
            }
            file => file?,
        };
        // One byte more than is left tells that there are more.
        let written = io::copy(&mut (&mut entry).take(left + 1), &mut file)
            .map_err(|e| refused(format!("its entry {name:?} cannot be read: {e}")))?;
        left = left.checked_sub(written).ok_or_else(|| {
            refused(format!(
                "it unpacks to more than {} MiB",
                UNPACKED_MAX >> 20
            ))
        })?;
        if executable {
            make_executable(&path)?;
        }
    }
    Ok(())
}

/// Lets the file be started by its owner.
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

    /// What becomes of a zip with these entries: name, mode, bytes.
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
    fn files_folders_and_what_may_be_started() {
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
    fn nothing_is_written_outside_of_the_folder() {
        for name in ["../evil", "lib/../../evil", "/etc/evil"] {
            let (directory, result) = unpacked(&[(name, 0o644, b"x")]);
            let refused =
                matches!(&result, Err(UnpackError::Refused(why)) if why.contains("leads out"));
            // An absolute name may also be taken for one within the folder.
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
        let told = unpack(&from, &to).unwrap_err().to_string();
        assert!(told.contains("is a link"), "{told}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }

    #[test]
    fn a_bomb_is_stopped_as_it_unpacks() {
        let zeros = vec![0; 64 << 20];
        let bombs: Vec<(String, &[u8])> = (0..17).map(|i| (format!("{i}"), &*zeros)).collect();
        let entries: Vec<_> = bombs.iter().map(|(n, b)| (n.as_str(), 0o644, *b)).collect();
        let told = unpacked(&entries).1.unwrap_err().to_string();
        assert!(told.contains("unpacks to more than 1024 MiB"), "{told}");
    }

    #[test]
    fn what_is_no_zip_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("x.zip");
        fs::write(&from, b"#!/bin/sh\n").unwrap();
        let told = unpack(&from, directory.path()).unwrap_err().to_string();
        assert!(told.contains("no zip that can be read"), "{told}");
    }
}
