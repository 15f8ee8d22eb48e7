//! Object keys in the work bucket. No other code composes a key.

use crate::pipeline_name::PipelineName;
use crate::run::RunId;

/// `pipelines/`: pipeline files.
pub const PIPELINES: &str = "pipelines/";

/// `config/tiers.toml`: the file of tiers, if there are tiers.
pub const TIERS: &str = "config/tiers.toml";

/// `runs/`: temporary objects of all runs.
pub const RUNS: &str = "runs/";

/// `programs/`: files that `command` steps can fetch.
pub const PROGRAMS: &str = "programs/";

/// `uploads/`: workbooks that were uploaded through the API and have not started a run yet.
pub const UPLOADS: &str = "uploads/";

/// `uploads/<upload>/`
pub fn upload_prefix(upload: &str) -> String {
    format!("{UPLOADS}{upload}/")
}

/// `uploads/<upload>/<file>`
pub fn upload(upload: &str, file: &str) -> String {
    format!("{UPLOADS}{upload}/{file}")
}

/// `exports/<run>/`: exports of a run, which are removed after a day.
pub fn exports_prefix(run: &RunId) -> String {
    format!("exports/{run}/")
}

/// `exports/<run>/<export>/`
pub fn export_prefix(run: &RunId, export: &str) -> String {
    format!("exports/{run}/{export}/")
}

/// Returns the name of the pipeline whose file has this key.
pub fn pipeline_of(key: &str) -> Option<PipelineName> {
    key.strip_prefix(PIPELINES)?
        .strip_suffix(".toml")?
        .parse()
        .ok()
}

/// `pipelines/<name>.toml`
pub fn pipeline(name: &PipelineName) -> String {
    format!("{PIPELINES}{name}.toml")
}

/// `runs/<id>/`: temporary objects of a run.
pub fn run_prefix(run: &RunId) -> String {
    format!("runs/{run}/")
}

/// Returns the run of a key under [`RUNS`].
pub fn run_of(key: &str) -> Option<RunId> {
    let (run, _) = key.strip_prefix(RUNS)?.split_once('/')?;
    run.parse().ok()
}

/// `runs/<id>/manifest.json`: split's commit point.
pub fn manifest(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

/// `runs/<id>/second-round.json`: what the second round of a run does, if there is one.
pub fn second_round(run: &RunId) -> String {
    format!("runs/{run}/second-round.json")
}

/// `runs/<id>/rejected.jsonl`: the rejected rows, JSON Lines of [`crate::Rejected`].
pub fn rejected(run: &RunId) -> String {
    format!("runs/{run}/rejected.jsonl")
}

/// `runs/<id>/chunks/00000.json`
pub fn chunk(run: &RunId, chunk: u32) -> String {
    format!("runs/{run}/chunks/{chunk:05}.json")
}

/// `results/`: what is kept of all runs.
pub const RESULTS: &str = "results/";

/// `results/<id>/`: the result, the archive and the email of a run.
pub fn results_prefix(run: &RunId) -> String {
    format!("results/{run}/")
}

/// Returns the run of a key under [`results_prefix`].
pub fn result_of(key: &str) -> Option<RunId> {
    let (run, _) = key.strip_prefix("results/")?.split_once('/')?;
    run.parse().ok()
}

/// `results/<id>/<stem>-result.xlsx`. `source_key` is the key of the workbook in the inbox.
pub fn result(run: &RunId, source_key: &str) -> String {
    format!("results/{run}/{}-result.xlsx", stem(source_key))
}

/// `results/<id>/rows/00000.jsonl.gz`: the records of a chunk with their outcomes.
pub fn archived_rows(run: &RunId, chunk: u32) -> String {
    format!("results/{run}/rows/{chunk:05}.jsonl.gz")
}

/// `results/<id>/index/about.json`: [`crate::index::IndexInfo`].
pub fn index_about(run: &RunId) -> String {
    format!("results/{run}/index/about.json")
}

/// `results/<id>/index/rows.bin`: the rows of the index.
pub fn index_rows(run: &RunId) -> String {
    format!("results/{run}/index/rows.bin")
}

/// `results/<id>/rejected.jsonl.gz`: [`rejected`], archived.
pub fn archived_rejected(run: &RunId) -> String {
    format!("results/{run}/rejected.jsonl.gz")
}

/// The file name in [`about`].
pub const ABOUT: &str = "about.json";

/// `results/<id>/about.json`: [`crate::archive::ArchiveInfo`].
pub fn about(run: &RunId) -> String {
    format!("results/{run}/{ABOUT}")
}

/// `results/<id>/mail.eml`: the email as it was sent, so that a repeated delivery sends the same.
pub fn mail(run: &RunId) -> String {
    format!("results/{run}/mail.eml")
}

/// `results/<id>/mail-linked.eml`: the same email with a link instead of the workbook, for mailboxes
/// that refuse its size.
pub fn linked_mail(run: &RunId) -> String {
    format!("results/{run}/mail-linked.eml")
}

/// Returns the file name in a key, without folder and extension: `reviews/my file.v2.xlsx` gives
/// `my file.v2`.
pub fn stem(key: &str) -> &str {
    let name = file_name(key);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// Returns the last segment of a key.
pub fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Returns the first segment of a key with several: the inbox folder, which names the pipeline.
pub fn folder(key: &str) -> Option<&str> {
    key.split_once('/').map(|(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_from_keys() {
        assert_eq!(stem("reviews/my file (1)+ü.v2.xlsx"), "my file (1)+ü.v2");
        assert_eq!(stem("reviews/.xlsx"), ".xlsx");
        assert_eq!(folder("reviews/a/b.xlsx"), Some("reviews"));
        assert_eq!(folder("b.xlsx"), None);
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        assert_eq!(run_of(&chunk(&run, 3)), Some(run));
        assert_eq!(run_of("runs/readme.txt"), None);
        let run: RunId = "20261121-reviews-0123456789ab-r2".parse().unwrap();
        assert_eq!(result_of(&archived_rows(&run, 3)), Some(run));
        assert_eq!(result_of("results/readme.txt"), None);
    }
}
