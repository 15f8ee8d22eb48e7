//! Measures reading and writing: `measure read FILE`, `measure inflate FILE`, `measure events
//! FILE`, `measure calamine FILE`, `measure write ROWS FILE`, `measure bare ROWS FILE LEVEL`, `measure
//! ods ROWS FILE`, `measure xlsb ROWS FILE`. Prints CPU seconds, wall-clock seconds and peak memory in MB. `benches/workbook.py` compares the results with other libraries.

#[path = "../tests/files/mod.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod files;

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use rowmill_domain::{Kind, Status, Value};
use rowmill_workbook::{
    Cell, ColumnSpec, Header, OutsideCell, ReadOptions, ResultSpec, ResultWriter, RowSink, Summary,
    read_rows,
};

type Outcome = Result<String, Box<dyn std::error::Error>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let start = Instant::now();
    let what = match words[..] {
        ["read", file] => read(Path::new(file)),
        ["inflate", file] => parts(Path::new(file), inflate),
        ["events", file] => parts(Path::new(file), events),
        ["calamine", file] => with_calamine(Path::new(file)),
        ["write", rows, file] => write(rows.parse()?, Path::new(file)),
        ["ods", rows, file] => ods(rows.parse()?, Path::new(file)),
        ["xlsb", rows, file] => xlsb(rows.parse()?, Path::new(file)),
        ["bare", rows, file, level] => bare(rows.parse()?, Path::new(file), level.parse()?),
        _ => Err("unknown command; the comment at the top of measure.rs lists them".into()),
    }?;
    let wall = start.elapsed().as_secs_f64();
    let line = format!("{:.3} {wall:.3} {:.0} {what}\n", cpu()?, peak()?);
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())?;
    Ok(())
}

/// User and system CPU time of this process in seconds.
fn cpu() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    // Linux reports hundredths of a second.
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Peak resident memory in MB.
fn peak() -> Result<f64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().next());
    Ok(kilobytes.unwrap_or("0").parse::<f64>()? / 1024.0)
}

fn read(file: &Path) -> Outcome {
    #[derive(Default)]
    struct Count {
        values: u64,
        bytes: usize,
    }
    impl RowSink for Count {
        fn header(&mut self, _: &Header) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn row(&mut self, _: u32, cells: &mut [Cell]) -> ControlFlow<()> {
            for cell in cells {
                if let Cell::Value(value) = cell {
                    self.values += 1;
                    if let Value::Text(text) = value {
                        self.bytes += text.len();
                    }
                }
            }
            ControlFlow::Continue(())
        }
        fn overflow(
            &mut self,
            row: u32,
            cells: &mut [Cell],
            _: &mut [OutsideCell],
        ) -> ControlFlow<()> {
            self.row(row, cells)
        }
        fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
    }
    let mut count = Count::default();
    let summary = read_rows(file, &ReadOptions::default(), &mut count)?;
    Ok(format!(
        "{} rows, {} values, {} bytes of text",
        summary.rows, count.values, count.bytes
    ))
}

/// Reads the first sheet with calamine.
fn with_calamine(file: &Path) -> Outcome {
    use calamine::{Data, Reader as _, open_workbook_auto};
    let mut book = open_workbook_auto(file)?;
    let range = book.worksheet_range_at(0).ok_or("no sheet")??;
    let (mut values, mut bytes) = (0u64, 0);
    for row in range.rows().skip(1) {
        for cell in row {
            values += u64::from(*cell != Data::Empty);
            if let Data::String(text) = cell {
                bytes += text.len();
            }
        }
    }
    let rows = range.height().saturating_sub(1);
    Ok(format!(
        "{rows} rows, {values} values, {bytes} bytes of text"
    ))
}

/// Runs `each` on every inflated part of an archive.
fn parts(file: &Path, each: fn(&mut dyn Read) -> Outcome) -> Outcome {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(file)?))?;
    let mut all = Vec::new();
    for i in 0..archive.len() {
        all.push(each(&mut archive.by_index(i)?)?);
    }
    Ok(all.join(" "))
}

fn inflate(part: &mut dyn Read) -> Outcome {
    Ok(std::io::copy(part, &mut std::io::sink())?.to_string())
}

fn events(part: &mut dyn Read) -> Outcome {
    let mut reader = quick_xml::Reader::from_reader(BufReader::new(part));
    let mut buffer = Vec::new();
    let mut count = 0u64;
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer)? {
            quick_xml::events::Event::Eof => return Ok(count.to_string()),
            _ => count += 1,
        }
    }
}

const CITIES: [&str; 5] = ["Zürich", "Łódź", "Berlin", "São Paulo", "東京"];

/// A record with ten columns.
fn record(i: u64) -> [Value; 10] {
    let date = |days: u64| {
        let first = chrono::NaiveDate::from_ymd_opt(2015, 1, 1).unwrap_or_default();
        first + chrono::TimeDelta::days(days as i64)
    };
    [
        Value::Text(format!("C-{i:07}")),
        Value::Text(format!("Customer number {i}")),
        Value::from(CITIES[(i % 5) as usize]),
        Value::Number(i as f64),
        Value::Number((i * 7919 % 1_000_003) as f64 / 100.0),
        Value::Number((i % 97) as f64),
        Value::Date(date(i % 4000)),
        Value::Bool(i.is_multiple_of(3)),
        Value::Text(format!("{:05}", i * 31 % 100_000)),
        Value::Text(format!("A note on record {i}, with some words & more.")),
    ]
}

