//! `GET /runs/{run}/rows`: pages of rows, filters and counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use rowmill_domain::record::Json as AsJson;
use rowmill_domain::review::Review;
use rowmill_domain::{RunId, Status};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::runs::find;
use crate::access::Caller;
use crate::answer::with_etag;
use crate::indexed::{FullRow, Indexed};
use crate::problem::Problem;
use crate::request::{InPath, Parameters};
use crate::reviewed::Reviewed;
use crate::service::Service;

/// Rows in a page by default, and at most.
const PAGE: usize = 50;
const PAGE_MOST: usize = 100;

/// The most bytes of the rows in a page, unless it has only one. Source: Lambda quotas, 6 MB for a
/// response.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Rows whose texts are read at once.
const SCAN: usize = 2048;

/// The most rows whose texts one request reads.
const SCAN_MOST: usize = 50_000;

/// Which rows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct RowFilter {
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::openapi::Status>))]
    status: Option<Status>,
    text: Option<String>,
    label: Option<String>,
    verdict: Option<VerdictFilter>,
    min_probability: Option<f32>,
    max_probability: Option<f32>,
}

/// `verdict` of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) enum VerdictFilter {
    Open,
    Approved,
    Overridden,
}

impl VerdictFilter {
    fn name(self) -> &'static str {
        match self {
            VerdictFilter::Open => "open",
            VerdictFilter::Approved => "approved",
            VerdictFilter::Overridden => "overridden",
        }
    }
}

/// The parameters of `GET /runs/{run}/rows`. Not flattened: numbers would be texts then.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub(crate) struct Page {
    after: Option<String>,
    limit: Option<usize>,
    sort: Option<Sort>,
    #[serde(default)]
    facets: bool,
    #[cfg_attr(feature = "openapi", param(value_type = Option<crate::openapi::Status>))]
    status: Option<Status>,
    text: Option<String>,
    label: Option<String>,
    verdict: Option<VerdictFilter>,
    min_probability: Option<f32>,
    max_probability: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) enum Sort {
    Row,
    LeastCertain,
}

/// A filter on an index. The position of a label is looked up once.
struct Matcher<'a> {
    filter: &'a RowFilter,
    /// `Some(None)`: a label that no row has.
    label: Option<Option<u16>>,
}

/// Which conditions of a filter a row meets.
struct Met {
    status: bool,
    label: bool,
    probability: bool,
}

impl Met {
    fn all(&self) -> bool {
        self.status && self.label && self.probability
    }
}

