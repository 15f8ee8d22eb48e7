//! A server for the example `reviews-multilingual` that speaks LibreTranslate's protocol. It does not
//! really translate: it looks up the sentences in `sentences.tsv`, from which the example's workbook is
//! made, and leaves everything else unchanged. For real translations use LibreTranslate or Amazon
//! Translate instead.
//!
//! `cargo run --release --example translator [PORT]` (default 8732), on 127.0.0.1 only.
//!
//! - `GET /frontend/settings` -> `{"charLimit":5000,"keyRequired":false}`
//! - `POST /translate` with `{"q":"..","source":"de","target":"en"}` -> `{"translatedText":".."}`

use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

/// Language, tone, sentence, and the sentence in English.
const SENTENCES: &str = include_str!("sentences.tsv");
/// The longest text in characters; LibreTranslate's public server has the same limit.
const CHARS: usize = 5000;

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8732".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    eprintln!("translator on http://{}", listener.local_addr()?);
    answer(&listener);
    Ok(())
}

/// Serves every connection on its own thread.
pub fn answer(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A broken connection is the client's problem.
        std::thread::spawn(move || serve(stream).ok());
    }
}

/// Answers the requests of one connection until it is closed.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = request.split(' ').nth(1).unwrap_or("/");
        let (status, answer) = match path {
            "/frontend/settings" => (200, json!({"charLimit": CHARS, "keyRequired": false})),
            "/translate" => translate(&body),
            _ => (404, json!({"error": "no such page"})),
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes())?;
    }
}

fn translate(body: &[u8]) -> (u16, Value) {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return (400, json!({"error": "the body is not JSON"}));
    };
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let (mut translated, source) = (text("q").to_owned(), text("source"));
    if text("target") != "en" {
        return (400, json!({"error": "this server translates to `en` only"}));
    }
    if translated.chars().count() > CHARS {
        let error = format!("the text is longer than {CHARS} characters");
        return (400, json!({"error": error}));
    }
    for line in SENTENCES.lines() {
        let mut fields = line.split('\t');
        let language = fields.next().unwrap_or_default();
        let (Some(sentence), Some(english)) = (fields.nth(1), fields.next()) else {
            continue;
        };
        if source == "auto" || source == language {
            translated = translated.replace(sentence, english);
        }
    }
    (200, json!({"translatedText": translated}))
}
