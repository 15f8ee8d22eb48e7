//! Where things lie in the work bucket. The one place that spells a key.

use crate::pipeline_name::PipelineName;
use crate::run::RunId;

/// `pipelines/`: the pipeline files.
pub const PIPELINES: &str = "pipelines/";

/// `runs/`: all that is temporary, of all runs.
pub const RUNS: &str = "runs/";

/// `programs/`: what `command` steps may fetch from the work bucket.
pub const PROGRAMS: &str = "programs/";

/// `pipelines/<name>.toml`
pub fn pipeline(name: &PipelineName) -> String {
    format!("{PIPELINES}{name}.toml")
}

/// `runs/<id>/`: all that is temporary of a run.
pub fn run_prefix(run: &RunId) -> String {
    format!("runs/{run}/")
}

/// The run that a key under [`RUNS`] belongs to.
pub fn run_of(key: &str) -> Option<RunId> {
    let (run, _) = key.strip_prefix(RUNS)?.split_once('/')?;
    run.parse().ok()
}

/// `runs/<id>/manifest.json`: split's commit point.
pub fn manifest(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

/// `runs/<id>/rejected.jsonl`: the rejected rows, JSON Lines of [`crate::manifest::Rejected`].
pub fn rejected(run: &RunId) -> String {
    format!("runs/{run}/rejected.jsonl")
}

/// `runs/<id>/chunks/00000.json`
pub fn chunk(run: &RunId, chunk: u32) -> String {
    format!("runs/{run}/chunks/{chunk:05}.json")
}

/// `results/<id>/`: what is kept.
pub fn results_prefix(run: &RunId) -> String {
    format!("results/{run}/")
}

/// `results/<id>/<stem>-result.xlsx`. `source_key` is the key of the input in the inbox.
pub fn result(run: &RunId, source_key: &str) -> String {
    format!("results/{run}/{}-result.xlsx", stem(source_key))
}

/// `results/<id>/rows/00000.jsonl.gz`: the records of a chunk with their outcomes.
pub fn archived_rows(run: &RunId, chunk: u32) -> String {
    format!("results/{run}/rows/{chunk:05}.jsonl.gz")
}

/// `results/<id>/rejected.jsonl.gz`: [`rejected`], kept.
pub fn archived_rejected(run: &RunId) -> String {
    format!("results/{run}/rejected.jsonl.gz")
}

/// The file's name in [`about`].
pub const ABOUT: &str = "about.json";

/// `results/<id>/about.json`: [`crate::archive::ArchiveInfo`].
pub fn about(run: &RunId) -> String {
    format!("results/{run}/{ABOUT}")
}

/// `results/<id>/mail.eml`: the mail as it was sent, so that a second delivery sends the same.
pub fn mail(run: &RunId) -> String {
    format!("results/{run}/mail.eml")
}

/// `results/<id>/mail-linked.eml`: the same with a link in place of the workbook, for mailboxes that
/// refuse its size.
pub fn linked_mail(run: &RunId) -> String {
    format!("results/{run}/mail-linked.eml")
}

/// The file's name in a key, without folder and extension: `reviews/my file.v2.xlsx` gives
/// `my file.v2`.
pub fn stem(key: &str) -> &str {
    let name = file_name(key);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// The last segment of a key.
pub fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// The folder of the inbox, which names the pipeline: the first segment of a key that has more
/// than one.
pub fn folder(key: &str) -> Option<&str> {
    key.split_once('/').map(|(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_keys() {
        assert_eq!(stem("reviews/my file (1)+ü.v2.xlsx"), "my file (1)+ü.v2");
        assert_eq!(stem("reviews/.xlsx"), ".xlsx");
        assert_eq!(folder("reviews/a/b.xlsx"), Some("reviews"));
        assert_eq!(folder("b.xlsx"), None);
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        assert_eq!(run_of(&chunk(&run, 3)), Some(run));
        assert_eq!(run_of("runs/readme.txt"), None);
    }
}
