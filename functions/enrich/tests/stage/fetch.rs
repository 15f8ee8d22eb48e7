//! Children fetch the programs of steps.

use bytes::Bytes;
use rowmill_ports::{Objects, Put};
use sha2::{Digest as _, Sha256};

use crate::bench::{Bench, WORK};

/// A pipeline that fetches `url` and runs it as `program`.
fn fetching(url: &str, content: &[u8], program: &str) -> String {
    let sha256: String = Sha256::digest(content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!(
        "[[step]]\nkind = \"command\"\nprogram = [\"{program}\", \"a\"]\noutputs = [\"said\"]\n\
         fetch = {{ url = \"{url}\", sha256 = \"{sha256}\" }}"
    )
}

/// A script that answers each record with its own path and its first argument.
const SCRIPT: &[u8] = br#"#!/bin/sh
while read -r line; do
    row=${line#*:}; row=${row%%,*}
    echo "{\"row\":$row,\"outputs\":{\"said\":\"$BATCH_FILE_TYPE $BATCH_FILE_S3_URL $1\"}}"
done
"#;

fn zipped(name: &str, content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file(name, options).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

impl Bench {
    async fn put(&self, key: &str, content: &[u8]) {
        let body = Bytes::copy_from_slice(content);
        self.objects
            .put(WORK, key, body, Put::default())
            .await
            .unwrap();
        std::fs::create_dir_all(self.directory.path().join("scratch")).unwrap();
    }

    fn scratch(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("scratch"))
            .unwrap()
            .count()
    }
}

#[tokio::test]
async fn programs_are_fetched_run_and_removed() {
    let zip = zipped("bin/score.sh", SCRIPT);
    for (key, content, program, kind) in [
        ("programs/score.sh", SCRIPT, "./score.sh", "script"),
        ("programs/x/score.zip", &zip, "./bin/score.sh", "zip"),
    ] {
        let url = format!("s3://{WORK}/{key}");
        let bench = Bench::new(&fetching(&url, content, program), 20, 1).await;
        bench.put(key, content).await;
        let report = bench.work(0, None).await.unwrap();
        assert_eq!(report.ok, 20);
        let outcomes = bench.outcomes().await;
        assert_eq!(
            outcomes[7].outputs[0].1.to_text(),
            format!("{kind} {url} a")
        );
        assert_eq!(bench.scratch(), 0, "no file is left");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_fetched_fails_the_child() {
    let work = |key: &str| format!("s3://{WORK}/{key}");
    // The URL, the content of programs/score.sh, the exit code, the reason.
    for (url, content, code, why) in [
        (work("programs/none.sh"), SCRIPT, 1, "no such object"),
        (
            work("programs/score.sh"),
            b"changed",
            2,
            "the SHA-256 of the file is",
        ),
        (work("runs/score.sh"), SCRIPT, 2, "must be under programs/"),
        (
            "s3://elsewhere/score.sh".to_owned(),
            SCRIPT,
            2,
            "cannot be fetched from the bucket elsewhere",
        ),
        ("s3://shared/score.sh".to_owned(), SCRIPT, 1, "shared"),
        ("none.sh".to_owned(), SCRIPT, 1, "none.sh"),
        (
            work("programs/score.zip"),
            SCRIPT,
            2,
            "not a readable zip file",
        ),
    ] {
        let bench = Bench::new(&fetching(&url, SCRIPT, "./score.sh"), 5, 1).await;
        for key in ["programs/score.sh", "programs/score.zip"] {
            bench.put(key, content).await;
        }
        let error = bench.work(0, None).await.unwrap_err();
        assert_eq!(error.exit_code(), code, "{url}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("step 1 (command)") && text.contains(&url),
            "{text}"
        );
        assert!(
            text.to_lowercase().contains(&why.to_lowercase()),
            "{why}: {text}"
        );
        assert_eq!(bench.scratch(), 0, "{url}");
    }
}
