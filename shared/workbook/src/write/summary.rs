//! Writes the sheet `Summary`, with charts.

use rust_xlsxwriter::{Chart, ChartDataLabel, ChartType, Format, Worksheet, XlsxError};

use super::row::truncate;
use super::spec::Summary;

/// Height of a chart in rows, including one empty row.
const CHART_ROWS: u32 = 16;
/// The first column of the charts, to the right of the figures.
const CHART_COLUMN: u16 = 8;
/// Maximum number of bars in the distribution chart. More would be illegible.
const BARS: usize = 30;

pub(super) fn write(
    sheet: &mut Worksheet,
    summary: &Summary,
    notes: &[String],
) -> Result<(), XlsxError> {
    let bold = Format::new().set_bold();
    let count = Format::new().set_num_format("#,##0");
    let time = Format::new().set_num_format("#,##0.0");
    sheet.set_name("Summary")?;
    sheet.set_column_width(0, 28)?;
    sheet.set_column_width(1, 24)?;
    let mut row = 0;
    for (name, value) in &summary.facts {
        sheet.write_string_with_format(row, 0, truncate(name).as_ref(), &bold)?;
        sheet.write_string(row, 1, truncate(value).as_ref())?;
        row += 1;
    }
    row += 1;

    let counts = &summary.counts;
    sheet.write_string_with_format(row, 0, "Records", &bold)?;
    sheet.write_number_with_format(row, 1, counts.records as f64, &count)?;
    sheet.write_string_with_format(row + 1, 0, "Rejected rows", &bold)?;
    sheet.write_number_with_format(row + 1, 1, counts.rejected as f64, &count)?;
    row += 3;
    let statuses = [
        ("ok", counts.ok),
        ("failed", counts.failed),
        ("missing", counts.missing),
        ("rejected", counts.rejected),
    ];
    sheet.write_string_with_format(row, 0, "Status", &bold)?;
    sheet.write_string_with_format(row, 1, "Rows", &bold)?;
    let first = row + 1;
    for (status, rows) in statuses {
        row += 1;
        sheet.write_string(row, 0, status)?;
        sheet.write_number_with_format(row, 1, rows as f64, &count)?;
    }
    let mut chart_row = 0;
    let status = bar_chart(sheet, "Rows by status", (first, 0), (row, 1));
    sheet.insert_chart(chart_row, CHART_COLUMN, &status)?;
    row += 2;

    if !summary.steps.is_empty() {
        let headers = [
            "Step",
            "Succeeded",
            "Failed",
            "Mean (ms)",
            "95th percentile (ms)",
            "Maximum (ms)",
        ];
        for (column, header) in (0..).zip(headers) {
            sheet.write_string_with_format(row, column, header, &bold)?;
        }
        let first = row + 1;
        for step in &summary.steps {
            row += 1;
            sheet.write_string(row, 0, truncate(&step.step).as_ref())?;
            sheet.write_number_with_format(row, 1, step.ok as f64, &count)?;
            sheet.write_number_with_format(row, 2, step.failed as f64, &count)?;
            for (column, ms) in (3..).zip([step.mean_ms, step.p95_ms, step.max_ms]) {
                sheet.write_number_with_format(row, column, ms, &time)?;
            }
        }
        let steps = bar_chart(sheet, "Mean time per record (ms)", (first, 0), (row, 3));
        chart_row += CHART_ROWS;
        sheet.insert_chart(chart_row, CHART_COLUMN, &steps)?;
        row += 2;
    }

    if let Some(chart) = &summary.chart
        && !chart.bars.is_empty()
    {
        sheet.write_string_with_format(row, 0, truncate(&chart.title).as_ref(), &bold)?;
        sheet.write_string_with_format(row, 1, "Rows", &bold)?;
        let first = row + 1;
        for (label, height) in &chart.bars {
            row += 1;
            sheet.write_string(row, 0, truncate(label).as_ref())?;
            sheet.write_number_with_format(row, 1, *height as f64, &count)?;
        }
        let last = row.min(first + BARS as u32 - 1);
        let distribution = bar_chart(sheet, &chart.title, (first, 0), (last, 1));
        chart_row += CHART_ROWS;
        sheet.insert_chart(chart_row, CHART_COLUMN, &distribution)?;
        row += 2;
    }

    for note in notes {
        sheet.write_string(row, 0, truncate(note).as_ref())?;
        row += 1;
    }
    Ok(())
}

/// A bar chart of the rows from `first` to `last`. The labels are in the column of `first`, the values
/// in the column of `last`.
fn bar_chart(sheet: &Worksheet, title: &str, first: (u32, u16), last: (u32, u16)) -> Chart {
    let name = sheet.name();
    let mut chart = Chart::new(ChartType::Bar);
    chart.title().set_name(title);
    chart.legend().set_hidden();
    // Bars from top to bottom, in the order of the cells.
    chart.x_axis().set_reverse();
    chart
        .add_series()
        .set_categories((name.as_str(), first.0, first.1, last.0, first.1))
        .set_values((name.as_str(), first.0, last.1, last.0, last.1))
        .set_data_label(ChartDataLabel::new().show_value());
    chart
}
