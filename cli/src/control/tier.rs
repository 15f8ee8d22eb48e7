//! `rowmill tier show` and `rowmill tier set`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use miette::miette;
use rowmill_domain::{Submitter, keys};
use rowmill_ports::submitters::GivenTier;
use rowmill_ports::{PortError, Submitters, Topic};
use rowmill_runs::WorkBucket;
use rowmill_tiers::{CurrentTiers, CurrentTiersError, Objects, Tier, Tiers, change_tier};
use serde_json::{Value, json};

use super::local::LocalState;
use crate::args::{TierSetArgs, TierShowArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, thousands};
use crate::table::{Column, table};
use crate::words::money;

/// Where there is no state directory, or no file.
const NO_TIERS: &str = "put a file tiers.toml beside the pipeline, and start `rowmill run` or `rowmill serve`; \
                        examples/tiers.toml is one";

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What the commands need from a deployment.
pub(super) struct Tiering {
    pub(super) submitters: Arc<dyn Submitters>,
    /// Receives that a submitter has another tier.
    pub(super) topic: Arc<dyn Topic>,
    /// The file of tiers, and the results.
    pub(super) work: WorkBucket,
}

impl Tiering {
    async fn tiers(&self, now: DateTime<Utc>) -> Result<Option<Arc<Tiers>>, CliError> {
        let current = CurrentTiers::new(self.work.clone());
        current.tiers(now).await.map_err(|e| match e {
            CurrentTiersError::File(e) => CliError::refused(miette!(
                help = "correct the file, and start `rowmill run` or `rowmill serve` again",
                "{e}"
            )),
            CurrentTiersError::Port(e) => CliError::failed("cannot read the file of tiers", e),
        })
    }

    /// The results that are kept, each object with its size.
    async fn results(&self) -> Result<Objects, PortError> {
        let objects: Vec<u64> = self
            .work
            .list_all(keys::RESULTS)
            .map_ok(|object| object.size)
            .try_collect()
            .await?;
        Ok(objects.into_iter().collect())
    }
}

/// Prints the tiers, what archiving costs and saves, and the tier of a submitter.
pub(crate) async fn show(args: &TierShowArgs) -> Result<Exit, CliError> {
    let submitter = args.submitter.as_ref();
    let Some(tiering) =
        LocalState::open(&args.out)?.map(|(control, state)| state.tiering(&control))
    else {
        return no_tiers(args.json);
    };
    let Some(tiers) = tiering.tiers(Utc::now()).await? else {
        return no_tiers(args.json);
    };
    let unreadable = |e| CliError::failed("cannot read the state directory", e);
    let results = tiering.results().await.map_err(unreadable)?;
    let given = match submitter {
        Some(submitter) => tiering.submitters.given_tier(submitter).await,
        None => Ok(None),
    };
    let given = given.map_err(unreadable)?;
    if args.json {
        output::json(&as_json(&tiers, results, submitter, given.as_ref()));
        return Ok(Exit::Done);
    }
    let rows: Vec<(&str, &Tier)> = tiers.iter().collect();
    let cells = |cell: &dyn Fn(&Tier) -> String| -> Vec<String> {
        rows.iter().map(|(_, tier)| cell(tier)).collect()
    };
    let any = |n: Option<u64>| n.map_or_else(|| "any".to_owned(), thousands);
    let is_default = |name: &str| {
        if name == tiers.default_name() {
            "yes"
        } else {
            ""
        }
    };
    let columns = [
        Column::required("tier", rows.iter().map(|(name, _)| (*name).to_owned())),
        Column::required(
            "default",
            rows.iter().map(|(name, _)| is_default(name).to_owned()),
        ),
        Column::required("bytes", cells(&|tier| any(tier.max_bytes))),
        Column::required(
            "records",
            cells(&|tier| any(tier.max_records.map(u64::from))),
        ),
        Column::required(
            "cost",
            cells(&|tier| tier.max_cost.map_or_else(|| "any".to_owned(), money)),
        ),
        Column::required("archived after", cells(&|tier| after(tier.archive_after))),
        Column::required("deleted after", cells(&|tier| after(tier.delete_after))),
        Column::optional(
            "storage class",
            cells(&|tier| match tier.archive_after {
                Some(_) => tier.storage.name().to_owned(),
                None => String::new(),
            }),
        ),
    ];
    let width = console::Term::stdout().size().1.into();
    for line in table(&columns, &vec![None; rows.len()], width) {
        output::line(line);
    }
    for (name, tier) in &rows {
        for line in archiving(name, tier, results) {
            output::line(line);
        }
    }
    if let Some(submitter) = submitter {
        output::line(of_submitter(&tiers, submitter, given.as_ref()));
    }
    Ok(Exit::Done)
}

