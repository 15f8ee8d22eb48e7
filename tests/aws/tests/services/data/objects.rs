//! Objects on S3.

use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use rowmill_aws::{PostedObject, S3Objects};
use rowmill_domain::storage::ArchiveClass;
use rowmill_ports::{Archive, ErrorKind, Location, Objects, Put, conformance};
use rowmill_tests_aws::emulators::Emulator;
use rowmill_tests_aws::form;
use rowmill_tests_aws::stack::bucket;
use tempfile::TempDir;

/// Bytes that are different in each part.
fn body(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| (n % 251 + n / 100_000) as u8)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_versions() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    bucket(&config, "work", false).await;
    let scratch = TempDir::new().unwrap();
    conformance::objects::objects(&S3Objects::new(&config), "work", scratch.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_versions() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let scratch = TempDir::new().unwrap();
    let objects = S3Objects::new(&config);
    bucket(&config, "versioned", true).await;
    conformance::objects::versioned_objects(&objects, "versioned", scratch.path()).await;
    bucket(&config, "all", true).await;
    conformance::objects::objects(&objects, "all", scratch.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_classes() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    bucket(&config, "work", false).await;
    let (objects, scratch) = (S3Objects::new(&config), TempDir::new().unwrap());
    let patience = Duration::from_secs(60);
    conformance::archive::archive(&objects, &objects, "work", scratch.path(), patience).await;

    // ministack has only a checksum of the checksums of parts. A copy could not be verified, so the object
    // stays where it is.
    let put = objects.put("work", "parts", body(9 << 20).into(), Put::default());
    put.await.unwrap();
    let at = Location::new("work", "parts");
    let class = ArchiveClass::DeepArchive;
    let refused = objects.archive(&at, class).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert_eq!(objects.status(&at).await.unwrap().class, None);
    assert!(objects.get(&at).await.unwrap().body == body(9 << 20));
}

/// On moto, which refuses a part below 5 MB that is not the last, as S3 does; ministack accepts it.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_uploaded_in_parts() {
    let aws = Emulator::moto();
    let config = aws.sdk_config();
    let client = bucket(&config, "work", false).await;
    let objects = S3Objects::new(&config);
    let scratch = TempDir::new().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    let put = Put {
        content_type: Some("application/octet-stream".to_owned()),
        metadata: [("note".to_owned(), "für Ana".to_owned())].into(),
        if_absent: false,
    };
    // One byte below and above the size from which parts are used; several parts and a remainder.
    for (length, parts) in [
        (8 << 20, None),
        ((8 << 20) + 1, Some(2)),
        ((20 << 20) + 3, Some(3)),
    ] {
        let bytes = body(length);
        std::fs::write(&from, &bytes).unwrap();
        for from_file in [true, false] {
            let key = format!("{length}-{from_file}");
            let info = if from_file {
                objects
                    .upload("work", &key, &(&from).into(), put.clone())
                    .await
            } else {
                let body = Bytes::from(bytes.clone());
                objects.put("work", &key, body, put.clone()).await
            };
            let info = info.unwrap();
            // The ETag of an object in parts ends with the number of parts.
            let number = info.etag.split_once('-').map(|(_, n)| n.parse().unwrap());
            assert_eq!(number, parts, "{key}: {}", info.etag);
            let at = Location::new("work", &key);
            let got = objects.download(&at, &to).await.unwrap();
            assert!(
                std::fs::read(&to).unwrap() == bytes,
                "{key}: bytes come back"
            );
            assert_eq!((&got.etag, got.size), (&info.etag, length as u64));
            assert_eq!(got.metadata, put.metadata);
        }
    }
    assert_no_uploads(&client).await;
}

