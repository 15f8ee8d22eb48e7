//! The column in which a person corrects the reviewed one, and the labels that its cells offer.

use std::collections::BTreeSet;

use rowmill_domain::Value;
use rust_xlsxwriter::{DataValidation, Formula, Note, Workbook, XlsxError};

use super::row::truncate;
use super::spec::ReviewSpec;

/// The hidden sheet that has the labels. A list inside a validation has at most 255 characters and
/// cannot have a comma in a label. Source: Excel specifications, "Apply data validation to cells".
const SHEET: &str = "Labels";
/// The most labels that are offered. A column with more distinct values has no classes.
const LABELS_MAX: usize = 1_000;

/// The labels of a result that is being written.
pub(super) struct Labels {
    spec: ReviewSpec,
    /// Those that occur, if the pipeline does not list them.
    seen: BTreeSet<String>,
}

impl Labels {
    pub(super) fn new(spec: &ReviewSpec) -> Labels {
        Labels {
            spec: spec.clone(),
            seen: BTreeSet::new(),
        }
    }

    /// Adds the label of a row.
    pub(super) fn add(&mut self, label: &str) {
        if self.spec.closed || self.seen.contains(label) || self.seen.len() > LABELS_MAX {
            return;
        }
        self.seen.insert(label.to_owned());
    }

    /// The labels that a person can choose. Empty: there are too many, or none.
    fn offered(mut self) -> Vec<String> {
        if self.spec.closed {
            self.spec.labels.truncate(LABELS_MAX);
            return self.spec.labels;
        }
        self.seen.extend(self.spec.labels);
        match self.seen.len() > LABELS_MAX {
            true => Vec::new(),
            false => self.seen.into_iter().collect(),
        }
    }

    /// What the frame of a workbook needs. `at`: the place of the column on the sheet `Results`.
    pub(super) fn dropdown(self, at: usize) -> Result<Dropdown, XlsxError> {
        let note = format!(
            "To correct a prediction, choose another label. Do not change other columns. {}",
            self.spec.advice
        );
        let note = Note::new(note)
            .set_author("Rowmill")
            .add_author_prefix(false)
            .set_width(260)
            .set_height(150);
        let name = self.spec.name.clone();
        let labels = self.offered();
        let list = format!("={SHEET}!$A$1:$A${}", labels.len());
        let validation = DataValidation::new()
            .allow_list_formula(Formula::new(list))
            .set_error_title("Not a label")?
            .set_error_message(format!(
                "Choose one of the labels in the list, or press Escape to keep the value.{}",
                match name.chars().count() <= 100 {
                    true => format!(" Column: {name}."),
                    false => String::new(),
                }
            ))?;
        Ok(Dropdown {
            column: at as u16,
            note,
            validation,
            labels,
        })
    }
}

/// What the column needs besides its cells.
pub(super) struct Dropdown {
    column: u16,
    note: Note,
    validation: DataValidation,
    labels: Vec<String>,
}

impl Dropdown {
    /// Adds the note and the dropdown to a sheet whose last row is `last`, counted from 0.
    pub(super) fn add_to(
        &self,
        sheet: &mut rust_xlsxwriter::Worksheet,
        last: u32,
    ) -> Result<(), XlsxError> {
        sheet.insert_note(0, self.column, &self.note)?;
        if last > 0 && !self.labels.is_empty() {
            sheet.add_data_validation(1, self.column, last, self.column, &self.validation)?;
        }
        Ok(())
    }

    /// Adds the hidden sheet with the labels.
    pub(super) fn write_labels(&self, book: &mut Workbook) -> Result<(), XlsxError> {
        if self.labels.is_empty() {
            return Ok(());
        }
        let sheet = book.add_worksheet();
        sheet.set_name(SHEET)?.set_hidden(true);
        for (row, label) in (0..).zip(&self.labels) {
            sheet.write_string(row, 0, truncate(label))?;
        }
        Ok(())
    }
}

/// The text of a reviewed value, as a label.
pub(super) fn label(value: &Value) -> std::borrow::Cow<'_, str> {
    match value {
        Value::Text(text) => text.as_str().into(),
        value => value.to_text().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(closed: bool, listed: &[&str], seen: &[String]) -> Vec<String> {
        let mut labels = Labels::new(&ReviewSpec {
            labels: listed.iter().map(|label| (*label).to_owned()).collect(),
            closed,
            ..ReviewSpec::default()
        });
        seen.iter().for_each(|label| labels.add(label));
        labels.offered()
    }

    #[test]
    fn labels_that_occur_are_offered_unless_the_pipeline_lists_its_own() {
        let seen = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(offered(false, &["c"], &seen), ["a", "b", "c"]);
        assert_eq!(offered(true, &["c", "a"], &seen), ["c", "a"]);
    }

    #[test]
    fn a_column_of_too_many_values_offers_none() {
        let values: Vec<String> = (0..=LABELS_MAX).map(|n| n.to_string()).collect();
        assert_eq!(offered(false, &[], &values[1..]).len(), LABELS_MAX);
        assert_eq!(offered(false, &[], &values), Vec::<String>::new());
    }
}
