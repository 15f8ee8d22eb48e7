//! The result of an earlier run as input: its generated columns are not read again.

use crate::Pipeline;
use crate::check::{RESULT_COLUMNS, result_headers};

/// The first columns of the sheet `Rejected` of every result.
pub const REJECTED_COLUMNS: [&str; 3] = ["row", "reason", "detail"];

/// The columns of a result that are input, and those that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resubmitted {
    /// The places of the input columns in the header of the result, in ascending order.
    pub kept: Vec<usize>,
    /// The names of the input columns: those that they had in the original workbook.
    pub names: Vec<String>,
    /// The names of the generated columns.
    pub ignored: Vec<String>,
}

impl Pipeline {
    /// Separates the input columns of a result from the generated ones. `added` are the columns that the
    /// earlier run added; those that this pipeline adds are generated too.
    pub fn resubmitted(&self, header: &[String], added: &[String]) -> Resubmitted {
        let now = self.added_columns();
        let is_rejected = header.iter().take(3).eq(REJECTED_COLUMNS.iter());
        let mut found = Resubmitted::default();
        for (at, name) in header.iter().enumerate() {
            let generated = match is_rejected {
                true => at < REJECTED_COLUMNS.len(),
                false => {
                    RESULT_COLUMNS.contains(&name.as_str())
                        || added.contains(name)
                        || now.contains(name)
                }
            };
            match generated {
                true => found.ignored.push(name.clone()),
                false => {
                    found.kept.push(at);
                    found.names.push(name.clone());
                }
            }
        }
        restore_names(&mut found.names);
        found
    }
}

/// Undoes [`result_headers`]: `status (input)` is `status` again.
fn restore_names(names: &mut [String]) {
    let mut original = names.to_vec();
    for name in &mut original {
        let own = RESULT_COLUMNS.iter().find(|own| {
            let rest = name.strip_prefix(**own);
            rest.is_some_and(|rest| rest.starts_with(" (input") && rest.ends_with(')'))
        });
        if let Some(own) = own {
            (*own).clone_into(name);
        }
    }
    // Only if these really are the names that the result gave to the original ones.
    if result_headers(&original) == names {
        names.clone_from_slice(&original);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn pipeline() -> Pipeline {
        let toml = "[[column]]\nname = \"tax\"\nvalue = \"1\"\n";
        Pipeline::parse("p.toml", toml).unwrap()
    }

    #[test]
    fn a_result_without_its_generated_columns_is_the_original() {
        for input in [
            &["Id", "Amount"] as &[&str],
            &["status", "Id", "error"],
            &["attempts (input 2)", "x"],
        ] {
            let input = names(input);
            let mut header = result_headers(&input);
            header.extend(names(&["old", "tax", "status", "error", "attempts"]));
            let found = pipeline().resubmitted(&header, &names(&["old"]));
            assert_eq!(found.names, input);
            assert_eq!(found.kept, (0..input.len()).collect::<Vec<_>>());
            assert_eq!(
                found.ignored,
                names(&["old", "tax", "status", "error", "attempts"])
            );
            assert!(pipeline().check_columns(&found.names).is_empty());
        }
    }

    #[test]
    fn columns_may_have_been_moved_or_removed() {
        let header = names(&["status", "Amount", "tax", "Id"]);
        let found = pipeline().resubmitted(&header, &[]);
        assert_eq!(found.names, names(&["Amount", "Id"]));
        assert_eq!(found.kept, [1, 3]);
    }

    #[test]
    fn the_sheet_of_rejected_rows_is_read_without_their_reasons() {
        let header = names(&["row", "reason", "detail", "Id", "Amount"]);
        let found = pipeline().resubmitted(&header, &[]);
        assert_eq!(found.names, names(&["Id", "Amount"]));
        assert_eq!(found.kept, [3, 4]);
    }
}
