//! Generated delimited files with a known delimiter, in kinds that are hard for detectors: issues of
//! CleverCSV and of duckdb's sniffer describe many of them. The same seed always gives the same files.

use std::fmt::Write as _;

use rowmill_domain::Delimiter;

/// A file of the corpus.
pub(crate) struct Sample {
    pub(crate) kind: &'static str,
    pub(crate) extension: &'static str,
    pub(crate) text: String,
    pub(crate) delimiter: Delimiter,
}

/// `per_kind` files of each kind, in the order of the kinds.
pub(crate) fn corpus(seed: u64, per_kind: u64) -> impl Iterator<Item = Sample> {
    KINDS
        .iter()
        .enumerate()
        .flat_map(move |(at, (kind, generate))| {
            (0..per_kind).map(move |number| {
                let mut random = Random(seed << 32 | (at as u64) << 16 | number);
                let file = generate(&mut random);
                let lines = &file.lines;
                let end = random.pick(&["\n", "\r\n"]);
                let mut text = lines.join(end);
                if random.chance(80) {
                    text.push_str(end);
                }
                Sample {
                    kind,
                    extension: file.extension,
                    text,
                    delimiter: file
                        .delimiter
                        .map_or(Delimiter::None, |d| Delimiter::Character(d as u8)),
                }
            })
        })
}

type Generate = fn(&mut Random) -> File;

/// Every kind with its generator.
pub(crate) const KINDS: &[(&str, Generate)] = &[
    ("one column: sentences with semicolons", |r| {
        one_column(r, "comment", |r| sentence(r, "; ", 50))
    }),
    ("one column: sentences with commas", |r| {
        one_column(r, "remark", |r| sentence(r, ", ", 70))
    }),
    ("one column: texts with bars", |r| {
        one_column(r, "text", |r| sentence(r, "|", 50))
    }),
    ("one column: texts with tabs", |r| {
        one_column(r, "message", |r| sentence(r, "\t", 40))
    }),
    ("one column: quoted names", |r| {
        one_column(r, "name", |r| format!("\"{}\"", last_first(r)))
    }),
    ("one column: names, last first", |r| {
        one_column(r, "name", last_first)
    }),
    ("one column: decimal commas", |r| {
        one_column(r, "Betrag", |r| decimal(r, ','))
    }),
    ("one column: thousands", |r| {
        one_column(r, "revenue", |r| groups(r, ','))
    }),
    ("one column: URLs", |r| one_column(r, "url", url)),
    ("one column: timestamps", |r| {
        one_column(r, "created at", timestamp)
    }),
    ("one column: paths", |r| one_column(r, "path", path)),
    ("one column: phone numbers", |r| {
        one_column(r, "phone", phone)
    }),
    ("one column: addresses", |r| {
        one_column(r, "address", address)
    }),
    ("one column: keys and values", |r| {
        one_column(r, "attributes", key_values)
    }),
    ("one column: tags", |r| {
        one_column(r, "tags", |r| {
            let count = r.range(1, 5);
            list(r, count, ",")
        })
    }),
    ("one column: JSON", |r| one_column(r, "payload", json)),
    ("one column: coordinates", |r| {
        one_column(r, "position", coordinates)
    }),
    ("optional last column", optional_last_column),
    ("tsv with commas", tsv_with_commas),
    ("tsv with optional text", tsv_with_optional_text),
    ("decimal commas", decimal_commas),
    ("sentences with commas", sentences_with_commas),
    ("title above", title_above),
    ("totals below", totals_below),
    ("lists in cells", lists_in_cells),
    ("JSON in cells", json_in_cells),
    ("line ends in quotes", line_ends_in_quotes),
    ("apostrophes", apostrophes),
    ("inch marks", inch_marks),
    ("timestamps with commas", timestamps_with_commas),
    ("sparse columns", sparse_columns),
    ("money", money),
    ("coordinates", coordinates_in_cells),
    ("few rows", few_rows),
    ("names, last first", names_last_first),
    ("HTML in cells", html_in_cells),
    ("SQL in cells", sql_in_cells),
    ("thousands", thousands),
    ("no header", no_header),
    ("ragged rows", ragged_rows),
];

pub(crate) struct File {
    extension: &'static str,
    lines: Vec<String>,
    /// `None`: one column.
    delimiter: Option<char>,
}

