//! Where a command may write the file that it makes.

use std::path::{Path, PathBuf};

use miette::miette;

use crate::exit::Stop;

/// The file that is to be replaced by a new one at `out`, or made there: behind a link what it
/// leads to, so that the link stays one. A device, a pipe or a socket is refused, since a file
/// would take its place.
pub(crate) fn target(out: &Path) -> Result<PathBuf, Stop> {
    let linked = out.is_symlink();
    let why = match out.metadata() {
        Ok(found) if found.is_file() && linked => match out.canonicalize() {
            Ok(file) => return Ok(file),
            Err(e) => format!("it is a link that cannot be followed: {e}"),
        },
        Ok(found) if found.is_file() => return Ok(out.to_owned()),
        Ok(found) if found.is_dir() => "it is a folder".to_owned(),
        Ok(_) => "it is a device, a pipe or a socket; name a file".to_owned(),
        Err(e) if linked => format!("it is a link that cannot be followed: {e}"),
        Err(_) if !folder(out).is_dir() => "its folder does not exist".to_owned(),
        Err(_) => return Ok(out.to_owned()),
    };
    Err(Stop::refused(miette!(
        "cannot write {}: {why}",
        out.display()
    )))
}

/// The folder that a file is to lie in.
pub(crate) fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_its_file_and_what_is_no_file_is_refused() {
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
            ("dangling", "it is a link that cannot be followed"),
        ] {
            let told = target(&at(name)).unwrap_err().reports[0].to_string();
            assert!(told.contains(why), "{name}: {told}");
        }
    }
}
