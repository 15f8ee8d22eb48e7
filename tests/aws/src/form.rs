//! A form as a browser sends it.

use rowmill_aws::SignedPost;

/// A boundary that no test's file contains.
const BOUNDARY: &str = "----rowmill-form-boundary";

/// The media type and the body of a form: its fields, then the file.
pub fn multipart(fields: &[(&str, &str)], file: &str, content: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// Sends a signed form and returns the status of the answer.
pub async fn send(post: &SignedPost, file: &str, content: &[u8]) -> u16 {
    let fields: Vec<(&str, &str)> = post
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let (kind, body) = multipart(&fields, file, content);
    let request = crate::http::client().post(&post.url);
    let request = request.header("content-type", kind).body(body);
    request.send().await.unwrap().status().as_u16()
}
