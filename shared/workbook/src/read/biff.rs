//! Records of an xls stream, as far as needed to know what calamine would make of them.

use std::collections::HashMap;

use super::bytes::{u16_at, u32_at};

/// Cells of the rectangles that the sheets of an xls stream span or say that they span, in all: for
/// as many calamine takes memory. It is walked through as calamine does: from each place at which
/// the front says that a sheet begins, which may be one place many times, or within a record.
/// Source of the record numbers: MS-XLS 2.3.
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

/// The end of a sheet or of the front.
const END: u16 = 0x000a;

/// The records from `at` on, each with its kind and its body, up to one that is cut off.
fn records(stream: &[u8], mut at: usize) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(stream, at)?, u16_at(stream, at + 2)?);
        let begin = at + 4;
        at = begin + usize::from(length);
        Some((kind, stream.get(begin..at)?))
    })
}

/// [`spanned_cells`] of the sheet that begins at `start`.
fn sheet_cells(stream: &[u8], start: usize) -> u64 {
    let mut span: Option<[u16; 4]> = None;
    let mut said = 0;
    let mut formula = false;
    // Charts within a sheet have cells of their own, which are passed over.
    let (mut begun, mut depth) = (false, 0u32);
    for (kind, body) in records(stream, start) {
        match kind {
            0x0809 if depth > 0 || begun => depth += 1,
            0x0809 => begun = true,
            END if depth > 0 => depth -= 1,
            END => break,
            _ if depth > 0 => {}
            0x0200 => said = said.max(declared(body).unwrap_or(0)),
            // A formula's text has no place of its own: calamine puts it where the last formula was,
            // and before a sheet's first one into the first cell.
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
    area.max(said)
}

/// Cells that a record of dimensions makes calamine take memory for: it holds the first row, the one
/// after the last, and columns likewise; a first one beyond the last wraps around there.
fn declared(body: &[u8]) -> Option<u64> {
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

    /// A stream whose front names sheets at these places of what follows it.
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
    fn rectangles_are_summed_over_sheets() {
        let begin = record(0x0809, &[0x0600, 0x0010]);
        let cell = |row, column| record(0x0203, &[row, column, 15, 0, 0, 0, 0]);
        let sheet = [
            begin.clone(),
            cell(0, 0),
            record(0x00bd, &[9, 2, 1, 1, 1, 1, 1, 1, 4]),
            // A chart in the sheet, with a cell of its own.
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
        // What no sheet begins at is not read, and what many do is, each time.
        assert_eq!(spanned_cells(&stream(&[], &both)), 0);
        assert_eq!(spanned_cells(&stream(&[0, 0, 0, 9999], &both)), 150);
        // A sheet may begin within a record: here in a number's last eight bytes.
        let hidden = record(0x0203, &[7, 7, 0, 0x0200, 10, 1, 3]);
        let hidden = [hidden, vec![0, 0, 1, 0, 0, 0]].concat();
        assert_eq!(spanned_cells(&stream(&[0], &hidden)), 1);
        assert_eq!(spanned_cells(&stream(&[10], &hidden)), 2);
        assert_eq!(spanned_cells(&[9, 8, 255]), 0);
        // Dimensions alone take as much memory: rows 1 to 65,533, columns 0 to 15,103.
        let said = record(0x0200, &[1, 0xfffe, 0xffff, 0x3b00, 0]);
        assert_eq!(cells(&said), 65_533 * 15_104);
        let backwards = record(0x0200, &[2, 0, 1, 0, 0, 1, 0]);
        assert_eq!(cells(&backwards), u64::from(u32::MAX));
    }

    /// Found by fuzzing: of a few bytes calamine made a rectangle of 137 GB.
    #[test]
    fn a_text_before_any_formula_lies_in_the_first_cell() {
        let number = record(0x0203, &[99, 9, 15, 0, 0, 0, 0]);
        let formula = record(0x0006, &[99, 9, 15, 0, 0, 0, 0, 0, 0, 0]);
        let text = record(0x0207, &[1, 0]);
        assert_eq!(cells(&[number, text.clone()].concat()), 1000);
        assert_eq!(cells(&[formula, text].concat()), 1);
    }
}
