//! What stands in for AWS in the tests: ministack and moto, each a process of its own that begins
//! empty and ends with the test.
//!
//! ministack serves S3, DynamoDB, SNS, EventBridge, Scheduler, Lambda and CloudFormation; moto
//! serves Batch's shapes, raw mail of SES, and S3's least size of a part. Their account ids differ
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

/// The region that tests work in.
pub const REGION: &str = "eu-central-1";

/// How long an emulator may take until it answers: seconds where nothing else runs, more where
/// many tests start at once.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// Which emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// <https://pypi.org/project/ministack/>
    Ministack,
    /// <https://pypi.org/project/moto/>
    Moto,
}

impl Kind {
    /// The account that it stands for.
    pub fn account(self) -> &'static str {
        match self {
            Kind::Ministack => "000000000000",
            Kind::Moto => "123456789012",
        }
    }
}

/// A running emulator. It ends when this is dropped, or the test's process ends.
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

    /// The same, with variables that its functions find in their environment, which begins with
    /// its own.
    pub fn ministack_with(variables: &[(String, String)]) -> Emulator {
        Emulator::start(Kind::Ministack, variables)
    }

    /// Starts moto and waits until it answers. Jobs and functions are told of and not run.
    pub fn moto() -> Emulator {
        let moto = Emulator::start(Kind::Moto, &[]);
        let no_docker = r#"{"batch":{"use_docker":false},"lambda":{"use_docker":false}}"#;
        moto.http("POST", "/moto-api/config", no_docker);
        moto
    }

    fn start(kind: Kind, variables: &[(String, String)]) -> Emulator {
        // Between finding a port free and taking it another process may take it.
        for _ in 0..5 {
            if let Some(emulator) = Emulator::try_start(kind, variables) {
                return emulator;
            }
        }
        panic!("{kind:?} did not start in five tries");
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
            // What it keeps in files goes with the directory.
            .env("TMPDIR", directory.path())
            .envs(environment(&[]))
            // ministack's functions call it there.
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

    /// The account that it stands for.
    pub fn account(&self) -> &'static str {
        self.kind.account()
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.path().join("log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The SDK's configuration with every service here, and with the retries and times of the
    /// product.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.url())
    }

    /// A request of the emulator's own interface, not of AWS's: the body of the answer.
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
        // HTTP/1.0: the answer ends with the connection, and is not in chunks.
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
            // Kept for the reader of a failed test: it goes with the directory.
            eprintln!("{:?} said:\n{}", self.kind, self.log());
        }
        // It ends what it has started, then itself; what is left of its group is killed.
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

/// The SDK's configuration with every service at that address, and with the retries and times of
/// the product. The environment and files of whoever runs the tests have no part in it.
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

/// The environment that sends a started program's calls to emulators. `endpoints` are pairs of a
/// service as `AWS_ENDPOINT_URL_<SERVICE>` spells it (`S3`, `DYNAMODB`, `SESV2`; empty for all
/// services not named) and its emulator.
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