impl<'a> Matcher<'a> {
    fn new(filter: &'a RowFilter, index: &Indexed) -> Matcher<'a> {
        let position = |label: &String| {
            let at = index.info.labels.iter().position(|known| known == label);
            at.and_then(|at| u16::try_from(at).ok())
        };
        Matcher {
            filter,
            label: filter.label.as_ref().map(position),
        }
    }

    fn met(&self, index: &Indexed, position: usize) -> Met {
        let (row, filter) = (&index.rows[position], self.filter);
        let probability = match (filter.min_probability, filter.max_probability) {
            (None, None) => true,
            (min, max) => row
                .probability
                .is_some_and(|p| min.is_none_or(|min| p >= min) && max.is_none_or(|max| p <= max)),
        };
        Met {
            status: filter.status.is_none_or(|status| status == row.status),
            label: self
                .label
                .is_none_or(|label| label.is_some() && row.label == label),
            probability,
        }
    }
}

/// Whether a value of the row contains the text, which is in lower case.
fn has_text(index: &Indexed, row: &FullRow, text: &str) -> bool {
    let values = index.values(row).values();
    values
        .into_iter()
        .any(|(_, value)| value.to_text().to_lowercase().contains(text))
}

/// The positions of rows, among those given, that contain the text.
async fn with_text(
    service: &Service,
    index: &Indexed,
    positions: &[usize],
    text: &str,
) -> Result<Vec<usize>, Problem> {
    let text = text.to_lowercase();
    let rows = index.read_rows(&service.work, positions).await?;
    let found = positions.iter().copied();
    let found = found.filter(|at| rows.get(at).is_some_and(|row| has_text(index, row, &text)));
    Ok(found.collect())
}

/// All rows that a filter matches.
pub(crate) async fn matching(
    service: &Service,
    index: &Indexed,
    reviewed: &Reviewed,
    filter: &RowFilter,
) -> Result<Vec<usize>, Problem> {
    let matcher = Matcher::new(filter, index);
    let mut found = Vec::new();
    for position in 0..index.rows.len() {
        if !matcher.met(index, position).all() {
            continue;
        }
        let fits = filter
            .verdict
            .is_none_or(|verdict| verdict.name() == reviewed.verdict(index, position));
        if fits {
            found.push(position);
        }
    }
    let Some(text) = &filter.text else {
        return Ok(found);
    };
    let mut with = Vec::new();
    for part in found.chunks(SCAN) {
        with.extend(with_text(service, index, part, text).await?);
    }
    Ok(with)
}

/// A page of rows.
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    headers: HeaderMap,
    Parameters(page): Parameters<Page>,
) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MOST).contains(&limit) {
        return Err(Problem::invalid(format!(
            "`limit` must be from 1 to {PAGE_MOST}."
        )));
    }
    let run = find(&service, &caller, &run).await?;
    let index = service.indexes.get(&service.work, &run).await?;
    let filter = RowFilter {
        status: page.status,
        text: page.text.filter(|text| !text.is_empty()),
        label: page.label,
        verdict: page.verdict,
        min_probability: page.min_probability,
        max_probability: page.max_probability,
    };
    let by_row = match page.sort {
        Some(sort) => sort == Sort::Row,
        None => index.info.review.is_none(),
    };
    let mut from = page.after.as_deref().map_or(Ok(0), |after| {
        let at = after.parse::<u32>().ok();
        let at = at.and_then(|row| index.position(row));
        let at = at.ok_or_else(|| {
            Problem::invalid("`after` must be the `next` of another page of this run.")
        })?;
        Ok::<_, Problem>(match by_row {
            true => at + 1,
            false => {
                let certainty = |at: usize| {
                    let row = &index.rows[at];
                    (row.probability.unwrap_or(f32::INFINITY), row.row)
                };
                let (probability, row) = certainty(at);
                index.least_certain.partition_point(|other| {
                    let other = certainty(*other as usize);
                    let order = other.0.total_cmp(&probability).then(other.1.cmp(&row));
                    order.is_le()
                })
            }
        })
    })?;

    // All reviews only if they decide which rows match, or are counted.
    let needs_all = filter.verdict.is_some() || page.facets;
    let mut reviewed = match needs_all {
        true => Some(Reviewed::all(&*service.reviews, &run.id).await?),
        false => None,
    };
    let (mut total, mut facets) = (None, None);
    // Counts of a text need the texts of all rows that otherwise match.
    if filter.text.is_none() || index.rows.len() <= SCAN_MOST {
        let counts = count(&service, &index, reviewed.as_ref(), &filter).await?;
        total = Some(counts.total);
        facets = page.facets.then(|| counts.facets());
    }

    let matcher = Matcher::new(&filter, &index);
    let at = |place: usize| match by_row {
        true => place,
        false => index.least_certain[place] as usize,
    };
    let fits = |position: usize, reviewed: Option<&Reviewed>| {
        let verdict = filter
            .verdict
            .zip(reviewed)
            .is_none_or(|(verdict, all)| verdict.name() == all.verdict(&index, position));
        verdict && matcher.met(&index, position).all()
    };
    let (mut positions, mut scanned) = (Vec::new(), 0);
    while positions.len() <= limit && from < index.rows.len() && scanned < SCAN_MOST {
        // One row more than the page, to know whether there is another page.
        let most = if filter.text.is_some() {
            SCAN
        } else {
            limit + 1
        };
        let mut part = Vec::new();
        while part.len() < most && from < index.rows.len() {
            let position = at(from);
            if fits(position, reviewed.as_ref()) {
                part.push(position);
            }
            from += 1;
        }
        match &filter.text {
            Some(text) => {
                scanned += part.len();
                positions.extend(with_text(&service, &index, &part, text).await?);
            }
            None => positions.extend(part),
        }
    }
    let more = positions.len() > limit;
    positions.truncate(limit);
    let next = match (more, positions.last()) {
        (true, Some(last)) => Some(index.rows[*last].row.to_string()),
        // The search of a text stopped; it continues with the next page.
        _ if from < index.rows.len() && from > 0 => Some(index.rows[at(from - 1)].row.to_string()),
        _ => None,
    };
    let numbers: Vec<u32> = positions.iter().map(|at| index.rows[*at].row).collect();
    let reviewed = match reviewed.take() {
        Some(all) => all,
        None => Reviewed::of(&*service.reviews, &run.id, &numbers).await?,
    };
    let full = index.read_rows(&service.work, &positions).await?;
    let (mut rows, mut bytes, mut next) = (Vec::new(), 0, next);
    for at in &positions {
        let Some(full) = full.get(at) else { continue };
        let row = as_json(&index, &reviewed, *at, full);
        bytes += row.to_string().len();
        if bytes > PAGE_BYTES && !rows.is_empty() {
            next = rows.last().map(|last: &Value| last["row"].to_string());
            break;
        }
        rows.push(row);
    }
    let answer = json!({
        "columns": index.info.columns,
        "rows": rows,
        "next": next,
        "facets": facets,
        "total": total,
    });
    with_etag(&headers, &answer)
}

