//! A classifier from labelled texts to labels in a workbook: `train`, `predict`, `check`, `run`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rowmill_tests_local::program::{Job, Ran, binary, root};
use rowmill_tests_local::workbook::{Book, Cell};
use serde_json::Value;

const PIPELINE: &str = r#"
[[step]]
kind = "classify"
column = "Message"
model = "topics.model"
explain = 2
"#;

fn rowmill(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    command.output().unwrap()
}

fn train(out: &Path) -> Value {
    let data = root().join("examples/complaints/labelled.csv");
    let columns = ["--text", "message", "--label", "topic", "--json", "--out"];
    let mut args = vec!["train", data.to_str().unwrap()];
    args.extend(columns);
    args.push(out.to_str().unwrap());
    Ran::from(rowmill(&args)).expect(0).json
}

fn inbox() -> Book {
    let messages = [
        "The refund is still not on my card, please send the invoice again.",
        "The courier never came, where is my parcel?",
        "The zip broke and the seam is loose.",
        "Thank you, great service, I am very happy!",
    ];
    Book::new(&["Message"], messages.map(|m| vec![Cell::from(m)]))
}

#[test]
fn from_labelled_texts_to_labels_in_a_workbook() {
    let job = Job::new(&inbox(), PIPELINE);
    let model = job.folder().join("topics.model");
    let pipeline = job.folder().join("pipeline.toml");
    let (model_arg, pipeline_arg) = (model.to_str().unwrap(), pipeline.to_str().unwrap());

    // Before there is a model, and where the file is none, `check` says so, and nothing runs.
    let told = Ran::from(rowmill(&["check", pipeline_arg])).expect(2);
    assert!(
        told.stderr.contains("topics.model: there is no such file"),
        "{}",
        told.stderr
    );
    std::fs::write(&model, "message,topic\n").unwrap();
    let told = job.run(&[]).expect(2);
    assert!(
        told.stderr.contains("topics.model: it is no model"),
        "{}",
        told.stderr
    );

    let figures = train(&model);
    assert_eq!(figures["texts"], 208);
    assert_eq!(figures["labels"][2], "praise");
    // Chance is 0.25; 0.663 when this was written.
    assert!(figures["macro_f1"].as_f64().unwrap() > 0.6, "{figures}");
    let first = std::fs::read(&model).unwrap();
    train(&model);
    assert!(
        first == std::fs::read(&model).unwrap(),
        "the same data, another file"
    );
    // Through a link the file behind it is written, and the link stays one.
    std::fs::write(&model, "old").unwrap();
    let link = job.folder().join("link.model");
    std::os::unix::fs::symlink("topics.model", &link).unwrap();
    train(&link);
    assert!(link.is_symlink());
    assert!(first == std::fs::read(&model).unwrap());

    job.run(&[]).expect(0);
    let result = job.result();
    let text = |column: &str| -> Vec<String> {
        let cells = result.column(column).into_iter();
        cells
            .map(|c| c[1].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(text("label"), ["billing", "delivery", "product", "praise"]);
    assert!(text("words")[1].contains("courier"), "{:?}", text("words"));
    for probability in result.column("probability") {
        let probability = probability[1].as_f64().unwrap();
        assert!((0.25..1.0).contains(&probability), "{probability}");
    }

    let told = rowmill(&["predict", model_arg, "The parcel is lost"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.lines().next().unwrap().ends_with("  delivery"),
        "{told}"
    );
    assert!(told.contains("words for delivery:"), "{told}");
}

#[test]
fn the_example_sorts_its_inbox() {
    let dir = tempfile::tempdir().unwrap();
    let example = root().join("examples/complaints");
    for file in ["pipeline.toml", "complaints.xlsx"] {
        std::fs::copy(example.join(file), dir.path().join(file)).unwrap();
    }
    train(&dir.path().join("topics.model"));
    let (book, out) = (dir.path().join("complaints.xlsx"), dir.path().join("out"));
    let (book, out) = (book.to_str().unwrap(), out.to_str().unwrap());
    let ran = Ran::from(rowmill(&["run", book, "--out", out, "--json"])).expect(0);
    assert_eq!(
        (&ran.json["ok"], &ran.json["rejected"]),
        (&30.into(), &1.into())
    );
}

#[test]
fn data_that_cannot_be_trained_on_is_told_and_no_model_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data.csv"), dir.path().join("m.model"));
    for (csv, why) in [
        (
            "text,kind\na,b\n",
            "column `label` not found; the columns are `text`, `kind`",
        ),
        ("text,label\na,x\nb,x\n", "there are 1 labels"),
        ("text,label\na,x\nb,x\nc,y\n", "the label `y` has one text"),
    ] {
        std::fs::write(&data, csv).unwrap();
        let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
        let args = [
            "train", data, "--text", "text", "--label", "label", "--out", out,
        ];
        let told = Ran::from(rowmill(&args)).expect(2);
        assert!(told.stderr.contains(why), "{}", told.stderr);
    }
    assert!(!out.exists());
    // What is no file is not replaced by one.
    let _socket = std::os::unix::net::UnixListener::bind(&out).unwrap();
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let args = [
        "train", data, "--text", "text", "--label", "label", "--out", out,
    ];
    let told = Ran::from(rowmill(&args)).expect(2);
    assert!(
        told.stderr.contains("it is a device, a pipe or a socket"),
        "{}",
        told.stderr
    );
}
