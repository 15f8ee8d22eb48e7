//! Writes the sheet `Summary`: the verdict, the reasons, the figures with charts, notes.

use rowmill_domain::Status;
use rowmill_domain::colors::{ColorPair, LIGHT};
use rust_xlsxwriter::{
    Chart, ChartDataLabel, ChartFormat, ChartPoint, ChartSolidFill, ChartType, Format, FormatAlign,
    FormatBorder, Worksheet, XlsxError,
};

use super::formats::{color, status_color};
use super::row::truncate;
use super::spec::{Fact, Summary};
use super::widths::{MOST, wrapped_height};

/// The first column of the charts, to the right of the figures.
const CHART_COLUMN: u16 = 7;
/// The width of a chart in pixels.
const CHART_WIDTH: u32 = 560;
/// The height of a bar, and of the title and the margins, in pixels.
const BAR_HEIGHT: u32 = 30;
const CHART_MARGINS: u32 = 70;
/// The height of a row in pixels, in Excel and LibreOffice.
const ROW_HEIGHT: u32 = 20;
/// Many steps take less than a tenth of a millisecond.
const MILLISECONDS: &str = "[<1]0.000;#,##0.0";
/// The headers of columns of texts, apart from the first column.
const TEXTS: [&str; 3] = ["Status", "What to do", ""];
/// Maximum number of bars in the distribution chart. More would be illegible.
const BARS: usize = 30;

pub(super) fn write(
    sheet: &mut Worksheet,
    summary: &Summary,
    notes: &[String],
) -> Result<(), XlsxError> {
    sheet.set_name("Summary")?;
    sheet.set_landscape();
    sheet.set_print_fit_to_pages(1, 0);
    sheet.set_footer("&L&F, &A&RPage &P of &N");
    for (column, width) in (0..).zip([MOST, 21, 12, 12, 12, 12]) {
        sheet.set_column_width(column, width)?;
    }
    let mut page = Page {
        sheet,
        row: 0,
        chart_row: 0,
        formats: Formats::new(),
    };
    page.verdict(summary)?;
    page.reasons(summary)?;
    page.chart_row = page.row;
    page.statuses(summary)?;
    page.steps(summary)?;
    page.distribution(summary)?;
    page.facts(&summary.facts)?;
    page.notes(notes)
}

/// The formats of the sheet.
struct Formats {
    header: Format,
    number_header: Format,
    count: Format,
    ms: Format,
    time: Format,
    duration: Format,
    left: Format,
    wrapped: Format,
    top: Format,
}

impl Formats {
    fn new() -> Formats {
        let left = || Format::new().set_align(FormatAlign::Left).set_indent(1);
        let top = || {
            let left = Format::new().set_align(FormatAlign::Left).set_indent(1);
            left.set_align(FormatAlign::Top)
        };
        let header = Format::new()
            .set_bold()
            .set_background_color(color(LIGHT.rejected.tint))
            .set_border_bottom(FormatBorder::Thin)
            .set_border_bottom_color(color(LIGHT.line));
        Formats {
            number_header: header.clone().set_align(FormatAlign::Right),
            header: header.set_indent(1),
            count: Format::new()
                .set_num_format("#,##0")
                .set_align(FormatAlign::Top),
            ms: Format::new().set_num_format(MILLISECONDS),
            time: left().set_num_format("yyyy\\-mm\\-dd\\ hh:mm:ss"),
            duration: left().set_num_format("[h]:mm:ss"),
            left: left().set_num_format("#,##0"),
            wrapped: top().set_text_wrap(),
            top: top(),
        }
    }

    fn status(&self, color_of: ColorPair) -> Format {
        self.top
            .clone()
            .set_bold()
            .set_font_color(color(color_of.text))
            .set_background_color(color(color_of.tint))
    }
}

/// The color of a status, or of rejected rows.
fn color_of(status: &str) -> ColorPair {
    match [Status::Ok, Status::Failed, Status::Missing]
        .into_iter()
        .find(|known| known.name() == status)
    {
        Some(status) => status_color(status),
        None => LIGHT.rejected,
    }
}

/// The sheet, from top to bottom.
struct Page<'a> {
    sheet: &'a mut Worksheet,
    /// The next row.
    row: u32,
    /// The row of the next chart.
    chart_row: u32,
    formats: Formats,
}

