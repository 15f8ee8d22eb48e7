//! Selects the sheet to read.

use std::path::Path;

use rowmill_domain::SheetRef;

use super::error::ReadError;

/// The index of the requested sheet, or of the first visible sheet if none is requested. `sheets`
/// holds the name of each sheet and whether it is visible.
pub(crate) fn select_sheet(
    path: &Path,
    wanted: Option<&SheetRef>,
    sheets: &[(&str, bool)],
) -> Result<usize, ReadError> {
    let found = match wanted {
        None => sheets.iter().position(|s| s.1),
        Some(SheetRef::Index(index)) => (*index as usize)
            .checked_sub(1)
            .filter(|i| *i < sheets.len()),
        Some(SheetRef::Name(name)) => {
            // Sheet names are case-insensitive in Excel.
            let folded = name.to_lowercase();
            let exact = sheets.iter().position(|s| s.0 == name);
            exact.or_else(|| sheets.iter().position(|s| s.0.to_lowercase() == folded))
        }
    };
    found.ok_or_else(|| {
        let names: Vec<String> = sheets.iter().map(|s| format!("`{}`", s.0)).collect();
        ReadError::NoSheet {
            file: path.to_owned(),
            wanted: match wanted {
                None => "visible sheet".to_owned(),
                Some(SheetRef::Index(index)) => format!("sheet number {index}"),
                Some(SheetRef::Name(name)) => format!("sheet `{name}`"),
            },
            sheets: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        }
    })
}