fn as_json(index: &Indexed, reviewed: &Reviewed, position: usize, full: &FullRow) -> Value {
    let row = &index.rows[position];
    let values: Map<String, Value> = index
        .values(full)
        .values()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(AsJson(value))))
        .collect();
    // As it was stored: the index has fewer digits.
    let column = index.info.review.as_ref();
    let probability = column.and_then(|review| values.get(review.probability.as_ref()?));
    let (review, version) = reviewed.at(index, position);
    json!({
        "row": row.row,
        "status": row.status,
        "error": full.outcome.error,
        "prediction": index.prediction(position),
        "probability": probability,
        "values": values,
        "review": review_json(review.as_ref(), version),
    })
}

/// A review with its version; null without one.
pub(crate) fn review_json(review: Option<&Review>, version: u32) -> Value {
    let Some(review) = review else {
        return Value::Null;
    };
    json!({
        "verdict": review.verdict,
        "final": review.value,
        "reviewer": review.reviewer,
        "time": review.time,
        "version": version,
    })
}

/// How many rows match, and how many there are of each kind.
#[derive(Default)]
struct Counts {
    total: u64,
    /// In the order of [`STATUSES`].
    status: [u64; 3],
    label: BTreeMap<String, u64>,
    /// In the order of [`VERDICTS`].
    verdict: [u64; 3],
}

const STATUSES: [Status; 3] = [Status::Ok, Status::Failed, Status::Missing];
const VERDICTS: [&str; 3] = ["open", "approved", "overridden"];

impl Counts {
    fn facets(self) -> Value {
        let counted = |names: [&'static str; 3], counts: [u64; 3]| {
            let pairs = names.into_iter().zip(counts);
            pairs
                .filter(|(_, count)| *count > 0)
                .collect::<BTreeMap<_, _>>()
        };
        json!({
            "status": counted(STATUSES.map(Status::name), self.status),
            "label": self.label,
            "verdict": counted(VERDICTS, self.verdict),
        })
    }
}

/// Counts the rows that match. Each facet counts the rows that meet all other conditions, so that it
/// shows what choosing another value would give.
async fn count(
    service: &Service,
    index: &Indexed,
    reviewed: Option<&Reviewed>,
    filter: &RowFilter,
) -> Result<Counts, Problem> {
    let matcher = Matcher::new(filter, index);
    let mut with = Vec::new();
    if let Some(text) = &filter.text {
        let all: Vec<usize> = (0..index.rows.len()).collect();
        for part in all.chunks(SCAN) {
            with.extend(with_text(service, index, part, text).await?);
        }
    }
    let positions: Box<dyn Iterator<Item = usize> + Send> = match filter.text {
        Some(_) => Box::new(with.into_iter()),
        None => Box::new(0..index.rows.len()),
    };
    let mut counts = Counts::default();
    let mut labels = vec![0_u64; index.info.labels.len()];
    for position in positions {
        let met = matcher.met(index, position);
        if !met.probability {
            continue;
        }
        let verdict = reviewed.map_or("open", |reviewed| reviewed.verdict(index, position));
        let fits = filter.verdict.is_none_or(|wanted| wanted.name() == verdict);
        if met.all() && fits {
            counts.total += 1;
        }
        if met.label && fits {
            counts.status[index.rows[position].status as usize] += 1;
        }
        if met.status
            && fits
            && let Some(label) = index.rows[position].label
            && let Some(count) = labels.get_mut(usize::from(label))
        {
            *count += 1;
        }
        if met.status && met.label {
            let at = VERDICTS.iter().position(|name| *name == verdict);
            counts.verdict[at.unwrap_or_default()] += 1;
        }
    }
    let names = index.info.labels.iter().cloned();
    counts.label = names.zip(labels).filter(|(_, count)| *count > 0).collect();
    Ok(counts)
}

/// The numbers of verdicts of a run, and how often the predictions were right.
pub(crate) async fn summary(
    service: &Service,
    run: &RunId,
    index: &Indexed,
) -> Result<(Value, Value), Problem> {
    let reviewed = Reviewed::all(&*service.reviews, run).await?;
    let (mut approved, mut overridden, mut total) = (0_u64, 0_u64, 0_u64);
    let mut labels: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for position in 0..index.rows.len() {
        if index.rows[position].status != Status::Ok {
            continue;
        }
        total += 1;
        let Some(review) = reviewed.at(index, position).0 else {
            continue;
        };
        let prediction = index.prediction(position).unwrap_or_default();
        let right = review.value == prediction;
        match review.verdict {
            "approved" => approved += 1,
            _ => overridden += 1,
        }
        let label = labels.entry(prediction).or_default();
        label.0 += 1;
        label.1 += u64::from(right);
    }
    let accuracy: Vec<Value> = labels
        .into_iter()
        .map(|(label, (reviewed, right))| {
            json!({ "label": label, "reviewed": reviewed, "right": right })
        })
        .collect();
    let counts = json!({
        "total": total,
        "approved": approved,
        "overridden": overridden,
        "open": total - approved - overridden,
    });
    Ok((counts, json!(accuracy)))
}
