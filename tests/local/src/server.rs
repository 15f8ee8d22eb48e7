//! `rowmill serve`, and requests to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::binary;

/// A running `rowmill serve`. It is killed when this value is dropped.
pub struct Server {
    process: Child,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The token of the API.
    pub token: String,
}

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Server {
    /// Starts the server with pipelines in a folder and its state below `out`.
    pub fn start(pipelines: &Path, out: &Path) -> Server {
        Server::start_with(pipelines, out, &[])
    }

    /// The same with further arguments.
    pub fn start_with(pipelines: &Path, out: &Path, args: &[&str]) -> Server {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--port", "0", "--pipelines"])
            .arg(pipelines)
            .arg("--out")
            .arg(out)
            .args(args);
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://127.0.0.1:").unwrap();
        let (port, token) = rest.split_once("/#token=").unwrap();
        Server {
            process,
            port: port.parse().unwrap(),
            token: token.to_owned(),
        }
    }

    /// Stops the server as Ctrl-C does, and returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        self.process.wait().unwrap().code()
    }

    /// Sends a request with exactly these headers and returns the answer.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        // In HTTP/1.0 the end of the connection is the end of the body.
        let mut head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses a body does not read it.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer)));
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        Answer {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: answer[end + 4..].to_vec(),
        }
    }

    /// Sends a request to the API with the token. `body`: JSON, if it is not null.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (host, bearer) = (self.host(), format!("Bearer {}", self.token));
        let mut headers = vec![("Host", &*host), ("Authorization", &*bearer)];
        let mut bytes = Vec::new();
        if !body.is_null() {
            headers.push(("Content-Type", "application/json"));
            bytes = body.to_string().into_bytes();
        }
        self.send(method, path, &headers, &bytes)
    }

    /// `GET` with the token.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// `127.0.0.1:<port>`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Uploads a file for a pipeline, and returns the id of the upload.
    #[track_caller]
    pub fn upload(&self, file: &Path, pipeline: &str) -> String {
        let content = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let new = serde_json::json!({ "file": name, "pipeline": pipeline, "size": content.len() });
        let answer = self.call("POST", "/uploads", &new);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let upload = answer.json();
        let key = upload["fields"]["key"].as_str().unwrap();
        let answer = self.send_file(upload["url"].as_str().unwrap(), key, &content);
        assert_eq!(answer.status, 204, "{}", answer.text());
        upload["upload"].as_str().unwrap().to_owned()
    }

    /// Sends a file as the form of an upload.
    pub fn send_file(&self, url: &str, key: &str, content: &[u8]) -> Answer {
        let mut form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{key}\r\n--b\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n"
        )
        .into_bytes();
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n--b--\r\n");
        let (host, bearer) = (self.host(), format!("Bearer {}", self.token));
        let headers = [
            ("Host", &*host),
            ("Authorization", &*bearer),
            ("Content-Type", "multipart/form-data; boundary=b"),
        ];
        self.send("POST", url, &headers, &form)
    }

    /// Starts a run of an upload, and returns its id.
    #[track_caller]
    pub fn run(&self, upload: &str, pipeline: &str) -> String {
        let new = serde_json::json!({ "upload": upload, "pipeline": pipeline });
        let answer = self.call("POST", "/runs", &new);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["run"].as_str().unwrap().to_owned()
    }

    /// Waits until a run has ended.
    #[track_caller]
    pub fn ended(&self, run: &str) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.get(&format!("/runs/{run}"));
            let state = answer["state"].as_str().unwrap();
            if ["delivered", "delivered_with_errors", "failed"].contains(&state) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "{answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// A header; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}
