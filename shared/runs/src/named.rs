//! Finding a run by what a person types.

use std::future::ready;

use futures::{Stream, StreamExt, TryStreamExt};
use rowmill_domain::{RunId, RunItem};
use rowmill_ports::{PortError, Runs};

use crate::all_runs;

/// Ids that [`Named::Several`] lists at most.
const LISTED: usize = 10;

/// The runs that a text names.
#[derive(Debug)]
pub enum Named {
    /// Exactly one.
    One(Box<RunItem>),
    /// None.
    None,
    /// Several; the first ten of them.
    Several(Vec<RunId>),
}

/// Finds the run with this id, or the only one whose id starts with `text`.
///
/// # Errors
/// The runs cannot be read.
pub async fn find_named(runs: &dyn Runs, text: &str) -> Result<Named, PortError> {
    if let Ok(id) = text.parse::<RunId>() {
        let found = runs.find_run(&id).await?;
        return Ok(found.map_or(Named::None, |run| Named::One(Box::new(run))));
    }
    let found = starting_with(runs, text).take(LISTED);
    let mut found: Vec<RunItem> = found.try_collect().await?;
    Ok(match found.len() {
        1 => found
            .pop()
            .map_or(Named::None, |run| Named::One(Box::new(run))),
        0 => Named::None,
        _ => Named::Several(found.into_iter().map(|run| run.id).collect()),
    })
}

/// The runs whose id starts with `text`.
pub(crate) fn starting_with<'a>(
    runs: &'a dyn Runs,
    text: &'a str,
) -> impl Stream<Item = Result<RunItem, PortError>> + 'a {
    all_runs(runs).try_filter(move |run| ready(run.id.as_str().starts_with(text)))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rowmill_domain::run::UploadSource;
    use rowmill_local::SqliteLedger;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_run_has_the_shortest_unique_start_of_its_id_as_a_name() {
        let state = TempDir::new().unwrap();
        let runs = SqliteLedger::open(state.path()).unwrap();
        let ids = ["20261121-a-0123456789ab", "20261121-ab-0123456789ab"];
        for id in ids {
            let source = UploadSource {
                bucket: "inbox".to_owned(),
                key: "a/a.csv".to_owned(),
                version: "1".to_owned(),
                size: 1,
                uploaded: DateTime::UNIX_EPOCH,
            };
            let item = RunItem::new(id.parse().unwrap(), source, DateTime::UNIX_EPOCH);
            assert!(runs.create_run(&item).await.unwrap());
        }
        for (text, expected) in [
            (ids[0], ids[0]),
            ("20261121-a-", ids[0]),
            ("20261121-ab", ids[1]),
        ] {
            let Named::One(run) = find_named(&runs, text).await.unwrap() else {
                panic!("{text} is a name");
            };
            assert_eq!(run.id.as_str(), expected);
        }
        let several = find_named(&runs, "20261121-a").await.unwrap();
        assert!(matches!(several, Named::Several(ids) if ids.len() == 2));
        for none in ["x", "20261121-a-0123456789ac"] {
            let found = find_named(&runs, none).await.unwrap();
            assert!(matches!(found, Named::None), "{none}");
        }
    }
}
