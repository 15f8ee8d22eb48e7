//! Secrets reach the places that the pipeline names and are not disclosed anywhere else.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rowmill_tests_local::program::{Job, Ran, files};
use rowmill_tests_local::workbook::Book;

const VALUE: &str = "s3cr3t/key+1 &x";
/// The encodings in which a source echoes the value: unchanged, percent-encoded, in JSON, and as Basic
/// authentication of the user `me`.
const FORMS: [&str; 4] = [
    VALUE,
    "s3cr3t%2Fkey%2B1%20%26x",
    r"s3cr3t\/key+1 &x",
    "bWU6czNjcjN0L2tleSsxICZ4",
];

/// A source that returns what it receives: in an output (`/echo`), in an answer without the output
/// (`/missing`), and in a redirect (`/redirect`).
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = serve(stream);
            });
        }
    });
    address
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            let found = lines.iter().find_map(|l| {
                let (n, v) = l.split_once(": ")?;
                n.eq_ignore_ascii_case(name).then(|| v.to_owned())
            });
            found.unwrap_or_default()
        };
        let (key, basic) = (header("x-key"), header("authorization"));
        assert_eq!(key, VALUE, "the source gets the value itself");
        assert_eq!(basic, format!("Basic {}", FORMS[3]));
        let target = lines[0].split(' ').nth(1).unwrap();
        assert!(target.ends_with("?k=s3cr3t%2Fkey%2B1+%26x"), "{target}");
        let escaped = key.replace('/', r"\/");
        let answer = if target.starts_with("/echo") {
            let body = format!(r#"{{"got": "{escaped}; {target}; {basic}"}}"#);
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        } else if target.starts_with("/missing") {
            // The excerpt in the error is truncated in the middle of the value.
            let body = format!(r#"{{"{}": "{key}"}}"#, "x".repeat(66));
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        } else {
            format!("HTTP/1.1 302 Found\r\nLocation: http://[{key}\r\nContent-Length: 0\r\n\r\n")
        };
        writer.write_all(answer.as_bytes())?;
    }
}

fn pipeline(source: &str) -> String {
    format!(
        r#"
secrets = ["API_KEY"]

[[step]]
kind = "http"
url = "{source}/{{{{ row.Name }}}}"
query = {{ k = "{{{{ secret('API_KEY') }}}}" }}
headers = {{ X-Key = "{{{{ secret('API_KEY') }}}}", Authorization = "Basic {{{{ ('me:' ~ secret('API_KEY')) | base64 }}}}" }}
attempts = 2
robots = false
allow_hosts = ["127.0.0.1"]
[step.outputs]
got = {{ json = "$.got" }}

[[step]]
kind = "command"
program = ["sh", "-c", '''
read line
[ -z "$ROWMILL_SECRET_API_KEY$ROWMILL_SECRET_OTHER$ROWMILL_SMTP$AWS_SESSION_TOKEN" ] || echo "in the environment" >&2
echo "dying with $API_KEY" >&2
exit 3''']
outputs = ["none"]
"#
    )
}

fn run(job: &Job, value: Option<&str>) -> Ran {
    let mut command = job.command(&["--verbose"]);
    command.env("RUST_LOG", "debug");
    // What the program must not inherit.
    command.env("ROWMILL_SECRET_OTHER", "not-declared");
    command.env("AWS_SESSION_TOKEN", "not-needed");
    if let Some(value) = value {
        command.env("ROWMILL_SECRET_API_KEY", value);
    }
    Ran::from(command.output().unwrap())
}

#[test]
fn a_secret_reaches_only_the_source_and_the_program() {
    let source = echo();
    let names = ["echo", "missing", "redirect"];
    let book = Book::new(&["Name"], names.map(|name| vec![name]));
    let job = Job::new(&book, &pipeline(&source));
    let ran = run(&job, Some(VALUE)).expect(3);
    let result = job.result();
    let errors = result.texts("error");
    // The program printed the value to its standard error.
    assert!(
        errors[0].contains("dying with [secret API_KEY]"),
        "{errors:?}"
    );
    assert!(!errors[0].contains("in the environment"), "{errors:?}");
    assert!(errors[1].contains("\"[secret API_KEY]..."), "{errors:?}");
    assert!(errors[2].contains("[secret API_KEY]"), "{errors:?}");
    let all = format!("{}{}{}{}", result.0, job.mail(), ran.stderr, ran.json);
    let mut texts = vec![("output of the command".to_owned(), all)];
    for file in files(&job.out()) {
        let bytes = std::fs::read(job.out().join(Path::new(&file))).unwrap();
        texts.push((file, String::from_utf8_lossy(&bytes).into_owned()));
    }
    assert!(
        texts.iter().any(|(name, _)| name.ends_with("1.log")),
        "logs are checked"
    );
    for (name, text) in &texts {
        for form in FORMS {
            assert!(!text.contains(form), "{name} contains {form}");
        }
        // The part of the value that is the same in every encoding.
        assert!(!text.contains("s3cr3t"), "{name} contains a part");
    }
}

#[test]
fn an_output_contains_the_name_instead_of_the_value() {
    let source = echo();
    let text = pipeline(&source);
    let (text, _) = text.split_once("[[step]]\nkind = \"command\"").unwrap();
    let job = Job::new(&Book::new(&["Name"], [vec!["echo"]]), text);
    run(&job, Some(VALUE)).expect(0);
    let got = job.result().texts("got");
    assert_eq!(
        got,
        ["[secret API_KEY]; /echo?k=[secret API_KEY]; Basic [secret API_KEY]"]
    );
}

#[test]
fn a_missing_secret_is_reported_before_the_first_row() {
    let job = Job::new(
        &Book::new(&["Name"], [vec!["echo"]]),
        &pipeline("http://127.0.0.1:9"),
    );
    for value in [None, Some("abc")] {
        let ran = run(&job, value).expect(2);
        assert!(ran.stderr.contains("secret API_KEY has"), "{}", ran.stderr);
        assert_eq!(job.mails(), 0);
    }
}