/// Gives a submitter a tier.
pub(crate) async fn set(args: &TierSetArgs) -> Result<Exit, CliError> {
    let refused = |what: String| CliError::refused(miette!(help = NO_TIERS, "{what}"));
    let out = args.out.display();
    let found = LocalState::open(&args.out)?;
    let (control, state) =
        found.ok_or_else(|| refused(format!("there is no state directory in {out}")))?;
    let (tiering, now) = (state.tiering(&control), Utc::now());
    let tiers = tiering.tiers(now).await?;
    let tiers = tiers.ok_or_else(|| refused(format!("{out} has no file of tiers")))?;
    if let Err(unknown) = tiers.tier(&args.tier) {
        let help = "choose one of these, or add it to tiers.toml";
        return Err(CliError::refused(miette!(help = help, "{unknown}")));
    }
    let failed = |e| CliError::failed(format_args!("cannot set the tier of {}", args.submitter), e);
    let (submitters, topic) = (&*tiering.submitters, &*tiering.topic);
    let given = change_tier(submitters, topic, &args.submitter, &args.tier, now).await;
    if !given.map_err(failed)? {
        return Err(CliError::refused(miette!(
            help = "set the clock of this machine, and repeat the command",
            "{} has a tier since a later time than now",
            args.submitter
        )));
    }
    match args.json {
        true => {
            output::json(&json!({ "submitter": args.submitter, "tier": args.tier, "since": now }))
        }
        false => output::line(format_args!("{}: tier {}", args.submitter, args.tier)),
    }
    Ok(Exit::Done)
}

fn no_tiers(as_json: bool) -> Result<Exit, CliError> {
    match as_json {
        true => output::json(&json!({ "tiers": [] })),
        false => output::line(format_args!("there are no tiers: {NO_TIERS}")),
    }
    Ok(Exit::Done)
}

/// What archiving all results that are kept would cost and save with a tier, and a warning.
fn archiving(name: &str, tier: &Tier, results: Objects) -> Vec<String> {
    let Some(archiving) = tier.archiving(results) else {
        return Vec::new();
    };
    if results.count == 0 {
        return vec![format!(
            "tier `{name}`: what archiving costs and saves depends on the sizes of results, and there are none"
        )];
    }
    let year = Duration::from_secs(365 * DAY);
    let what = format!(
        "tier `{name}`: archiving the {} of all results ({} bytes) costs {} for requests, and saves {} in \
         a year",
        counted(results.count, "object"),
        results.bytes,
        archiving.requests(),
        archiving.saved(year),
    );
    let even = match archiving.break_even() {
        Some(even) => format!(
            "it saves from {} on",
            counted(even.as_secs().div_ceil(DAY), "day")
        ),
        None => "it never saves anything".to_owned(),
    };
    let warning = tier.warning(name, results);
    let warning = warning.map(|warning| format!("warning: {warning}"));
    std::iter::once(format!("{what}; {even}"))
        .chain(warning)
        .collect()
}

/// The tier of a submitter, in words.
fn of_submitter(tiers: &Tiers, submitter: &Submitter, given: Option<&GivenTier>) -> String {
    match given {
        None => format!("{submitter}: tier {}, the default", tiers.default_name()),
        Some(given) => {
            let unknown = match tiers.tier(&given.name) {
                Ok(_) => "",
                Err(_) => "; tiers.toml does not have it, so nothing is limited or archived",
            };
            let since = given.since.format("%Y-%m-%d %H:%M UTC");
            format!("{submitter}: tier {} since {since}{unknown}", given.name)
        }
    }
}

fn as_json(
    tiers: &Tiers,
    results: Objects,
    submitter: Option<&Submitter>,
    given: Option<&GivenTier>,
) -> Value {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let year = Duration::from_secs(365 * DAY);
    let all = tiers.iter().map(|(name, tier)| {
        let archiving = tier.archiving(results);
        json!({
            "tier": name,
            "default": name == tiers.default_name(),
            "max_bytes": tier.max_bytes,
            "max_records": tier.max_records,
            "max_cost": tier.max_cost,
            "archive_after_seconds": seconds(tier.archive_after),
            "delete_after_seconds": seconds(tier.delete_after),
            "archiving": archiving.map(|archiving| json!({
                "storage": tier.storage.name(),
                "objects": results.count,
                "bytes": results.bytes as f64,
                "requests_usd": archiving.requests().usd(),
                "saved_in_a_year_usd": archiving.saved(year).usd(),
                "saves_from_seconds": seconds(archiving.break_even()),
            })),
            "warning": tier.warning(name, results),
        })
    });
    json!({
        "tiers": all.collect::<Vec<_>>(),
        "submitter": submitter.map(|submitter| json!({
            "address": submitter,
            "tier": given.map_or(tiers.default_name(), |given| &given.name),
            "since": given.map(|given| given.since),
        })),
    })
}

/// A time as the file of tiers has it.
fn after(time: Option<Duration>) -> String {
    match time.map(|time| time.as_secs()) {
        None => "never".to_owned(),
        Some(seconds) if seconds % DAY == 0 => format!("{}d", seconds / DAY),
        Some(seconds) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        Some(seconds) => format!("{}m", seconds / 60),
    }
}