fn file(extension: &'static str, delimiter: char, lines: Vec<String>) -> File {
    File {
        extension,
        lines,
        delimiter: Some(delimiter),
    }
}

/// SplitMix64: small, and the same in every version of every crate.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both included.
    fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.range(1, 100) <= percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.range(0, from.len() as u64 - 1) as usize]
    }
}

const WORDS: [&str; 20] = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consetetur",
    "sadipscing",
    "elitr",
    "sed",
    "diam",
    "nonumy",
    "eirmod",
    "tempor",
    "invidunt",
    "ut",
    "labore",
    "magna",
    "aliquyam",
    "erat",
    "voluptua",
];
const FIRST: [&str; 12] = [
    "Ann", "Bob", "Carla", "Dieter", "Eve", "Farid", "Gül", "Hana", "Igor", "José", "Kim", "Nils",
];
const LAST: [&str; 10] = [
    "Smith", "Meyer", "O'Brien", "D'Angelo", "Schmidt", "García", "Łukasz", "van Dyk", "Jones",
    "Kaya",
];
const CITIES: [&str; 8] = [
    "Berlin", "Zürich", "Łódź", "Köln", "Paris", "Oslo", "Wien", "Rom",
];

fn word(r: &mut Random) -> String {
    r.pick(&WORDS).to_owned()
}

fn words(r: &mut Random, from: u64, to: u64) -> String {
    let count = r.range(from, to);
    list(r, count, " ")
}

fn list(r: &mut Random, count: u64, between: &str) -> String {
    (0..count)
        .map(|_| word(r))
        .collect::<Vec<_>>()
        .join(between)
}

/// A sentence that in `percent` of the cases contains `between` one to three times.
fn sentence(r: &mut Random, between: &str, percent: u64) -> String {
    let mut text = words(r, 4, 12);
    text[..1].make_ascii_uppercase();
    if r.chance(percent) {
        for _ in 0..r.range(1, 3) {
            let more = words(r, 1, 5);
            let _ = write!(text, "{between}{more}");
        }
    }
    text + r.pick(&["", ".", "!", "?"])
}

fn name(r: &mut Random) -> String {
    format!("{} {}", r.pick(&FIRST), r.pick(&LAST))
}

fn last_first(r: &mut Random) -> String {
    format!("{}, {}", r.pick(&LAST), r.pick(&FIRST))
}

fn decimal(r: &mut Random, point: char) -> String {
    format!("{}{point}{:02}", r.range(0, 9999), r.range(0, 99))
}

fn groups(r: &mut Random, between: char) -> String {
    format!(
        "{}{between}{:03}{between}{:03}",
        r.range(1, 999),
        r.range(0, 999),
        r.range(0, 999)
    )
}

fn day(r: &mut Random) -> (u64, u64, u64) {
    (r.range(2015, 2026), r.range(1, 12), r.range(1, 28))
}

fn date(r: &mut Random) -> String {
    let (year, month, day) = day(r);
    match r.range(0, 2) {
        0 => format!("{year}-{month:02}-{day:02}"),
        1 => format!("{day:02}.{month:02}.{year}"),
        _ => format!("{month:02}/{day:02}/{year}"),
    }
}

