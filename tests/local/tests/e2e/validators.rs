//! Result workbooks and emails pass validators that nobody here wrote: Microsoft's Open XML SDK,
//! mailparser, html-validate, and Python's strict policy for mail.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::validators::{Validated, validate};
use rowmill_tests_local::workbook::{Book, Cell};

/// A program that answers with `text` for every record.
fn answers(job: &Job, text: &str) {
    let program = format!(
        "import sys, json\n\
         for line in sys.stdin:\n    \
             row = json.loads(line)[\"row\"]\n    \
             print(json.dumps({{\"row\": row, \"outputs\": {{\"out\": {text}}}}}), flush=True)\n"
    );
    std::fs::write(job.folder().join("answer.py"), program).unwrap();
}

const COMMAND: &str = r#"
[[step]]
kind = "command"
program = ["python3", "answer.py"]
outputs = ["out"]
"#;

/// All kinds of cells, links, failed rows, rejected rows, a chart, and the times of steps.
pub(crate) const EVERYTHING: &str = r#"
[input]
required = ["ID"]

[[step]]
kind = "language"
column = "Note"

[[step]]
kind = "sentiment"
column = "Note"

[[check]]
rule = "row.Amount < 250.0"
on_failure = "fail"

[[column]]
name = "doubled"
value = "row.Amount * 2"

[report]
chart = "Flag"
links = ["Note"]
"#;

/// The workbook for [`EVERYTHING`].
pub(crate) fn everything() -> Book {
    let header = [
        "ID", "Amount", "Day", "Moment", "Time", "Length", "Share", "Flag", "Note",
    ];
    let rows = (0..300).map(|i| {
        let n = f64::from(i);
        vec![
            match i % 50 {
                7 => Cell::Empty,
                _ => Cell::Text(format!("{i:05}")),
            },
            Cell::Number(n + 0.1),
            Cell::Formatted(45_000.0 + n, "dd/mm/yyyy"),
            Cell::Formatted(45_000.25 + n, "yyyy-mm-dd hh:mm:ss"),
            Cell::Formatted(n / 1440.0, "hh:mm:ss"),
            Cell::Formatted(1.5 + n, "[h]:mm:ss"),
            Cell::Formatted(n / 1000.0, "0.0%"),
            Cell::Bool(i % 2 == 0),
            match i % 5 {
                0 => Cell::Empty,
                1 => Cell::Text(" =1+1 ".to_owned()),
                2 => Cell::Text(format!("http://example.com/{i}?a={i}&b=<c>#\u{e9}")),
                3 => Cell::Text("http://exa mple.com/%zz".to_owned()),
                _ => Cell::Text(format!("Größe {i}\nand a text in two lines \u{1F600}")),
            },
        ]
    });
    Book::new(&header, rows)
}

/// Each kind of result: a name, the job, and the exit code of its run.
fn jobs() -> Vec<(&'static str, Job, i32)> {
    let wide: Vec<String> = (0..1_000).map(|i| format!("Column number {i}")).collect();
    let wide_header: Vec<&str> = wide.iter().map(String::as_str).collect();
    let wide_row = (0..1_000).map(|i| Cell::Number(f64::from(i))).collect();
    let unicode = [
        "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
        "שלום עולם",
        "a\u{301}\u{323}",
        "\u{202E}reversed",
        "_x0041_ and _x000D_",
        "tab\tand\r\nlines",
    ];
    let csv = Job::new(&Book::numbered(1), "");
    std::fs::write(
        csv.folder().join("input.csv"),
        "name,amount,day\nA,1.5,2024-01-31\n\"B, C\",x,\n",
    )
    .unwrap();
    let mut jobs = vec![
        ("everything", Job::new(&everything(), EVERYTHING), 3),
        ("one-row", Job::new(&Book::numbered(1), ""), 0),
        ("plain", Job::new(&Book::numbered(1_000), ""), 0),
        (
            "wide",
            Job::new(&Book::new(&wide_header, [wide_row] as [Vec<Cell>; 1]), ""),
            0,
        ),
        (
            "unicode",
            Job::new(&Book::new(&["Ünï & <code>"], unicode.map(|t| vec![t])), ""),
            0,
        ),
        // A column with a dropdown and a note.
        (
            "review",
            Job::new(
                &Book::new(
                    &["text"],
                    ["I love it", "I hate it"].map(|text| vec![Cell::from(text)]),
                ),
                "[[step]]\nkind = \"sentiment\"\ncolumn = \"text\"\n[[review]]\ncolumn = \"sa_class\"\n",
            ),
            0,
        ),
        // The run fails, so that there is only an email.
        (
            "failed",
            Job::new(&Book::new(&["ID", "Amount"], Vec::<Vec<Cell>>::new()), ""),
            1,
        ),
        // Every record fails.
        (
            "all-failed",
            Job::new(
                &Book::numbered(20),
                "[[check]]\nrule = \"row.Amount > 1000.0\"\non_failure = \"fail\"\n",
            ),
            3,
        ),
    ];
    // Texts that a cell cannot hold: too long, and characters that XML forbids.
    for (name, text) in [
        ("truncated", "\"long \" * 10_000"),
        (
            "forbidden",
            r#""a\x00b\x0b\x1bc\ufffe\uffff <script>" + str(row)"#,
        ),
    ] {
        let job = Job::new(&Book::numbered(5), COMMAND);
        answers(&job, text);
        jobs.push((name, job, 0));
    }
    // A program that reports what is wrong with such characters, which the email quotes.
    let quoted = Job::new(&Book::numbered(5), COMMAND);
    let program = "import sys, json\n\
        for line in sys.stdin:\n    \
            row = json.loads(line)[\"row\"]\n    \
            print(json.dumps({\"row\": row, \"error\": \"bad \\ufffe\\x07 </td><b> \" + \"x\" * 3000}), flush=True)\n";
    std::fs::write(quoted.folder().join("answer.py"), program).unwrap();
    jobs.push(("quoted", quoted, 3));
    jobs
}

#[test]
#[ignore = "needs Node.js and packages from npm; .ci/run runs it"]
fn results_and_mails_of_every_kind_pass_third_party_validators() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = jobs();
    let mut workbooks = 0;
    for (name, job, code) in &jobs {
        job.run(&[]).expect(*code);
        let copy = |file: &str| {
            let from = job.out().join(file);
            let to = folder.path().join(format!("{name}-{file}"));
            from.exists() && std::fs::copy(from, to).is_ok()
        };
        workbooks += u64::from(copy("input-result.xlsx"));
        assert!(copy("input-mail.eml"), "{name}: no email");
    }
    // The run that fails early has no workbook.
    let mails = jobs.len() as u64;
    assert_eq!(workbooks, mails - 1);
    let expected = Validated {
        workbooks,
        mails,
        pages: mails,
        attachments: workbooks,
    };
    assert_eq!(validate(folder.path()), expected);
}