fn write(rows: u64, file: &Path) -> Outcome {
    let kinds = record(0).map(|v| v.kind());
    let spec = ResultSpec {
        columns: (1..)
            .zip(kinds)
            .map(|(i, kind)| ColumnSpec {
                name: format!("Column {i}"),
                kind: Some(kind),
                format: (kind == Kind::Date).then(|| "yyyy-mm-dd".to_owned()),
                width: 12,
            })
            .collect(),
        run_id: "20261121-bench-0123456789ab".to_owned(),
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(file, &spec)?;
    for i in 0..rows {
        let record = record(i);
        let values: Vec<Option<&Value>> = record.iter().map(Some).collect();
        writer.row(i as u32 + 2, &values, &[], Status::Ok, None, 1)?;
    }
    writer.finish(&Summary::default())?;
    Ok(format!("{} bytes", file.metadata()?.len()))
}

/// Writes the same cells with plain rust_xlsxwriter.
fn bare(rows: u64, file: &Path, level: u8) -> Outcome {
    let mut book = rust_xlsxwriter::Workbook::new();
    book.set_zip_compression_level(level);
    let date = rust_xlsxwriter::Format::new().set_num_format("yyyy-mm-dd");
    let sheet = book.add_worksheet_with_constant_memory()?;
    for column in 0..13 {
        sheet.write_string(0, column, format!("Column {column}"))?;
    }
    for i in 0..rows {
        let row = i as u32 + 1;
        for (column, value) in (0..).zip(&record(i)) {
            match value {
                Value::Text(text) => sheet.write_string(row, column, text)?,
                Value::Number(number) => sheet.write_number(row, column, *number)?,
                Value::Bool(value) => sheet.write_boolean(row, column, *value)?,
                Value::Date(day) => sheet.write_date_with_format(row, column, day, &date)?,
                _ => sheet,
            };
        }
        sheet.write_string(row, 10, "ok")?;
        sheet.write_number(row, 12, 1.0)?;
    }
    book.save(file)?;
    Ok(format!("{} bytes", file.metadata()?.len()))
}

/// Writes the same cells as an ods document, in the notation of LibreOffice.
fn ods(rows: u64, file: &Path) -> Outcome {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::BufWriter::new(File::create(file)?));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("mimetype", options)?;
    zip.write_all(b"application/vnd.oasis.opendocument.spreadsheet")?;
    // calamine requires it.
    zip.start_file("META-INF/manifest.xml", options)?;
    zip.write_all(b"<manifest:manifest/>")?;
    zip.start_file("content.xml", options.large_file(true))?;
    let names = ["office", "table", "text", "calcext"]
        .map(|n| format!("xmlns:{n}=\"urn:oasis:names:tc:opendocument:xmlns:{n}:1.0\""));
    let cell = |value: &Value| {
        let shown = value.to_text().replace('&', "&amp;");
        let (kind, own) = match value {
            Value::Number(n) => ("float", format!(" office:value=\"{n}\"")),
            Value::Bool(b) => ("boolean", format!(" office:boolean-value=\"{b}\"")),
            Value::Date(_) => ("date", format!(" office:date-value=\"{shown}\"")),
            _ => ("string", String::new()),
        };
        format!(
            "<table:table-cell office:value-type=\"{kind}\"{own} calcext:value-type=\"{kind}\"><text:p>\
             {shown}</text:p></table:table-cell>"
        )
    };
    let row = |cells: String| {
        format!("<table:table-row table:style-name=\"ro1\">{cells}</table:table-row>")
    };
    let head = (1..=10)
        .map(|i| cell(&Value::Text(format!("Column {i}"))))
        .collect();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<office:document-content {}><office:body>\
         <office:spreadsheet><table:table table:name=\"Data\">{}",
        names.join(" "),
        row(head)
    );
    for i in 0..rows {
        text += &row(record(i).iter().map(cell).collect());
        if text.len() > 1 << 20 {
            zip.write_all(text.as_bytes())?;
            text.clear();
        }
    }
    text += "</table:table></office:spreadsheet></office:body></office:document-content>";
    zip.write_all(text.as_bytes())?;
    zip.finish()?.flush()?;
    Ok(format!("{} bytes", file.metadata()?.len()))
}

/// Writes the same cells as an xlsb workbook. SheetJS writes them without their columns, which calamine
/// does not read.
fn xlsb(rows: u64, file: &Path) -> Outcome {
    use files::xlsb::{Xlsb, cell, row, sheet, styles, wide};
    let epoch = chrono::NaiveDate::from_ymd_opt(1899, 12, 30).unwrap_or_default();
    let cells = |values: &[Value]| {
        (0..)
            .zip(values)
            .map(|(column, value)| match value {
                Value::Number(number) => cell(5, column, 0, &number.to_le_bytes()),
                Value::Bool(value) => cell(4, column, 0, &[u8::from(*value)]),
                Value::Date(day) => {
                    let serial = (*day - epoch).num_days() as f64;
                    cell(5, column, 1, &serial.to_le_bytes())
                }
                other => cell(6, column, 0, &wide(&other.to_text())),
            })
            .collect::<Vec<_>>()
            .concat()
    };
    let head: Vec<Value> = (1..=10)
        .map(|i| Value::Text(format!("Column {i}")))
        .collect();
    let mut records = vec![row(0, false), cells(&head)];
    for i in 0..rows {
        records.push(row(i as u32 + 1, false));
        records.push(cells(&record(i)));
    }
    let book = Xlsb {
        sheet: sheet(&records),
        styles: Some(styles(&[], &[0, 14])),
        ..Xlsb::default()
    };
    std::fs::write(file, book.bytes())?;
    Ok(format!("{} bytes", file.metadata()?.len()))
}
