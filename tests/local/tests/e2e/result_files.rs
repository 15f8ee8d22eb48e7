//! Files in the output directory belong to the user.

use std::path::Path;

use rowmill_tests_local::program::{Job, Ran};
use rowmill_tests_local::workbook::{Book, read};

fn pipeline(factor: u32) -> String {
    format!("[[column]]\nname = \"product\"\nvalue = \"row.Amount * {factor}\"\n")
}

fn change(job: &Job, factor: u32) {
    std::fs::write(job.folder().join("pipeline.toml"), pipeline(factor)).unwrap();
}

fn result(ran: &Ran) -> String {
    let path = Path::new(ran.json["result"].as_str().unwrap());
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn an_edited_or_foreign_result_is_kept() {
    let job = Job::new(&Book::numbered(5), &pipeline(2));
    let path = job.out().join("input-result.xlsx");
    std::fs::create_dir_all(job.out()).unwrap();
    std::fs::write(&path, "a file of the user").unwrap();
    let first = job.run(&[]).expect(0);
    assert_eq!(result(&first), "input-result-2.xlsx");
    assert!(
        first.stderr.contains("another program wrote it"),
        "{}",
        first.stderr
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"a file of the user");
    std::fs::remove_file(&path).unwrap();

    // The usual name is free again, and its own result is replaced.
    for factor in [3, 4] {
        change(&job, factor);
        let ran = job.run(&[]).expect(0);
        assert_eq!(result(&ran), "input-result.xlsx");
        assert_eq!(job.result().texts("product")[1], factor.to_string());
    }
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"edited"))
        .unwrap();
    let edited = std::fs::read(&path).unwrap();
    change(&job, 5);
    let ran = job.run(&[]).expect(0);
    // Its own earlier one, which nobody has edited.
    assert_eq!(result(&ran), "input-result-2.xlsx");
    assert!(ran.stderr.contains("was edited"), "{}", ran.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), edited);
}

#[test]
fn a_result_that_is_open_is_kept() {
    let job = Job::new(&Book::numbered(5), &pipeline(2));
    job.run(&[]).expect(0);
    for (lock, program, factor) in [
        ("~$input-result.xlsx", "Excel", 3),
        (".~lock.input-result.xlsx#", "LibreOffice", 4),
    ] {
        let before = std::fs::read(job.out().join("input-result.xlsx")).unwrap();
        std::fs::write(job.out().join(lock), "").unwrap();
        change(&job, factor);
        let ran = job.run(&[]).expect(0);
        assert_eq!(result(&ran), "input-result-2.xlsx");
        assert!(ran.stderr.contains(program), "{}", ran.stderr);
        assert_eq!(
            std::fs::read(job.out().join("input-result.xlsx")).unwrap(),
            before
        );
        std::fs::remove_file(job.out().join(lock)).unwrap();
    }
}

#[test]
fn workbooks_of_the_same_name_have_their_own_results() {
    let job = Job::new(&Book::numbered(5), &pipeline(2));
    let other = job.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    let other = other.join("input.xlsx");
    Book::numbered(7).save(&other);
    let toml = job.folder().join("pipeline.toml");
    let second = || {
        let toml = toml.to_str().unwrap();
        Ran::from(
            job.command_on(&other, &["--pipeline", toml])
                .output()
                .unwrap(),
        )
        .expect(0)
    };
    assert_eq!(result(&job.run(&[]).expect(0)), "input-result.xlsx");
    for _ in 0..2 {
        let ran = second();
        assert_eq!(result(&ran), "input-result-2.xlsx");
        let path = Path::new(ran.json["result"].as_str().unwrap()).to_owned();
        let rows = read(&path, false)["sheets"][0]["rows"]
            .as_array()
            .unwrap()
            .len();
        assert!(rows >= 7, "{rows}");
        assert_eq!(job.result().texts("product").len(), 5);
    }
}

#[test]
fn the_workbook_is_written_if_the_email_cannot_be_sent() {
    let job = Job::new(&Book::numbered(5), &pipeline(2));
    let mut command = job.command(&[]);
    // Nothing listens on this port.
    command.env("ROWMILL_SMTP", "smtp://127.0.0.1:9");
    let ran = Ran::from(command.output().unwrap()).expect(1);
    assert!(
        ran.stderr.contains("the result is written to"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("email is not sent"), "{}", ran.stderr);
    assert_eq!(job.result().texts("product")[2], "4");
    // The same command without the relay sends it.
    let again = job.run(&[]).expect(0);
    assert_eq!(
        (result(&again).as_str(), job.mails()),
        ("input-result.xlsx", 1)
    );
}
