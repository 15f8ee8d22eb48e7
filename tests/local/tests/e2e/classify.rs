//! A classifier, from labeled texts to labels in a workbook: `train`, `predict`, `check` and `run`.

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
fn a_model_is_trained_and_labels_a_workbook() {
    let job = Job::new(&inbox(), PIPELINE);
    let model = job.folder().join("topics.model");
    let pipeline = job.folder().join("pipeline.toml");
    let (model_arg, pipeline_arg) = (model.to_str().unwrap(), pipeline.to_str().unwrap());

    // `check` and `run` report a missing model and a file that is not a model.
    let ran = Ran::from(rowmill(&["check", pipeline_arg])).expect(2);
    assert!(
        ran.stderr.contains("topics.model: the file does not exist"),
        "{}",
        ran.stderr
    );
    std::fs::write(&model, "message,topic\n").unwrap();
    let ran = job.run(&[]).expect(2);
    assert!(
        ran.stderr.contains("topics.model: not a model"),
        "{}",
        ran.stderr
    );

    let figures = train(&model);
    assert_eq!(figures["texts"], 208);
    assert_eq!(figures["labels"][2], "praise");
    // Chance is 0.25; it was 0.663 when this test was written.
    assert!(figures["macro_f1"].as_f64().unwrap() > 0.6, "{figures}");
    let first = std::fs::read(&model).unwrap();
    train(&model);
    assert!(
        first == std::fs::read(&model).unwrap(),
        "the same data, another file"
    );
    // A symbolic link stays a link, and the file that it points to is replaced.
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

    let output = rowmill(&["predict", model_arg, "The parcel is lost"]);
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.lines().next().unwrap().ends_with("  delivery"),
        "{output}"
    );
    assert!(output.contains("words for delivery:"), "{output}");
}

#[test]
fn the_complaints_example_assigns_topics() {
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
fn unusable_training_data_is_reported_and_no_model_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data.csv"), dir.path().join("m.model"));
    for (csv, why) in [
        (
            "text,kind\na,b\n",
            "column `label` not found; the columns are `text`, `kind`",
        ),
        (
            "text,label\na,x\nb,x\n",
            "at least 2 labels, but there are 1",
        ),
        (
            "text,label\na,x\nb,x\nc,y\n",
            "the label `y` has only one text",
        ),
    ] {
        std::fs::write(&data, csv).unwrap();
        let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
        let args = [
            "train", data, "--text", "text", "--label", "label", "--out", out,
        ];
        let ran = Ran::from(rowmill(&args)).expect(2);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
    assert!(!out.exists());
    // A path that is not a regular file is not replaced.
    let _socket = std::os::unix::net::UnixListener::bind(&out).unwrap();
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let args = [
        "train", data, "--text", "text", "--label", "label", "--out", out,
    ];
    let ran = Ran::from(rowmill(&args)).expect(2);
    assert!(
        ran.stderr.contains("it is a device, a pipe or a socket"),
        "{}",
        ran.stderr
    );
}