impl Page<'_> {
    fn text(&mut self, column: u16, text: &str) -> Result<(), XlsxError> {
        let format = self.formats.top.clone();
        self.text_as(column, text, &format)
    }

    fn text_as(&mut self, column: u16, text: &str, format: &Format) -> Result<(), XlsxError> {
        self.sheet
            .write_string_with_format(self.row, column, truncate(text).as_ref(), format)?;
        Ok(())
    }

    fn number(&mut self, column: u16, number: f64, format: &Format) -> Result<(), XlsxError> {
        self.sheet
            .write_number_with_format(self.row, column, number, format)?;
        Ok(())
    }

    /// Writes the header of a table and moves to the row below it.
    fn headers(&mut self, headers: &[&str]) -> Result<(), XlsxError> {
        let (text, number) = (
            self.formats.header.clone(),
            self.formats.number_header.clone(),
        );
        for (column, header) in (0..).zip(headers) {
            let is_number = column > 0 && !TEXTS.contains(header);
            self.text_as(column, header, if is_number { &number } else { &text })?;
        }
        self.row += 1;
        Ok(())
    }

    fn verdict(&mut self, summary: &Summary) -> Result<(), XlsxError> {
        if summary.verdict.is_empty() {
            return Ok(());
        }
        let counts = &summary.counts;
        let colors = match (counts.failed, counts.missing) {
            (0, 0) => LIGHT.ok,
            (0, _) => LIGHT.missing,
            (_, _) => LIGHT.failed,
        };
        let format = Format::new()
            .set_bold()
            .set_font_size(16)
            .set_font_color(color(colors.text));
        self.text_as(0, &summary.verdict, &format)?;
        self.row += 2;
        Ok(())
    }

    fn reasons(&mut self, summary: &Summary) -> Result<(), XlsxError> {
        if summary.reasons.is_empty() {
            return Ok(());
        }
        self.headers(&["Reason", "Rows", "Status", "Example row", "What to do"])?;
        let (wrapped, count) = (self.formats.wrapped.clone(), self.formats.count.clone());
        let top = self.formats.top.clone();
        for reason in &summary.reasons {
            if let Some(points) = wrapped_height(&reason.text) {
                self.sheet.set_row_height(self.row, points)?;
            }
            self.text_as(0, &reason.text, &wrapped)?;
            self.number(1, reason.count as f64, &count)?;
            let status = self.formats.status(color_of(&reason.status));
            self.text_as(2, &reason.status, &status)?;
            if let Some(row) = reason.rows.first() {
                self.number(3, f64::from(*row), &count)?;
            }
            // Nothing is to its right, so it needs no width of its own.
            self.text_as(4, &reason.advice, &top)?;
            self.row += 1;
        }
        if summary.further > 0 {
            self.text(0, "Other reasons: see the column \"error\" of Results")?;
            self.number(1, summary.further as f64, &count)?;
            self.row += 1;
        }
        self.row += 1;
        Ok(())
    }

    fn statuses(&mut self, summary: &Summary) -> Result<(), XlsxError> {
        let counts = &summary.counts;
        let mut statuses = [
            ("ok", counts.ok),
            ("failed", counts.failed),
            ("missing", counts.missing),
            ("rejected", counts.rejected),
        ];
        statuses.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        self.headers(&["Status", "Rows"])?;
        let first = self.row;
        let count = self.formats.count.clone();
        for (status, rows) in statuses {
            let format = self.formats.status(color_of(status));
            self.text_as(0, status, &format)?;
            self.number(1, rows as f64, &count)?;
            self.row += 1;
        }
        let shown: Vec<ChartPoint> = statuses
            .iter()
            .filter(|(_, rows)| *rows > 0)
            .map(|(status, _)| point(color_of(status)))
            .collect();
        self.bar_chart("Rows by status", (first, 0), 1, &shown, "#,##0")?;
        self.row += 1;
        Ok(())
    }

    fn steps(&mut self, summary: &Summary) -> Result<(), XlsxError> {
        if summary.steps.is_empty() {
            return Ok(());
        }
        self.headers(&[
            "Step, slowest first",
            "Rows done",
            "Failed",
            "Mean, ms",
            "95 %, ms",
            "Slowest, ms",
        ])?;
        let first = self.row;
        let (count, ms) = (self.formats.count.clone(), self.formats.ms.clone());
        let mut steps: Vec<_> = summary.steps.iter().collect();
        steps.sort_by(|a, b| b.mean_ms.total_cmp(&a.mean_ms));
        for step in &steps {
            self.text(0, &step.step)?;
            self.number(1, step.ok as f64, &count)?;
            self.number(2, step.failed as f64, &count)?;
            for (column, time) in (3..).zip([step.mean_ms, step.p95_ms, step.max_ms]) {
                self.number(column, time, &ms)?;
            }
            self.row += 1;
        }
        let shown = vec![point(LIGHT.accent); steps.len()];
        let title = "Mean time of a row in each step, ms";
        self.bar_chart(title, (first, 0), 3, &shown, MILLISECONDS)?;
        self.row += 1;
        Ok(())
    }

    fn distribution(&mut self, summary: &Summary) -> Result<(), XlsxError> {
        let Some(chart) = summary.chart.as_ref().filter(|c| !c.bars.is_empty()) else {
            return Ok(());
        };
        self.headers(&[&chart.title, "Rows"])?;
        let first = self.row;
        let count = self.formats.count.clone();
        for (label, rows) in &chart.bars {
            self.text(0, label)?;
            self.number(1, *rows as f64, &count)?;
            self.row += 1;
        }
        let shown = vec![point(LIGHT.accent); chart.bars.len().min(BARS)];
        let title = format!("Rows by {}", chart.title);
        self.bar_chart(&title, (first, 0), 1, &shown, "#,##0")?;
        self.row += 1;
        Ok(())
    }

    fn facts(&mut self, facts: &[(String, Fact)]) -> Result<(), XlsxError> {
        if facts.is_empty() {
            return Ok(());
        }
        self.headers(&["Run", ""])?;
        // In one column with texts, so aligned like them.
        let left = self.formats.left.clone();
        for (name, value) in facts {
            self.text(0, name)?;
            match value {
                Fact::Text(text) => self.text(1, text)?,
                Fact::Count(count) => self.number(1, *count as f64, &left)?,
                Fact::Time(time) => {
                    let format = &self.formats.time;
                    self.sheet
                        .write_datetime_with_format(self.row, 1, time, format)?;
                }
                Fact::Duration(time) => {
                    let format = self.formats.duration.clone();
                    let days = time.num_milliseconds() as f64 / 86_400_000.0;
                    self.number(1, days, &format)?;
                }
            }
            self.row += 1;
        }
        self.row += 1;
        Ok(())
    }

    fn notes(&mut self, notes: &[String]) -> Result<(), XlsxError> {
        if !notes.is_empty() {
            self.headers(&["Notes"])?;
        }
        for note in notes {
            self.text(0, note)?;
            self.row += 1;
        }
        Ok(())
    }

    /// A chart with a horizontal bar for each point, from the top, in the order of the cells from
    /// `first` down. The labels are in the column of `first`, the values in the column `values`. One
    /// bar alone says no more than its number, so there is no chart.
    fn bar_chart(
        &mut self,
        title: &str,
        first: (u32, u16),
        values: u16,
        points: &[ChartPoint],
        code: &str,
    ) -> Result<(), XlsxError> {
        if points.len() < 2 {
            return Ok(());
        }
        let name = self.sheet.name();
        let last = first.0 + points.len() as u32 - 1;
        let height = CHART_MARGINS + BAR_HEIGHT * points.len() as u32;
        let mut chart = Chart::new(ChartType::Bar);
        chart.set_width(CHART_WIDTH).set_height(height);
        chart.title().set_name(title).set_font(
            rust_xlsxwriter::ChartFont::new()
                .set_size(12)
                .set_color(color(LIGHT.text)),
        );
        chart.legend().set_hidden();
        // The first category is at the top. The bars start at the left.
        chart.y_axis().set_reverse();
        // Every bar has its number.
        chart.x_axis().set_hidden(true).set_major_gridlines(false);
        chart
            .add_series()
            .set_categories((name.as_str(), first.0, first.1, last, first.1))
            .set_values((name.as_str(), first.0, values, last, values))
            .set_points(points)
            .set_gap(40)
            .set_data_label(ChartDataLabel::new().show_value().set_num_format(code));
        self.sheet
            .insert_chart(self.chart_row, CHART_COLUMN, &chart)?;
        self.chart_row += height.div_ceil(ROW_HEIGHT) + 1;
        Ok(())
    }
}

/// A bar of this color.
fn point(colors: ColorPair) -> ChartPoint {
    let mut fill = ChartSolidFill::new();
    fill.set_color(color(colors.text));
    let mut format = ChartFormat::new();
    format.set_solid_fill(&fill);
    ChartPoint::new().set_format(&mut format)
}