async fn assert_no_uploads(client: &Client) {
    let uploads = client.list_multipart_uploads().bucket("work").send().await;
    let uploads = uploads.unwrap();
    assert!(uploads.uploads().is_empty(), "{:?}", uploads.uploads());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_keeps_an_existing_object_and_leaves_no_parts() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let client = bucket(&config, "work", false).await;
    let objects = S3Objects::new(&config);
    let once = || Put {
        if_absent: true,
        ..Put::default()
    };
    let large = |first: u8| {
        let mut bytes = body(9 << 20);
        bytes[0] = first;
        Bytes::from(bytes)
    };
    objects.put("work", "k", large(1), once()).await.unwrap();
    let second = objects
        .put("work", "k", large(2), once())
        .await
        .unwrap_err();
    assert_eq!(second.kind, ErrorKind::Conflict);
    assert_eq!(second.operation, "CompleteMultipartUpload");
    let kept = objects.get(&Location::new("work", "k")).await.unwrap();
    assert_eq!(kept.body[0], 1);
    assert_no_uploads(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_has_the_encoding_of_s3() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let client = bucket(&config, "work", false).await;
    let objects = S3Objects::new(&config);
    let put = Put {
        metadata: [
            ("notify".to_owned(), "Jürgen <j@example.com>".to_owned()),
            ("limit".to_owned(), "10".to_owned()),
        ]
        .into(),
        ..Put::default()
    };
    let body = Bytes::from_static(b"x");
    objects.put("work", "k", body, put.clone()).await.unwrap();
    let at = Location::new("work", "k");
    assert_eq!(objects.head(&at).await.unwrap().metadata, put.metadata);
    let raw = client
        .head_object()
        .bucket("work")
        .key("k")
        .send()
        .await
        .unwrap();
    let raw = raw.metadata().unwrap();
    assert_eq!(raw["limit"], "10", "ASCII is unchanged");
    assert_eq!(
        raw["notify"],
        "=?UTF-8?B?SsO8cmdlbiA8akBleGFtcGxlLmNvbT4=?="
    );

    // The encoding that an uploader must use on the command line.
    let write = client.put_object().bucket("work").key("cli");
    let write = write.metadata("Notify", "=?UTF-8?Q?J=C3=BCrgen_<j@example.com>?=");
    write.body(Bytes::new().into()).send().await.unwrap();
    let read = objects.head(&Location::new("work", "cli")).await.unwrap();
    assert_eq!(read.metadata["notify"], "Jürgen <j@example.com>");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_downloads_the_object_with_its_file_name_until_it_expires() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    bucket(&config, "work", false).await;
    let objects = S3Objects::new(&config);
    let key = "results/r/my file (1)+ü.xlsx";
    let body = Bytes::from_static(b"workbook");
    objects
        .put("work", key, body, Put::default())
        .await
        .unwrap();
    let at = Location::new("work", key);
    let name = "my file (1)+ü-result.xlsx";
    let client = rowmill_tests_aws::http::client();
    let get = async |url: &str| client.get(url).send().await.unwrap();

    let link = objects
        .link(&at, name, Duration::from_secs(60))
        .await
        .unwrap();
    let answer = get(&link).await;
    assert_eq!(answer.status(), 200);
    let disposition = answer.headers()["content-disposition"].to_str().unwrap();
    assert_eq!(
        disposition,
        "attachment; filename=\"my file (1)+_-result.xlsx\"; \
         filename*=UTF-8''my%20file%20%281%29+%C3%BC-result.xlsx"
    );
    assert_eq!(answer.bytes().await.unwrap(), "workbook");

    let tampered = link.replace("results/r", "results/s");
    assert_ne!(tampered, link);
    assert_eq!(get(&tampered).await.status(), 403);
    let short = objects
        .link(&at, name, Duration::from_secs(1))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(get(&short).await.status(), 403, "the link has expired");

    let week = Duration::from_secs(7 * 86_400 + 1);
    let error = objects.link(&at, name, week).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn errors_name_the_operation_the_resource_and_the_request_id() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    bucket(&config, "work", false).await;
    let objects = S3Objects::new(&config);
    let at = Location::new("work", "runs/r/manifest.json");
    for (error, operation) in [
        (objects.get(&at).await.unwrap_err(), "GetObject"),
        (objects.head(&at).await.unwrap_err(), "HeadObject"),
    ] {
        assert_eq!(error.operation, operation);
        assert_eq!(error.resource, "s3://work/runs/r/manifest.json");
        let said = error.to_string();
        assert!(said.contains("(HTTP 404, request id "), "{said}");
    }
    let error = objects.get(&at).await.unwrap_err().to_string();
    assert!(error.contains("NoSuchKey: "), "{error}");
}

/// The form of an upload puts exactly the object that it was signed for. Emulators do not check the policy;
/// `shared/aws` compares a signature with one that AWS published.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_form_puts_an_object() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    bucket(&config, "work", false).await;
    let objects = S3Objects::new(&config);
    let content = b"ID,Note\r\n1,good\r\n";
    let object = PostedObject {
        at: Location::new("work", "uploads/0/f\u{fc}r Ana.csv"),
        size: content.len() as u64,
        content_type: "text/csv".into(),
        metadata: [("notify".into(), "ana@example.com".into())].into(),
    };
    let post = objects.signed_post(&object, Utc::now(), TimeDelta::minutes(5));
    let post = post.await.unwrap();
    assert_eq!(post.url, format!("{}/work/", aws.url()));
    assert_eq!(objects.origin("work").await.unwrap(), aws.url());
    let status = form::send(&post, "f\u{fc}r Ana.csv", content).await;
    assert!((200..300).contains(&status), "{status}");
    let stored = objects.get(&object.at).await.unwrap();
    assert_eq!(&stored.body[..], content);
    assert_eq!(stored.info.metadata, object.metadata);
}
