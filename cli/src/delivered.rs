//! Which files in the output directory this program wrote. Everything else belongs to the user and is
//! never replaced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::output_file;

/// The record, in the state directory.
const RECORD: &str = "delivered.json";
/// The most names that are tried for a file.
const NAMES: u32 = 10_000;

/// Where a file was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The file.
    pub(crate) path: PathBuf,
    /// Why it does not have its usual name.
    pub(crate) instead: Option<String>,
}

/// A file that this program wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// blake3 of its content.
    content: String,
    /// The workbook that it is about.
    about: String,
}

/// Moves `from` to `<stem><end>` in a directory, such as `reviews-result.xlsx`. A file of that name is
/// replaced only if this program wrote it about the same workbook, nobody has edited it since, and no
/// program has it open. Otherwise the name gets a number: `reviews-result-2.xlsx`.
pub(crate) fn deliver(
    state: &Path,
    from: &Path,
    directory: &Path,
    (stem, end): (&str, &str),
    about: &str,
) -> io::Result<Written> {
    let mut records = read(state)?;
    let content = hash(from)?;
    let (base, extension) = end.rsplit_once('.').unwrap_or((end, ""));
    let mut instead = None;
    for number in 1..=NAMES {
        let name = match number {
            1 => format!("{stem}{end}"),
            number => format!("{stem}{base}-{number}.{extension}"),
        };
        let path = directory.join(&name);
        let why = match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => open_in(directory, &name),
            Err(e) => return Err(e),
            Ok(_) => match hash(&path) {
                // Delivered before, perhaps by a command that was killed before it recorded this.
                Ok(now)
                    if now == content && records.get(&name).is_none_or(|r| r.about == about) =>
                {
                    record(state, &mut records, name, content, about)?;
                    return Ok(Written { path, instead });
                }
                Ok(now) => match records.get(&name) {
                    Some(known) if known.about != about => {
                        Some(format!("it is the result of {}", known.about))
                    }
                    Some(known) if known.content == now => open_in(directory, &name),
                    Some(_) => Some("it was edited".to_owned()),
                    None => Some("another program wrote it".to_owned()),
                },
                Err(e) => Some(e.to_string()),
            },
        };
        let Some(why) = why else {
            output_file::replace(from, &path)?;
            record(state, &mut records, name, content, about)?;
            return Ok(Written { path, instead });
        };
        instead.get_or_insert_with(|| format!("{} is kept: {why}", path.display()));
    }
    Err(io::Error::other(format!(
        "{} has {NAMES} files of this name",
        directory.display()
    )))
}

/// Which program has a file open, by the lock file that it leaves beside it.
fn open_in(directory: &Path, name: &str) -> Option<String> {
    // Excel leaves out the first two characters of long names.
    let short: String = name.chars().skip(2).collect();
    let locks = [
        (format!("~${name}"), "Excel"),
        (format!("~${short}"), "Excel"),
        (format!(".~lock.{name}#"), "LibreOffice"),
    ];
    let lock = locks
        .iter()
        .find(|(lock, _)| directory.join(lock).symlink_metadata().is_ok())?;
    Some(format!("it is open in {}", lock.1))
}

fn read(state: &Path) -> io::Result<BTreeMap<String, Record>> {
    match std::fs::read(state.join(RECORD)) {
        // A damaged record only means that files are kept.
        Ok(json) => Ok(serde_json::from_slice(&json).unwrap_or_default()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(e),
    }
}

fn record(
    state: &Path,
    records: &mut BTreeMap<String, Record>,
    name: String,
    content: String,
    about: &str,
) -> io::Result<()> {
    let about = about.to_owned();
    records.insert(name, Record { content, about });
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    serde_json::to_writer(&mut file, records)?;
    file.as_file().sync_all()?;
    file.persist(state.join(RECORD))?;
    Ok(())
}

fn hash(file: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (state, out) = (dir.path().join("state"), dir.path().join("out"));
        std::fs::create_dir(&state).unwrap();
        std::fs::create_dir(&out).unwrap();
        let write = |content: &str, about: &str| {
            let from = state.join("part");
            std::fs::write(&from, content).unwrap();
            let written = deliver(&state, &from, &out, ("a", "-result.xlsx"), about).unwrap();
            let text = std::fs::read_to_string(&written.path).unwrap();
            assert_eq!(text, content);
            let name = written
                .path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            (name, written.instead.unwrap_or_default())
        };
        let name = |name: &str| (name.to_owned(), String::new());
        assert_eq!(write("1", "/x/a.xlsx"), name("a-result.xlsx"));
        assert_eq!(write("2", "/x/a.xlsx"), name("a-result.xlsx"));
        // Another workbook of the same name has its own file, now and later.
        let (other, why) = write("3", "/y/a.xlsx");
        assert!(
            other == "a-result-2.xlsx" && why.contains("result of /x/a.xlsx"),
            "{why}"
        );
        assert_eq!(write("4", "/y/a.xlsx").0, "a-result-2.xlsx");
        assert_eq!(write("5", "/x/a.xlsx"), name("a-result.xlsx"));

        std::fs::write(out.join("a-result.xlsx"), "mine").unwrap();
        let (other, why) = write("6", "/x/a.xlsx");
        assert!(
            other == "a-result-3.xlsx" && why.contains("was edited"),
            "{why}"
        );
        assert_eq!(
            std::fs::read_to_string(out.join("a-result.xlsx")).unwrap(),
            "mine"
        );

        for lock in ["~$a-result-3.xlsx", ".~lock.a-result-3.xlsx#"] {
            std::fs::write(out.join(lock), "").unwrap();
            assert_eq!(write("7", "/x/a.xlsx").0, "a-result-4.xlsx", "{lock}");
            std::fs::remove_file(out.join(lock)).unwrap();
        }
    }
}
