//! Estimates how much memory calamine needs for an xls file: calamine stores the cells of a sheet as
//! the full rectangle that they span.

use std::collections::HashMap;

use super::bytes::{u16_at, u32_at};

/// The total number of cells in the rectangles that the sheets of an xls stream span or declare to
/// span. calamine allocates memory for that many cells. This walks the stream as calamine does: from
/// each offset at which the globals say that a sheet starts. Offsets may repeat, and may point into a
/// record. Record numbers are from MS-XLS 2.3.
pub(crate) fn spanned_cells(stream: &[u8]) -> u64 {
    let mut known = HashMap::new();
    let mut total = 0u64;
    for (kind, body) in records(stream, 0) {
        match kind {
            0x0085 => {
                let Some(start) = u32_at(body, 0) else {
                    break;
                };
                let cells = known
                    .entry(start)
                    .or_insert_with(|| sheet_cells(stream, start as usize));
                total = total.saturating_add(*cells);
            }
            END => break,
            _ => {}
        }
    }
    total
}

/// The end of a sheet or of the globals.
const END: u16 = 0x000a;

/// The records from `at` on, as kind and body, up to the first that is incomplete.
fn records(stream: &[u8], mut at: usize) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(stream, at)?, u16_at(stream, at + 2)?);
        let begin = at + 4;
        at = begin + usize::from(length);
        Some((kind, stream.get(begin..at)?))
    })
}

/// [`spanned_cells`] of the sheet that starts at `start`.
fn sheet_cells(stream: &[u8], start: usize) -> u64 {
    let mut span: Option<[u16; 4]> = None;
    let mut declared = 0;
    let mut formula = false;
    // Charts embedded in a sheet have their own cells. Skip them.
    let (mut begun, mut depth) = (false, 0u32);
    for (kind, body) in records(stream, start) {
        match kind {
            0x0809 if depth > 0 || begun => depth += 1,
            0x0809 => begun = true,
            END if depth > 0 => depth -= 1,
            END => break,
            _ if depth > 0 => {}
            0x0200 => declared = declared.max(dimension_cells(body).unwrap_or(0)),
            // The text result of a formula has no position. calamine uses that of the last formula,
            // or the first cell if the sheet has had no formula yet.
            0x0207 if !formula => {
                span = Some(span.map_or([0; 4], |[_, _, bottom, right]| [0, 0, bottom, right]));
            }
            // Formula, number, label, boolean or error, string, RK, multiple RK, shared text.
            0x0006 | 0x0203 | 0x0204 | 0x0205 | 0x00d6 | 0x027e | 0x00bd | 0x00fd => {
                formula |= kind == 0x0006;
                let (Some(row), Some(column)) = (u16_at(body, 0), u16_at(body, 2)) else {
                    continue;
                };
                let last = match kind {
                    0x00bd => u16_at(body, body.len().saturating_sub(2)).unwrap_or(column),
                    _ => column,
                };
                let [top, left, bottom, right] = span.unwrap_or([row, column, row, column]);
                span = Some([
                    top.min(row),
                    left.min(column),
                    bottom.max(row),
                    right.max(column).max(last),
                ]);
            }
            _ => {}
        }
    }
    let area = span.map_or(0, |[top, left, bottom, right]| {
        (u64::from(bottom - top) + 1) * (u64::from(right - left) + 1)
    });
    area.max(declared)
}

/// The number of cells for which a DIMENSIONS record makes calamine allocate memory. The record holds
/// the first row and the row after the last, and the same for columns. If the first is greater than
/// the last, the difference wraps around in calamine.
fn dimension_cells(body: &[u8]) -> Option<u64> {
    let wide = body.len() >= 14;
    let row = |n: usize| match wide {
        true => u32_at(body, 4 * n),
        false => u16_at(body, 2 * n).map(u32::from),
    };
    let columns = if wide { 8 } else { 4 };
    let (left, right) = (u16_at(body, columns)?, u16_at(body, columns + 2)?);
    let left = if left > 0xff || right < left { 0 } else { left };
    let rows = u64::from(row(1)?.wrapping_sub(row(0)?));
    Some(rows.saturating_mul(u64::from(right - left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, body: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [kind, body.len() as u16 * 2].iter().chain(body) {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// A stream whose globals list sheets at these offsets into `rest`.
    fn stream(places: &[usize], rest: &[u8]) -> Vec<u8> {
        let bound = |place: usize| {
            let place = place as u32;
            record(0x0085, &[place as u16, (place >> 16) as u16, 0, 1, 97])
        };
        let front = 8 + places.len() * bound(0).len() + 4;
        let mut all = record(0x0809, &[0x0600, 0x0005]);
        all.extend(places.iter().flat_map(|place| bound(front + place)));
        all.extend(record(END, &[]));
        all.extend(rest);
        all
    }

    fn cells(sheet: &[u8]) -> u64 {
        spanned_cells(&stream(&[0], sheet))
    }

    #[test]
    fn cells_of_all_sheets_are_summed() {
        let begin = record(0x0809, &[0x0600, 0x0010]);
        let cell = |row, column| record(0x0203, &[row, column, 15, 0, 0, 0, 0]);
        let sheet = [
            begin.clone(),
            cell(0, 0),
            record(0x00bd, &[9, 2, 1, 1, 1, 1, 1, 1, 4]),
            // A chart in the sheet, with its own cell.
            begin.clone(),
            cell(60_000, 200),
            record(END, &[]),
            record(END, &[]),
        ]
        .concat();
        assert_eq!(cells(&sheet), 50);
        let lone = [begin, cell(0, 0), cell(65_535, 255)].concat();
        let both = [&sheet[..], &lone].concat();
        let places = [0, sheet.len()];
        assert_eq!(spanned_cells(&stream(&places, &both)), 50 + 65_536 * 256);
        // Content that no sheet starts at does not count. Content that several sheets start at counts
        // for each.
        assert_eq!(spanned_cells(&stream(&[], &both)), 0);
        assert_eq!(spanned_cells(&stream(&[0, 0, 0, 9999], &both)), 150);
        // A sheet may start inside a record: here in the last eight bytes of a number.
        let hidden = record(0x0203, &[7, 7, 0, 0x0200, 10, 1, 3]);
        let hidden = [hidden, vec![0, 0, 1, 0, 0, 0]].concat();
        assert_eq!(spanned_cells(&stream(&[0], &hidden)), 1);
        assert_eq!(spanned_cells(&stream(&[10], &hidden)), 2);
        assert_eq!(spanned_cells(&[9, 8, 255]), 0);
        // A declared size alone counts too: rows 1 to 65,533, columns 0 to 15,103.
        let declared = record(0x0200, &[1, 0xfffe, 0xffff, 0x3b00, 0]);
        assert_eq!(cells(&declared), 65_533 * 15_104);
        let backwards = record(0x0200, &[2, 0, 1, 0, 0, 1, 0]);
        assert_eq!(cells(&backwards), u64::from(u32::MAX));
    }

    /// Found by fuzzing: a few bytes made calamine allocate 137 GB.
    #[test]
    fn a_text_result_before_any_formula_counts_as_the_first_cell() {
        let number = record(0x0203, &[99, 9, 15, 0, 0, 0, 0]);
        let formula = record(0x0006, &[99, 9, 15, 0, 0, 0, 0, 0, 0, 0]);
        let text = record(0x0207, &[1, 0]);
        assert_eq!(cells(&[number, text.clone()].concat()), 1000);
        assert_eq!(cells(&[formula, text].concat()), 1);
    }
}