fn timestamp(r: &mut Random) -> String {
    let (year, month, day) = day(r);
    let (hour, minute, second) = (r.range(0, 23), r.range(0, 59), r.range(0, 59));
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

fn url(r: &mut Random) -> String {
    let end = r.pick(&["", ";v=1", "|x", ",y"]);
    let host = r.pick(&["berlin", "paris", "oslo"]);
    format!(
        "https://{host}.example/{}?a={}&b={}{end}",
        word(r),
        r.range(1, 9),
        word(r)
    )
}

fn path(r: &mut Random) -> String {
    let count = r.range(2, 5);
    format!(
        "/{}{}",
        list(r, count, "/"),
        r.pick(&[".txt", ".csv", ";1"])
    )
}

fn phone(r: &mut Random) -> String {
    match r.range(0, 1) {
        0 => format!("+49 {} {}", r.range(30, 999), r.range(10000, 999_999)),
        _ => format!(
            "({}) {}-{}",
            r.range(200, 999),
            r.range(200, 999),
            r.range(1000, 9999)
        ),
    }
}

fn address(r: &mut Random) -> String {
    format!(
        "{} {}, {} {}",
        words(r, 1, 2),
        r.range(1, 99),
        r.range(10000, 99999),
        r.pick(&CITIES)
    )
}

fn key_values(r: &mut Random) -> String {
    let pairs: Vec<_> = (0..3)
        .map(|_| format!("{}={}", word(r), r.range(1, 99)))
        .collect();
    pairs.join("; ")
}

fn json(r: &mut Random) -> String {
    format!(
        "{{'{}': {}, '{}': ['{}', '{}'], 't': '{}'}}",
        word(r),
        r.range(0, 9),
        word(r),
        word(r),
        word(r),
        date(r)
    )
    .replace('\'', "\"")
}

fn coordinates(r: &mut Random) -> String {
    let part = |r: &mut Random, most: u64| {
        let sign = r.pick(&["", "-"]);
        format!("{sign}{}.{:04}", r.range(0, most), r.range(0, 9999))
    };
    format!("{}, {}", part(r, 89), part(r, 179))
}

fn rows(r: &mut Random) -> u64 {
    r.range(4, 60)
}

/// Values that contain quotes, line ends or the delimiter are quoted.
fn quoted(value: &str, delimiter: char) -> String {
    match value.contains([delimiter, '"', '\n']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value.to_owned(),
    }
}

fn line(values: &[String], delimiter: char) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|value| quoted(value, delimiter))
        .collect();
    values.join(&delimiter.to_string())
}

fn header(names: &[&str], delimiter: char) -> String {
    names.join(&delimiter.to_string())
}

/// A header and rows; quoted where necessary.
fn table(
    r: &mut Random,
    delimiter: char,
    names: &[&str],
    mut row: impl FnMut(&mut Random, u64) -> Vec<String>,
) -> Vec<String> {
    let mut lines = vec![header(names, delimiter)];
    for number in 0..rows(r) {
        lines.push(line(&row(r, number), delimiter));
    }
    lines
}

/// Like [`table`], but nothing is quoted.
fn raw_table(
    r: &mut Random,
    delimiter: char,
    names: &[&str],
    mut row: impl FnMut(&mut Random, u64) -> Vec<String>,
) -> Vec<String> {
    let mut lines = vec![header(names, delimiter)];
    for number in 0..rows(r) {
        lines.push(row(r, number).join(&delimiter.to_string()));
    }
    lines
}

fn one_column(r: &mut Random, name: &str, value: impl Fn(&mut Random) -> String) -> File {
    let mut lines = vec![name.to_owned()];
    for _ in 0..rows(r) {
        lines.push(value(r));
    }
    File {
        extension: "csv",
        lines,
        delimiter: None,
    }
}

/// The decimal point of a file with this delimiter.
fn point(delimiter: char) -> char {
    if delimiter == ',' { '.' } else { ',' }
}

fn text_extension(delimiter: char) -> &'static str {
    if delimiter == '\t' { "tsv" } else { "csv" }
}

fn optional_last_column(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', ';', ',', '\t']);
    let mut lines = vec![header(&["Artikel", "Preis", "Menge", "Notiz"], delimiter)];
    let count = rows(r);
    let with_note = r.range(0, count);
    for number in 0..count {
        let mut row = vec![
            format!("A{number}"),
            decimal(r, point(delimiter)),
            decimal(r, point(delimiter)),
        ];
        if number < with_note {
            let note = words(r, 1, 3);
            row.push(r.pick(&["ok", "", &note]).to_owned());
        }
        lines.push(line(&row, delimiter));
    }
    file(text_extension(delimiter), delimiter, lines)
}

fn tsv_with_commas(r: &mut Random) -> File {
    let lines = raw_table(r, '\t', &["id", "name", "address", "note"], |r, number| {
        vec![
            number.to_string(),
            last_first(r),
            address(r),
            sentence(r, ", ", 50),
        ]
    });
    file(r.pick(&["tsv", "csv", "txt"]), '\t', lines)
}

fn tsv_with_optional_text(r: &mut Random) -> File {
    let lines = raw_table(r, '\t', &["id", "name", "remark"], |r, number| {
        let mut row = vec![number.to_string(), name(r)];
        match r.range(0, 4) {
            0 | 1 => row.push(sentence(r, ", ", 50)),
            2 => row.push(String::new()),
            _ => {}
        }
        row
    });
    file("tsv", '\t', lines)
}

