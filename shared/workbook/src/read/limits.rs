/// How much a workbook may cost to read. The error for an exceeded limit names the limit, the file and
/// the value found. A pipeline can raise each limit under `[input.limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// `file_bytes`: size of the file in bytes. Default 1 GiB: twice the largest xlsx seen with
    /// 1,048,576 rows and 50 columns.
    pub file_bytes: u64,
    /// `inflated_bytes`: total inflated size of all parts of the archive. Default 16 GiB: parts are
    /// streamed, so this bounds time, not memory.
    pub inflated_bytes: u64,
    /// `ratio`: inflated bytes per byte of the file, checked above 64 MiB inflated. Default 300:
    /// real sheets reach about 50, and the maximum of deflate is 1,032. In ods files it also limits what
    /// repeat counts stand for, with 8 bytes per cell in addition to its text.
    pub ratio: u64,
    /// `entries`: number of files in the archive. Default 10,000.
    pub entries: u64,
    /// `rows`: number of rows in the sheet, including the header. Default 1,048,576, the maximum of
    /// Excel.
    pub rows: u64,
    /// `columns`: number of columns in the sheet. Default 16,384, the maximum of Excel.
    pub columns: u64,
    /// `cells`: number of cells in the rows below the header, including empty ones; a blank row counts
    /// as one cell. Default 500 million, which
    /// takes a few seconds even if all are empty.
    pub cells: u64,
    /// `whole_cells`: number of cells in an xls sheet whose rows are out of order, so that their
    /// positions must be sorted in memory. Default 3 million, 24 MB.
    pub whole_cells: u64,
    /// `whole_bytes`: size in bytes of what must be loaded into memory: an xls file, or a sheet of an
    /// xlsx file whose rows are not in order. Default 128 MiB.
    pub whole_bytes: u64,
    /// `string_bytes`: size of the shared string table in memory, including 8 bytes per string.
    /// Default 256 MiB.
    pub string_bytes: u64,
    /// `text_bytes`: size of the text of one cell. Default 1 MiB: several times the 32,767
    /// characters that Excel allows, in any encoding.
    pub text_bytes: u64,
    /// `row_bytes`: total size of the texts in one row. Default 32 MiB.
    pub row_bytes: u64,
    /// `nesting`: depth of nested XML elements. Default 256.
    pub nesting: u64,
    /// `seconds`: time spent reading, excluding time spent waiting for the sink. Default one hour.
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
    /// The limit with this name, which is the name of its field.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut u64> {
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
