//! Emulators of AWS: ministack and moto. Each runs in a separate process that starts empty and ends with
//! the test.
//!
//! ministack emulates S3, DynamoDB, SNS, EventBridge, Scheduler, Lambda and CloudFormation. moto emulates
//! the API of Batch, raw mail of SES, and the minimum part size of S3. They have different account ids
//! ([`Kind::account`]).

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use rowmill_tests_local::program::root;
use rowmill_tests_local::python;

/// The region of all tests.
pub const REGION: &str = "eu-central-1";

/// The maximum time until an emulator answers. It takes seconds on an idle machine, and longer if many
/// tests start at the same time.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// The kind of an emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// <https://pypi.org/project/ministack/>
    Ministack,
    /// <https://pypi.org/project/moto/>
    Moto,
}

impl Kind {
    /// The id of the emulated account.
    pub fn account(self) -> &'static str {
        match self {
            Kind::Ministack => "000000000000",
            Kind::Moto => "123456789012",
        }
    }
}

/// A running emulator. It ends when this is dropped or when the test's process ends.
pub struct Emulator {
    kind: Kind,
    process: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Emulator {
    /// Starts ministack and waits until it answers.
    pub fn ministack() -> Emulator {
        Emulator::start(Kind::Ministack, &[])
    }

    /// Like [`Emulator::ministack`], with additional environment variables. Its functions inherit them.
    pub fn ministack_with(variables: &[(String, String)]) -> Emulator {
        Emulator::start(Kind::Ministack, variables)
    }

    /// Starts moto and waits until it answers. It accepts jobs and functions and does not run them.
    pub fn moto() -> Emulator {
        let moto = Emulator::start(Kind::Moto, &[]);
        let no_docker = r#"{"batch":{"use_docker":false},"lambda":{"use_docker":false}}"#;
        moto.http("POST", "/moto-api/config", no_docker);
        moto
    }

    fn start(kind: Kind, variables: &[(String, String)]) -> Emulator {
        // Another process can take the port before the emulator binds it.
        for _ in 0..5 {
            if let Some(emulator) = Emulator::try_start(kind, variables) {
                return emulator;
            }
        }
        panic!("{kind:?} did not start in five attempts");
    }

    fn try_start(kind: Kind, variables: &[(String, String)]) -> Option<Emulator> {
        static PYTHON: OnceLock<PathBuf> = OnceLock::new();
        let python = PYTHON.get_or_init(|| python::venv("emulator-venv", "emulators.txt"));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let port = address.port().to_string();
        let directory = TempDir::new().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(python);
        command.arg(root().join("tests/python/emulator.py"));
        match kind {
            Kind::Ministack => command.arg("ministack"),
            Kind::Moto => command.args(["moto_server", "-H", "127.0.0.1", "-p", &port]),
        };
        let process = command
            .envs([("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", &port)])
            .envs([
                ("MINISTACK_HOST", "127.0.0.1"),
                ("MINISTACK_REGION", REGION),
            ])
            // Its files are removed with the directory.
            .env("TMPDIR", directory.path())
            .envs(environment(&[]))
            .env("ROWMILL_REQUESTS", crate::record::folder())
            // The functions in ministack call it at this address.
            .env("AWS_ENDPOINT_URL", format!("http://{address}"))
            .envs(variables.iter().cloned())
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut emulator = Emulator {
            kind,
            process,
            address,
            directory,
        };
        let started = Instant::now();
        while emulator.try_http("GET", "/", "").is_err() {
            if emulator.process.try_wait().unwrap().is_some() {
                eprintln!("{kind:?} on port {port} ended: {}", emulator.log());
                return None;
            }
            assert!(
                started.elapsed() < UP_WITHIN,
                "{kind:?} does not answer: {}",
                emulator.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(emulator)
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The id of the emulated account.
    pub fn account(&self) -> &'static str {
        self.kind.account()
    }

    /// The output so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.path().join("log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The SDK configuration with this emulator as endpoint of every service. Retries and timeouts are
    /// those of the product.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.url())
    }

    /// Sends a request to the emulator's own API (not to AWS's) and returns the body of the answer.
    pub fn http(&self, method: &str, path: &str, body: &str) -> String {
        let answer = self.try_http(method, path, body).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1);
        assert!(
            status.is_some_and(|s| s.starts_with('2')),
            "{method} {path}: {answer}"
        );
        body.to_owned()
    }

    fn try_http(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(UP_WITHIN))?;
        // HTTP/1.0, so that the answer ends with the connection and is not chunked.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The log is removed with the directory, so print it for the reader of the failed test.
            eprintln!("output of {:?}:\n{}", self.kind, self.log());
        }
        // SIGTERM lets it stop its own children first. Then the rest of its process group is killed.
        drop(self.process.stdin.take());
        let pid = Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(2) {
            if !matches!(self.process.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.process.wait();
    }
}

/// The SDK configuration with this address as endpoint of every service. Retries and timeouts are those
/// of the product. It does not depend on the environment or files of the user who runs the tests.
pub fn sdk_config(url: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .retry_config(rowmill_aws::retries())
        .timeout_config(rowmill_aws::timeouts())
        .build()
}

/// Environment variables that direct the calls of a program to emulators. `endpoints` are pairs of a
/// service, spelled as in `AWS_ENDPOINT_URL_<SERVICE>` (`S3`, `DYNAMODB`, `SESV2`; empty for all other
/// services), and its emulator.
pub fn environment(endpoints: &[(&str, &Emulator)]) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = [
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (service, emulator) in endpoints {
        let name = match *service {
            "" => "AWS_ENDPOINT_URL".to_owned(),
            service => format!("AWS_ENDPOINT_URL_{service}"),
        };
        variables.push((name, emulator.url()));
    }
    variables
}
