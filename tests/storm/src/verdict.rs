//! Whether a run did what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _};

use rowmill_domain::run::Counts;
use rowmill_domain::{RunId, RunState, keys};
use rowmill_local::bus::Target;
use rowmill_ports::{Jobs as _, Outcomes as _};

use crate::memory::Message;
use crate::upload::Upload;
use crate::world::{WORK, World};

/// What a run delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// The state.
    pub state: RunState,
    /// The counts.
    pub counts: Counts,
    /// The sheets of the workbook, apart from the summary, as XML by their names.
    pub sheets: BTreeMap<String, String>,
}

impl World {
    /// What a run delivered.
    ///
    /// # Panics
    /// If it has no result.
    pub fn delivered(&self, id: &RunId) -> Delivered {
        let run = self.run(id).expect("the run");
        let key = run.result.as_ref();
        let key = key.unwrap_or_else(|| panic!("{id} has no result: {run:?}"));
        let workbook = self.objects.read(WORK, key).expect("the workbook");
        Delivered {
            state: run.state,
            counts: run.counts,
            sheets: sheets(&workbook),
        }
    }

    /// Whether the run failed because every attempt of the event of its upload did.
    pub fn gave_up(&self, id: &RunId, upload: &Upload) -> bool {
        let failed = self.run(id).and_then(|run| run.failure);
        let is_split = |(message, _): &(Message, String)| {
            let payload = message.letter.payload.to_string();
            message.letter.target == Target::Split && payload.contains(&upload.name)
        };
        let dead = self.bus.dead();
        failed.is_some_and(|failure| failure.stage == "split") && dead.iter().any(is_split)
    }

    /// Checks that a run sent at least one email, and only one kind besides the notice that its result is
    /// late. Returns the number of emails.
    ///
    /// # Errors
    /// What is wrong.
    pub fn mails(&self, id: &RunId) -> Result<usize, String> {
        let sent = self.mailer.sent();
        let ours: Vec<_> = sent.iter().filter(|m| m.envelope.run == *id).collect();
        let kinds: BTreeSet<String> = ours
            .iter()
            .map(|mail| {
                let text = String::from_utf8_lossy(&mail.mime);
                let mut lines = text.lines();
                let line = lines.find(|line| line.starts_with("Subject:"));
                line.unwrap_or_default().to_owned()
            })
            // A notice that the result is late comes before the result.
            .filter(|subject| !subject.trim_end().ends_with(": the result is late"))
            .collect();
        match kinds.len() {
            1 => Ok(ours.len()),
            0 => Err(format!("{id}: no email")),
            _ => Err(format!("{id}: emails of several kinds: {kinds:?}")),
        }
    }

    /// What is left although every run is cleaned up.
    pub async fn leftovers(&self) -> Vec<String> {
        let objects = self.objects.keys(WORK).into_iter();
        let mut left: Vec<String> = objects.filter(|key| key.starts_with(keys::RUNS)).collect();
        let tables = self.outcomes.list_tables().await.expect("tables");
        left.extend(tables.iter().map(|run| format!("table {run}")));
        left.extend(self.batch.definitions("").await.expect("definitions"));
        left.extend(self.bus.schedules().iter().map(|s| format!("schedule {s}")));
        if self.batch.open_jobs() > 0 {
            left.push(format!("{} open jobs", self.batch.open_jobs()));
        }
        left
    }
}

/// The sheets of a workbook, apart from the summary, whose times differ.
fn sheets(workbook: &[u8]) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(workbook)).expect("a zip");
    let mut part = |name: &str| {
        let mut text = String::new();
        let mut file = archive.by_name(name).expect(name);
        file.read_to_string(&mut text).expect("text");
        text
    };
    let names = part("xl/workbook.xml");
    let names = names
        .split("<sheet name=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let numbered = names
        .enumerate()
        .map(|(at, name)| (at + 1, name.to_owned()));
    numbered
        .filter(|(_, name)| name != "Summary")
        .map(|(number, name)| (name, part(&format!("xl/worksheets/sheet{number}.xml"))))
        .collect()
}
