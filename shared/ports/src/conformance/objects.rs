//! The guarantees of [`Objects`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::limits;

use crate::{ErrorKind, FileRange, Location, ObjectInfo, Objects, PortError, Put, Result};

/// Keys that file systems or encoders often get wrong.
const AWKWARD: [&str; 21] = [
    "plain.txt",
    "no-extension",
    "folder/file.txt",
    "folder",
    "folder/file.txt/below",
    "reviews/my file (1)+ü.xlsx",
    "per%cent/%2F.txt",
    "plus+and space/a&b=c?d#e.txt",
    "../up.txt",
    "a/../b.txt",
    "./here.txt",
    ".hidden",
    "double//slash.txt",
    "trailing/",
    "/leading.txt",
    "back\\slash.txt",
    "line\nbreak.txt",
    "CON",
    "日本語/ファイル.txt",
    "quote\"and'apostrophe.txt",
    "<xml>&amp;.txt",
];

/// Checks a bucket of an adapter. The bucket must be empty, and has no objects at the end. `scratch`
/// is an empty directory for downloads.
///
/// # Panics
/// If a guarantee of [`Objects`] does not hold.
pub async fn objects(objects: &dyn Objects, bucket: &str, scratch: &Path) {
    let suite = Suite {
        objects,
        bucket,
        scratch,
    };
    suite.absent().await;
    suite.put_and_get().await;
    suite.ranges().await;
    suite.replace().await;
    suite.metadata().await;
    suite.if_absent().await;
    suite.files().await;
    suite.copies().await;
    suite.awkward_keys().await;
    suite.limits().await;
    suite.pages().await;
    suite.links().await;
    let left = suite.keys("").await;
    assert!(left.is_empty(), "deleted objects are listed: {left:?}");
}

/// Checks a versioned bucket, in addition to [`objects`]. The bucket must be empty.
///
/// # Panics
/// If a guarantee of [`Objects`] does not hold.
pub async fn versioned_objects(objects: &dyn Objects, bucket: &str, scratch: &Path) {
    let suite = Suite {
        objects,
        bucket,
        scratch,
    };
    let first = suite.put("v/a.txt", "one").await;
    let second = suite.put("v/a.txt", "two").await;
    let versions = [&first, &second].map(|info| info.version.clone().expect("a version"));
    assert_ne!(versions[0], versions[1], "each content has its own version");
    for (version, info, body) in [
        (&versions[0], &first, "one"),
        (&versions[1], &second, "two"),
    ] {
        let at = Location {
            version: Some(version.clone()),
            ..suite.at("v/a.txt")
        };
        let object = objects.get(&at).await.expect("a version that was put");
        assert_eq!(object.body, body);
        assert_eq!(
            &object.info, info,
            "a get of a version returns what its put returned"
        );
        assert_eq!(&objects.head(&at).await.expect("head"), info);
    }
    assert_eq!(
        suite.text("v/a.txt").await,
        "two",
        "the latest version by default"
    );
    let other = suite.put("v/b.txt", "three").await;
    // The time of a listing may be more precise.
    let seconds = |info: &ObjectInfo| (info.version.clone(), info.size, info.modified.timestamp());
    let found = suite.put_since(first.modified).await;
    let found: Vec<_> = found.iter().map(seconds).collect();
    assert_eq!(
        found,
        [seconds(&second), seconds(&other)],
        "the latest versions"
    );
    let later = second.modified + TimeDelta::hours(1);
    assert_eq!(suite.put_since(later).await, [], "put since");
    suite.delete(&["v/a.txt", "v/b.txt"]).await;
    suite.is_absent("v/a.txt").await;
    let left = suite.put_since(first.modified).await;
    assert_eq!(left, [], "not those of deleted objects");
    let at = Location {
        version: Some(versions[0].clone()),
        ..suite.at("v/a.txt")
    };
    let old = objects.get(&at).await.expect("a deleted object's version");
    assert_eq!(old.body, "one", "a delete keeps the versions");
    let unknown = Location {
        version: Some("../../etc/passwd".to_owned()),
        ..suite.at("v/a.txt")
    };
    let error = objects.get(&unknown).await.expect_err("an unknown version");
    assert!(
        matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid),
        "{error}"
    );
}

