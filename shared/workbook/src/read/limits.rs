/// What a workbook may cost to read. Every limit has a name, which the error says together with
/// the file and the value found, and can be raised by whoever trusts the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// `file_bytes`: bytes of the file. Default 1 GiB: the largest xlsx of 1,048,576 rows by 50
    /// columns seen is half of that.
    pub file_bytes: u64,
    /// `inflated_bytes`: bytes of all parts of the archive after inflating. Default 16 GiB: parts
    /// are streamed, so this bounds time and not memory.
    pub inflated_bytes: u64,
    /// `ratio`: inflated bytes per byte of the file, looked at from 64 MiB inflated on. Default
    /// 300: real sheets reach about 50, deflate's maximum is 1,032.
    pub ratio: u64,
    /// `entries`: files in the archive. Default 10,000.
    pub entries: u64,
    /// `rows`: rows of the sheet, the header counted. Default 1,048,576, Excel's maximum.
    pub rows: u64,
    /// `columns`: columns of the sheet. Default 16,384, Excel's maximum.
    pub columns: u64,
    /// `cells`: cells of the rows below the header, empty ones counted. Default 500 million, a
    /// few seconds' work even where all are empty.
    pub cells: u64,
    /// `whole_cells`: cells of a file that can only be read whole (xls and ods), empty ones
    /// between used ones counted. Default 3 million, about 300 MB.
    pub whole_cells: u64,
    /// `whole_bytes`: bytes of a file that can only be read whole (xls). Default 128 MiB.
    pub whole_bytes: u64,
    /// `string_bytes`: bytes of the shared string table in memory, with 8 bytes a string on top.
    /// Default 256 MiB.
    pub string_bytes: u64,
    /// `text_bytes`: bytes of the text of one cell. Default 1 MiB: Excel's 32,767 characters, in
    /// any encoding, several times over.
    pub text_bytes: u64,
    /// `row_bytes`: bytes of the texts of one row. Default 32 MiB.
    pub row_bytes: u64,
    /// `nesting`: depth of XML elements. Default 256.
    pub nesting: u64,
    /// `seconds`: time until the last row, waiting for the sink not counted. Default one hour.
    pub seconds: u64,
}

impl Default for ReadLimits {
    fn default() -> ReadLimits {
        ReadLimits {
            file_bytes: 1 << 30,
            inflated_bytes: 16 << 30,
            ratio: 300,
            entries: 10_000,
            rows: u64::from(rowmill_domain::limits::SHEET_ROWS),
            columns: u64::from(rowmill_domain::limits::SHEET_COLUMNS),
            cells: 500_000_000,
            whole_cells: 3_000_000,
            whole_bytes: 128 << 20,
            string_bytes: 256 << 20,
            text_bytes: 1 << 20,
            row_bytes: 32 << 20,
            nesting: 256,
            seconds: 3600,
        }
    }
}

impl ReadLimits {
    /// The limit of a name, which is its field's.
    pub fn named(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "file_bytes" => &mut self.file_bytes,
            "inflated_bytes" => &mut self.inflated_bytes,
            "ratio" => &mut self.ratio,
            "entries" => &mut self.entries,
            "rows" => &mut self.rows,
            "columns" => &mut self.columns,
            "cells" => &mut self.cells,
            "whole_cells" => &mut self.whole_cells,
            "whole_bytes" => &mut self.whole_bytes,
            "string_bytes" => &mut self.string_bytes,
            "text_bytes" => &mut self.text_bytes,
            "row_bytes" => &mut self.row_bytes,
            "nesting" => &mut self.nesting,
            "seconds" => &mut self.seconds,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_names_every_limit_with_its_default() {
        let mut limits = ReadLimits::default();
        let told: Vec<(&str, &str)> = rowmill_domain::pipeline::read_limits().collect();
        for (name, default) in &told {
            let limit = limits.named(name).expect(name);
            assert_eq!(limit.to_string(), *default, "{name}");
            *limit = 0;
        }
        let fields = format!("{limits:?}");
        assert_eq!(fields.matches(": 0").count(), told.len(), "{fields}");
        assert_eq!(fields.matches(": ").count(), told.len(), "{fields}");
    }
}