fn decimal_commas(r: &mut Random) -> File {
    let lines = table(r, ';', &["Konto", "Umsatz", "Anteil", "Kurs"], |r, _| {
        vec![
            r.range(1000, 9999).to_string(),
            decimal(r, ','),
            format!("0,{}", r.range(0, 99)),
            decimal(r, ','),
        ]
    });
    file("csv", ';', lines)
}

fn sentences_with_commas(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '|']);
    let lines = table(r, delimiter, &["id", "text"], |r, number| {
        vec![number.to_string(), sentence(r, ", ", 90)]
    });
    file("csv", delimiter, lines)
}

fn title_above(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t', '|']);
    let mut lines = vec![format!("Umsatz, {} {}", r.pick(&CITIES), date(r))];
    for _ in 0..r.range(0, 3) {
        let (key, between) = (
            r.pick(&["Stand", "Filter", "Quelle"]),
            r.pick(&[", ", " - ", "; "]),
        );
        lines.push(format!(
            "{key}: {}{between}{}",
            words(r, 1, 4),
            words(r, 1, 3)
        ));
    }
    if r.chance(50) {
        lines.push(String::new());
    }
    lines.extend(table(r, delimiter, &["Nr", "Ort", "Preis"], |r, number| {
        vec![
            number.to_string(),
            r.pick(&CITIES).to_owned(),
            decimal(r, point(delimiter)),
        ]
    }));
    file("csv", delimiter, lines)
}

fn totals_below(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t']);
    let mut lines = table(r, delimiter, &["Nr", "Posten", "Betrag"], |r, number| {
        vec![
            number.to_string(),
            words(r, 1, 3),
            decimal(r, point(delimiter)),
        ]
    });
    lines.push(String::new());
    lines.push(format!("Summe: {}", decimal(r, point(delimiter))));
    lines.push(format!(
        "{}, {}; {}",
        words(r, 2, 4),
        words(r, 2, 3),
        date(r)
    ));
    file("csv", delimiter, lines)
}

fn lists_in_cells(r: &mut Random) -> File {
    let (delimiter, inner) = r.pick(&[(',', ";"), (';', ","), ('\t', ",")]);
    let lines = table(r, delimiter, &["id", "tags", "city"], |r, number| {
        let count = r.range(1, 6);
        vec![
            number.to_string(),
            list(r, count, inner),
            r.pick(&CITIES).to_owned(),
        ]
    });
    file("csv", delimiter, lines)
}

fn json_in_cells(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '\t', '|']);
    let row = |r: &mut Random, number: u64| vec![number.to_string(), json(r)];
    let names = ["id", "payload"];
    let lines = match r.chance(50) {
        true => raw_table(r, delimiter, &names, row),
        false => table(r, delimiter, &names, row),
    };
    file(text_extension(delimiter), delimiter, lines)
}

fn line_ends_in_quotes(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t']);
    let lines = table(
        r,
        delimiter,
        &["id", "description", "count"],
        |r, number| {
            let between = r.pick(&[", ", "; ", " | "]);
            let count = r.range(1, 5);
            let text: Vec<_> = (0..count).map(|_| sentence(r, between, 50)).collect();
            vec![
                number.to_string(),
                text.join("\n"),
                r.range(1, 9).to_string(),
            ]
        },
    );
    file("csv", delimiter, lines)
}

fn apostrophes(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t']);
    let lines = table(r, delimiter, &["name", "nick", "city"], |r, _| {
        let nick = r.pick(&["'90s kid", "rock 'n' roll", "O'Neil", "it's", "dogs'"]);
        vec![
            r.pick(&LAST).to_owned(),
            nick.to_owned(),
            r.pick(&CITIES).to_owned(),
        ]
    });
    file("csv", delimiter, lines)
}

fn inch_marks(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t']);
    let lines = raw_table(r, delimiter, &["item", "size", "color"], |r, _| {
        let steel = if delimiter == ',' {
            "rod"
        } else {
            "rod, steel"
        };
        let what = r.pick(&["pipe", steel, "bar"]);
        let size = format!("{}\" {what}", r.range(1, 20));
        vec![words(r, 1, 2), size, r.pick(&["red", "blue"]).to_owned()]
    });
    file("csv", delimiter, lines)
}

