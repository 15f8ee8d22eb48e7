//! The notice that the result of a run is late. It does not end the run.

use chrono::{DateTime, Utc};
use lettre::message::SinglePart;
use rowmill_domain::RunId;

use super::mime::{fold, head};
use super::recipients::Recipients;
use super::wrap::wrapped;

/// What the notice says.
pub(crate) struct Late<'a> {
    /// The uploaded file.
    pub(crate) file: &'a str,
    /// Why, and what to do.
    pub(crate) why: String,
    /// The starts of report so far.
    pub(crate) starts: u32,
    /// The hours between further starts.
    pub(crate) hours: u64,
    /// When the run fails.
    pub(crate) until: DateTime<Utc>,
}

/// The notice. The same input gives the same bytes.
pub(crate) fn late(
    run: &RunId,
    from: &str,
    to: &Recipients,
    late: &Late<'_>,
    date: DateTime<Utc>,
) -> Result<Vec<u8>, String> {
    let Late {
        file,
        why,
        starts,
        hours,
        until,
    } = late;
    let text = format!(
        "The rows of {file} are processed, but the result workbook could not be created: {starts} \
         starts failed.\n\n{why}\n\n\
         What to do: forward this email to the person who operates Rowmill. The processed rows are \
         kept. Rowmill tries again every {hours} hours until {}, and sends the result once it works. \
         After that the run fails.\n\nRun: {run}\n",
        until.format("%-d %B %Y")
    );
    let name = format!("{run}-late");
    let subject = format!("{file}: the result is late");
    let message = head(&name, from, to, subject, date)?;
    let message = message.singlepart(SinglePart::plain(wrapped(&text)));
    Ok(fold(&message.map_err(|e| e.to_string())?.formatted(), &[]))
}