/// Checks that a copy only if absent replaces nothing. Not part of [`objects`], because the emulators of S3
/// replace the object.
///
/// # Panics
/// If it does.
pub async fn copy_if_absent(objects: &dyn Objects, bucket: &str) {
    let text = Bytes::from_static(b"copied");
    let put = objects.put(bucket, "copy/from.txt", text, Put::default());
    put.await.expect("put");
    let from = Location::new(bucket, "copy/from.txt");
    let once = || Put {
        if_absent: true,
        ..Put::default()
    };
    let copy = async || objects.copy(&from, bucket, "copy/to.txt", once()).await;
    copy().await.expect("absent");
    let error = copy().await.expect_err("present");
    assert_eq!(error.kind, ErrorKind::Conflict);
    let keys = ["copy/from.txt", "copy/to.txt"].map(str::to_owned);
    objects.delete(bucket, &keys).await.expect("delete");
}

struct Suite<'a> {
    objects: &'a dyn Objects,
    bucket: &'a str,
    scratch: &'a Path,
}

impl Suite<'_> {
    async fn put_since(&self, since: DateTime<Utc>) -> Vec<ObjectInfo> {
        let found = self.objects.put_since(self.bucket, since).await;
        found.expect("objects")
    }

    fn at(&self, key: &str) -> Location {
        Location::new(self.bucket, key)
    }

    async fn try_put(&self, key: &str, body: &str, put: Put) -> Result<ObjectInfo> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.objects.put(self.bucket, key, body, put).await
    }

    async fn put(&self, key: &str, body: &str) -> ObjectInfo {
        self.try_put(key, body, Put::default())
            .await
            .unwrap_or_else(|error| panic!("{key:?}: {error}"))
    }

    async fn text(&self, key: &str) -> String {
        let object = self.objects.get(&self.at(key)).await;
        let object = object.unwrap_or_else(|error| panic!("{key:?}: {error}"));
        String::from_utf8(object.body.to_vec()).expect("the text that was put")
    }

    async fn delete(&self, keys: &[&str]) {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.objects
            .delete(self.bucket, &keys)
            .await
            .unwrap_or_else(|error| panic!("{keys:?}: {error}"));
    }

    async fn is_absent(&self, key: &str) {
        let at = self.at(key);
        let to = self.scratch.join("absent");
        for error in [
            self.objects.head(&at).await.expect_err(key),
            self.objects.get(&at).await.expect_err(key),
            self.objects.download(&at, &to).await.expect_err(key),
        ] {
            assert!(error.is_not_found(), "{key:?}: {error}");
        }
        assert!(!to.exists(), "a failed download writes nothing");
    }

    /// Lists all keys that start with `prefix`, page by page.
    async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.objects.list(self.bucket, prefix, after.as_deref());
            let page = page
                .await
                .unwrap_or_else(|error| panic!("{prefix:?}: {error}"));
            assert!(
                page.objects.len() <= 1000,
                "a page has at most 1,000 objects"
            );
            keys.extend(page.objects.into_iter().map(|info| info.key));
            match page.next {
                Some(next) => after = Some(next),
                None => return keys,
            }
        }
    }

    async fn absent(&self) {
        self.is_absent("nothing/here.txt").await;
        self.delete(&["nothing/here.txt", "nor/here.txt"]).await;
        assert!(self.keys("").await.is_empty(), "the bucket must be empty");
        let other = Location::new("no-such-bucket-here", "a.txt");
        let error = self.objects.get(&other).await.expect_err("no such bucket");
        assert!(
            matches!(error.kind, ErrorKind::NotFound | ErrorKind::Denied),
            "{error}"
        );
    }

    async fn put_and_get(&self) {
        let before = Utc::now() - TimeDelta::minutes(5);
        let put = self.put("a/b.txt", "hello").await;
        assert_eq!((put.key.as_str(), put.size), ("a/b.txt", 5));
        assert!(
            !put.etag.is_empty() && !put.etag.contains('"'),
            "{}",
            put.etag
        );
        let object = self.objects.get(&self.at("a/b.txt")).await.expect("get");
        assert_eq!(object.body, "hello");
        let head = self.objects.head(&self.at("a/b.txt")).await.expect("head");
        assert_eq!(head, object.info, "head returns what get returns");
        assert_eq!((&head.etag, head.size), (&put.etag, put.size));
        assert!(
            head.modified > before && head.modified < Utc::now() + TimeDelta::minutes(5),
            "{} is not the current time",
            head.modified
        );
        self.put("empty", "").await;
        let empty = self.objects.get(&self.at("empty")).await.expect("get");
        assert_eq!((empty.body.len(), empty.info.size), (0, 0));
        self.delete(&["a/b.txt", "empty", "a/b.txt"]).await;
        self.is_absent("a/b.txt").await;
        self.is_absent("empty").await;
        self.delete(&["a/b.txt"]).await;
    }

    async fn replace(&self) {
        let one = self.put("r.txt", "one").await;
        let two = self.put("r.txt", "two").await;
        assert_ne!(one.etag, two.etag, "the etag changes with the content");
        assert_eq!(self.text("r.txt").await, "two");
        self.put("r.txt", "two").await;
        assert_eq!(self.text("r.txt").await, "two", "a put can be repeated");
        assert_eq!(self.keys("r.txt").await, ["r.txt"]);
        self.delete(&["r.txt"]).await;
    }

    async fn metadata(&self) {
        let with = |pairs: &[(&str, &str)]| Put {
            content_type: Some("text/plain".to_owned()),
            metadata: (pairs.iter())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            if_absent: false,
        };
        let put = with(&[("limit", "10"), ("notify", "a@example.com, b@example.com")]);
        let info = self.try_put("m.txt", "x", put.clone()).await.expect("put");
        assert_eq!(info.metadata, put.metadata);
        let head = self.objects.head(&self.at("m.txt")).await.expect("head");
        assert_eq!(head.metadata, put.metadata);
        let listed = self
            .objects
            .list(self.bucket, "m.txt", None)
            .await
            .expect("list");
        assert!(
            listed.objects[0].metadata.is_empty(),
            "listings have no metadata"
        );

        let other = with(&[("limit", "20")]);
        self.try_put("m.txt", "x", other.clone())
            .await
            .expect("put");
        let head = self.objects.head(&self.at("m.txt")).await.expect("head");
        assert_eq!(head.metadata, other.metadata, "a put replaces all metadata");
        self.put("m.txt", "x").await;
        let head = self.objects.head(&self.at("m.txt")).await.expect("head");
        assert!(
            head.metadata.is_empty(),
            "a put without metadata removes it"
        );

        self.try_put("m.txt", "y", other).await.expect("put");
        self.delete(&["m.txt"]).await;
        self.put("m.txt", "y").await;
        let head = self.objects.head(&self.at("m.txt")).await.expect("head");
        assert!(head.metadata.is_empty(), "a delete removes the metadata");
        self.delete(&["m.txt"]).await;
    }

    async fn copies(&self) {
        let put = |note: &str, if_absent| Put {
            content_type: Some("text/plain".to_owned()),
            metadata: BTreeMap::from([("note".to_owned(), note.to_owned())]),
            if_absent,
        };
        let (from, to) = ("from/my file (1)+ü.txt", "to/my file (1)+ü.txt");
        let copy = async |put| {
            let from = self.at(from);
            self.objects.copy(&from, self.bucket, to, put).await
        };
        let missing = copy(put("none", false)).await.expect_err("no source");
        assert_eq!(missing.kind, ErrorKind::NotFound);
        let source = put("source", false);
        self.try_put(from, "copied", source).await.expect("put");
        let copied = copy(put("für Ana", false)).await.expect("copy");
        assert_eq!((copied.key.as_str(), copied.size), (to, 6));
        assert_eq!(self.text(to).await, "copied");
        let head = self.objects.head(&self.at(to)).await.expect("head");
        assert_eq!(head.metadata["note"], "für Ana", "metadata is replaced");
        assert_eq!(head.version, copied.version);
        copy(put("again", false)).await.expect("replace");
        let head = self.objects.head(&self.at(to)).await.expect("head");
        assert_eq!(head.metadata["note"], "again");
        self.delete(&[from, to]).await;
    }

    async fn if_absent(&self) {
        let put = || Put {
            if_absent: true,
            ..Put::default()
        };
        self.try_put("once.txt", "first", put())
            .await
            .expect("absent");
        let error = self.try_put("once.txt", "second", put()).await;
        assert_eq!(error.expect_err("present").kind, ErrorKind::Conflict);
        assert_eq!(self.text("once.txt").await, "first");
        self.delete(&["once.txt"]).await;

        // Of several concurrent puts, one wins, and its content is stored.
        let texts = ["0", "1", "2", "3", "4", "5", "6", "7"];
        let racers = texts.map(|text| self.try_put("once.txt", text, put()));
        let results = futures::future::join_all(racers).await;
        let won: Vec<&str> = (texts.iter().zip(&results))
            .filter(|(_, result)| result.is_ok())
            .map(|(text, _)| *text)
            .collect();
        assert_eq!(won.len(), 1, "exactly one put wins: {won:?}");
        let lost = |e: &PortError| e.kind == ErrorKind::Conflict;
        let losers = results.iter().filter_map(|result| result.as_ref().err());
        assert!(losers.clone().all(lost), "{:?}", losers.collect::<Vec<_>>());
        assert_eq!(self.text("once.txt").await, won[0]);
        self.delete(&["once.txt"]).await;
    }

    async fn files(&self) {
        // Larger than a buffer, and not a multiple of its size.
        let body: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
        let from = FileRange::from(self.scratch.join("from"));
        std::fs::write(&from.path, &body).expect("scratch");
        let put = Put {
            metadata: [("limit".to_owned(), "3".to_owned())].into(),
            ..Put::default()
        };
        let uploaded = self
            .objects
            .upload(self.bucket, "f/large.bin", &from, put.clone());
        let uploaded = uploaded.await.expect("upload");
        let uploaded_size = body.len() as u64;
        assert_eq!(uploaded.size, uploaded_size);
        assert_eq!(uploaded.metadata, put.metadata);
        let to = self.scratch.join("to");
        std::fs::write(&to, "an older file").expect("scratch");
        let downloaded = self.objects.download(&self.at("f/large.bin"), &to).await;
        assert_eq!(downloaded.expect("download").etag, uploaded.etag);
        assert!(
            std::fs::read(&to).expect("scratch") == body,
            "the content is unchanged"
        );
        let got = self
            .objects
            .get(&self.at("f/large.bin"))
            .await
            .expect("get");
        assert!(got.body == body, "the content is unchanged");
        let once = Put {
            if_absent: true,
            ..Put::default()
        };
        let error = self
            .objects
            .upload(self.bucket, "f/large.bin", &from, once)
            .await;
        assert_eq!(error.expect_err("present").kind, ErrorKind::Conflict);
        let part = FileRange {
            range: Some(1_000..2_600_001),
            ..from.clone()
        };
        let uploaded = self
            .objects
            .upload(self.bucket, "f/large.bin", &part, Put::default())
            .await
            .expect("upload a part");
        assert_eq!(uploaded.size, 2_599_001);
        let got = self.objects.get(&self.at("f/large.bin")).await;
        assert!(
            got.expect("get").body == body[1_000..2_600_001],
            "the object is the part of the file"
        );
        let beyond = FileRange {
            range: Some(3_000_000..3_000_002),
            ..part
        };
        let error = self
            .objects
            .upload(self.bucket, "f/large.bin", &beyond, Put::default())
            .await;
        assert!(!error.expect_err("beyond the end").is_not_found());
        let last = FileRange::of_final(self.scratch.join("final"));
        std::fs::write(&last.path, &body).expect("scratch");
        // A lost answer is followed by the same call.
        for _ in 0..2 {
            let put = self
                .objects
                .upload(self.bucket, "f/final.bin", &last, Put::default());
            assert_eq!(put.await.expect("upload a final file").size, uploaded_size);
        }
        std::fs::remove_file(&last.path).expect("scratch");
        let got = self.objects.get(&self.at("f/final.bin")).await;
        assert!(
            got.expect("get").body == body,
            "the object outlives the file"
        );
        self.delete(&["f/final.bin"]).await;
        let gone = FileRange::from(self.scratch.join("no-such-file"));
        let error = self
            .objects
            .upload(self.bucket, "f/b", &gone, Put::default());
        let error = error.await.expect_err("no file to upload");
        assert!(
            !error.is_not_found(),
            "the file is missing, not the object: {error}"
        );
        self.delete(&["f/large.bin"]).await;
    }

    async fn awkward_keys(&self) {
        for key in AWKWARD {
            self.put(key, key).await;
        }
        for key in AWKWARD {
            assert_eq!(self.text(key).await, key);
        }
        let mut sorted = AWKWARD.to_vec();
        sorted.sort_unstable();
        assert_eq!(
            self.keys("").await,
            sorted,
            "in the order of their UTF-8 bytes"
        );
        for (prefix, expected) in [
            (
                "folder",
                &["folder", "folder/file.txt", "folder/file.txt/below"][..],
            ),
            ("folder/", &["folder/file.txt", "folder/file.txt/below"]),
            (
                "fol",
                &["folder", "folder/file.txt", "folder/file.txt/below"],
            ),
            ("a/..", &["a/../b.txt"]),
            ("日本", &["日本語/ファイル.txt"]),
            ("none/", &[]),
        ] {
            assert_eq!(self.keys(prefix).await, expected, "{prefix:?}");
        }
        self.delete(&["folder"]).await;
        assert_eq!(self.text("folder/file.txt").await, "folder/file.txt");
        self.delete(&AWKWARD).await;
    }

    async fn limits(&self) {
        let longest = "k".repeat(limits::OBJECT_KEY_MAX);
        self.put(&longest, "x").await;
        assert_eq!(self.keys("kkk").await, std::slice::from_ref(&longest));
        self.delete(&[&longest]).await;
        let metadata = [("m".to_owned(), "x".repeat(limits::OBJECT_METADATA_MAX))];
        let large = Put {
            metadata: metadata.into(),
            ..Put::default()
        };
        for (key, put) in [
            (String::new(), Put::default()),
            (format!("{longest}k"), Put::default()),
            ("m.txt".to_owned(), large),
        ] {
            let error = self.try_put(&key, "x", put).await.expect_err("a limit");
            assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        }
    }

    async fn pages(&self) {
        // 1,005 objects make two pages. They are not put in the order of their keys.
        let mut keys: Vec<String> = (0..1005_u32)
            .map(|n| format!("p/{}", n * 7 % 1005))
            .collect();
        for key in &keys {
            self.put(key, "").await;
        }
        self.put("q", "").await;
        keys.sort_unstable();
        let page = self
            .objects
            .list(self.bucket, "p/", None)
            .await
            .expect("list");
        assert_eq!(page.objects.len(), 1000);
        assert!(page.next.is_some(), "there are more");
        assert_eq!(self.keys("p/").await, keys);
        let page = self
            .objects
            .list(self.bucket, "p/", Some("p/99"))
            .await
            .expect("list");
        let after: Vec<&str> = page.objects.iter().map(|info| info.key.as_str()).collect();
        let expected: Vec<&String> = keys.iter().filter(|key| key.as_str() > "p/99").collect();
        assert_eq!(after, expected, "`after` itself is not included");
        assert_eq!(page.next, None);
        keys.push("q".to_owned());
        let since = DateTime::UNIX_EPOCH;
        let found = self.put_since(since).await.into_iter();
        let found: Vec<String> = found.map(|info| info.key).collect();
        assert_eq!(found, keys, "in the order of their keys");
        self.objects
            .delete(self.bucket, &keys)
            .await
            .expect("any number of keys");
        assert!(self.keys("").await.is_empty());
    }

    async fn ranges(&self) {
        let key = "r/ten";
        self.put(key, "0123456789").await;
        let at = self.at(key);
        for (range, expected) in [(0..1, "0"), (3..7, "3456"), (9..10, "9"), (8..99, "89")] {
            let found = self.objects.get_range(&at, range.clone()).await;
            assert_eq!(found.expect("range"), expected, "{range:?}");
        }
        let outside = self.objects.get_range(&at, 10..11).await;
        assert_eq!(outside.expect_err("outside").kind, ErrorKind::Invalid);
        self.delete(&[key]).await;
        let absent = self.objects.get_range(&at, 0..1).await;
        assert_eq!(absent.expect_err("absent").kind, ErrorKind::NotFound);
    }

    async fn links(&self) {
        let key = "l/my file #1.txt";
        self.put(key, "linked").await;
        let at = self.at(key);
        let link = (self.objects).link(&at, "my file.txt", Duration::from_secs(60));
        let link = link.await.expect("link");
        assert!(link.contains("://"), "{link}");
        assert!(
            link.chars().all(|c| c.is_ascii_graphic() && c != '#'),
            "percent-encoded: {link}"
        );
        self.delete(&[key]).await;
    }
}