fn timestamps_with_commas(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '|', '\t']);
    let lines = raw_table(r, delimiter, &["time", "level", "message"], |r, _| {
        let time = format!("{},{:03}", timestamp(r), r.range(0, 999));
        vec![
            time,
            r.pick(&["INFO", "WARN", "ERROR"]).to_owned(),
            sentence(r, ": ", 50),
        ]
    });
    file(r.pick(&["csv", "log", "txt"]), delimiter, lines)
}

fn sparse_columns(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t']);
    let names: Vec<_> = (0..r.range(5, 25))
        .map(|column| format!("c{column}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let lines = table(r, delimiter, &names, |r, _| {
        let mut row = vec![r.range(1, 999).to_string()];
        for _ in 1..names.len() {
            row.push(if r.chance(12) {
                words(r, 1, 2)
            } else {
                String::new()
            });
        }
        row
    });
    file("csv", delimiter, lines)
}

fn money(r: &mut Random) -> File {
    let lines = table(r, ';', &["Kunde", "Betrag", "Saldo"], |r, _| {
        let amount = format!(
            "{}.{:03},{:02} €",
            r.range(1, 999),
            r.range(0, 999),
            r.range(0, 99)
        );
        vec![
            r.pick(&LAST).to_owned(),
            amount,
            format!("-{}.{:03},00", r.range(1, 9), r.range(0, 999)),
        ]
    });
    file("csv", ';', lines)
}

fn coordinates_in_cells(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '\t', '|']);
    let lines = raw_table(r, delimiter, &["place", "position", "radius"], |r, _| {
        vec![
            r.pick(&CITIES).to_owned(),
            coordinates(r),
            r.range(1, 9).to_string(),
        ]
    });
    file("csv", delimiter, lines)
}

fn few_rows(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t', '|']);
    let mut lines = vec![header(&["id", "name", "e-mail"], delimiter)];
    for number in 0..r.range(0, 2) {
        let mail = format!("{}@{}.example", word(r), word(r));
        lines.push(line(&[number.to_string(), name(r), mail], delimiter));
    }
    file("csv", delimiter, lines)
}

fn names_last_first(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '\t', '|']);
    let lines = raw_table(r, delimiter, &["id", "name", "manager"], |r, number| {
        vec![number.to_string(), last_first(r), last_first(r)]
    });
    file("csv", delimiter, lines)
}

fn html_in_cells(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '\t', '|']);
    let lines = table(r, delimiter, &["id", "html"], |r, number| {
        let text = sentence(r, ", ", 50);
        let html = format!(
            "<p style=\"color:red;margin:{}px\">{text}</p>",
            r.range(1, 9)
        );
        vec![number.to_string(), html]
    });
    file("csv", delimiter, lines)
}

fn sql_in_cells(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '\t', '|']);
    let lines = raw_table(r, delimiter, &["id", "query", "ms"], |r, number| {
        let query = format!(
            "SELECT {}, {} FROM t WHERE a = '{}' AND b IN ({},{},{})",
            word(r),
            word(r),
            word(r),
            r.range(1, 9),
            r.range(1, 9),
            r.range(1, 9)
        );
        vec![number.to_string(), query, r.range(1, 999).to_string()]
    });
    file("csv", delimiter, lines)
}

fn thousands(r: &mut Random) -> File {
    let delimiter = r.pick(&[';', '\t', '|']);
    let lines = raw_table(
        r,
        delimiter,
        &["id", "revenue", "cost", "margin"],
        |r, number| {
            vec![
                number.to_string(),
                groups(r, ','),
                groups(r, ','),
                groups(r, ','),
            ]
        },
    );
    file("csv", delimiter, lines)
}

fn no_header(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t', '|']);
    let mut lines = Vec::new();
    for number in 0..rows(r) {
        let row = [
            number.to_string(),
            name(r),
            decimal(r, point(delimiter)),
            date(r),
        ];
        lines.push(line(&row, delimiter));
    }
    file("csv", delimiter, lines)
}

fn ragged_rows(r: &mut Random) -> File {
    let delimiter = r.pick(&[',', ';', '\t', '|']);
    let lines = table(
        r,
        delimiter,
        &["id", "name", "city", "note"],
        |r, number| {
            let mut row = vec![
                number.to_string(),
                name(r),
                r.pick(&CITIES).to_owned(),
                words(r, 1, 3),
            ];
            match r.range(0, 9) {
                0 => row.truncate(3),
                1 => row.push(word(r)),
                _ => {}
            }
            row
        },
    );
    file("csv", delimiter, lines)
}
