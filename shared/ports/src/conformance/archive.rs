//! The guarantees of [`Archive`].

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};

use crate::{
    Archive, ArchivedCopy, ErrorKind, Location, Objects, Put, RestoreAnswer, StoredObject,
};

/// Restored copies are kept this long in the suite.
const DAYS: u32 = 1;

/// Checks a bucket of an adapter. It must be empty and not versioned, and has no objects at the end.
/// `scratch` is an empty directory. `patience` is the longest time that a restore takes.
///
/// # Panics
/// If a guarantee of [`Archive`] does not hold.
pub async fn archive(
    archive: &dyn Archive,
    objects: &dyn Objects,
    bucket: &str,
    scratch: &Path,
    patience: Duration,
) {
    let suite = Suite {
        archive,
        objects,
        bucket,
        patience,
    };
    suite.absent().await;
    for class in ArchiveClass::ALL {
        suite.round(class, scratch).await;
    }
    suite.speeds().await;
    suite.replaced_and_deleted().await;
    suite.pages().await;
    let left = archive.stored(bucket, "", None).await.unwrap();
    assert_eq!(left.objects, [], "the bucket must be empty");
}

/// Checks that an archived object is not copied elsewhere. Separate, because not every emulator refuses it.
///
/// # Panics
/// If it is copied.
pub async fn archived_copy(archive: &dyn Archive, objects: &dyn Objects, bucket: &str) {
    let at = Location::new(bucket, "archived");
    let put = objects.put(bucket, &at.key, "x".into(), Put::default());
    put.await.unwrap();
    let class = ArchiveClass::FlexibleRetrieval;
    archive.archive(&at, class).await.unwrap();
    let copied = objects.copy(&at, bucket, "copy", Put::default()).await;
    let error = copied.unwrap_err();
    assert!(error.is_archived(), "{error}");
    objects.delete(bucket, &[at.key]).await.unwrap();
}

struct Suite<'a> {
    archive: &'a dyn Archive,
    objects: &'a dyn Objects,
    bucket: &'a str,
    patience: Duration,
}

impl Suite<'_> {
    fn at(&self, key: &str) -> Location {
        Location::new(self.bucket, key)
    }

    async fn put(&self, key: &str, body: impl Into<Bytes>) {
        let put = Put {
            content_type: Some("text/plain".to_owned()),
            metadata: [("note".to_owned(), "für Ana".to_owned())].into(),
            if_absent: false,
        };
        let put = self.objects.put(self.bucket, key, body.into(), put).await;
        put.unwrap();
    }

    async fn delete(&self, keys: &[&str]) {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.objects.delete(self.bucket, &keys).await.unwrap();
    }

    async fn absent(&self) {
        let at = self.at("absent");
        let refused = [
            self.archive.status(&at).await.map(drop).unwrap_err(),
            (self.archive.archive(&at, ArchiveClass::DeepArchive))
                .await
                .unwrap_err(),
            (self.archive.restore(&at, RestoreSpeed::Bulk, DAYS))
                .await
                .map(drop)
                .unwrap_err(),
            self.archive.copy_back(&at).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        }
    }

    /// Archives, restores and copies back. Every call is made twice.
    async fn round(&self, class: ArchiveClass, scratch: &Path) {
        let key = format!("r/my file (1)+ü {}.txt", class.name());
        let (at, body) = (self.at(&key), "the content");
        self.put(&key, body).await;
        let before = self.archive.status(&at).await.unwrap();
        assert_eq!((before.class, before.size), (None, body.len() as u64));
        assert_eq!(before.copy, ArchivedCopy::None);
        assert!(before.checksum.is_some());
        let info = self.objects.head(&at).await.unwrap();
        let slow = RestoreSpeed::Bulk;
        let restore = |speed| self.archive.restore(&at, speed, DAYS);
        assert_eq!(restore(slow).await.unwrap(), RestoreAnswer::NotNeeded);
        self.archive.copy_back(&at).await.unwrap();

        for _ in 0..2 {
            self.archive.archive(&at, class).await.unwrap();
            let archived = self.archive.status(&at).await.unwrap();
            assert_eq!(archived.class, Some(class));
            assert_eq!(archived.copy, ArchivedCopy::None);
            assert_eq!(
                (&archived.checksum, archived.size),
                (&before.checksum, before.size)
            );
        }
        // An object that is archived already stays in its class.
        let other = ArchiveClass::ALL.into_iter().find(|other| *other != class);
        self.archive.archive(&at, other.unwrap()).await.unwrap();
        assert_eq!(self.class_of(&key).await, Some(class));
        let head = self.objects.head(&at).await.unwrap();
        assert_eq!((head.size, &head.metadata), (info.size, &info.metadata));

        let file = scratch.join("download");
        if class.speeds().is_empty() {
            assert_eq!(self.objects.get(&at).await.unwrap().body, body);
            assert_eq!(restore(slow).await.unwrap(), RestoreAnswer::NotNeeded);
        } else {
            let unread = [
                self.objects.get(&at).await.map(drop).unwrap_err(),
                (self.objects.get_range(&at, 0..3))
                    .await
                    .map(drop)
                    .unwrap_err(),
                (self.objects.download(&at, &file))
                    .await
                    .map(drop)
                    .unwrap_err(),
                self.archive.copy_back(&at).await.unwrap_err(),
            ];
            for error in unread {
                assert!(error.is_archived(), "{error}");
            }
            let speed = class.speeds()[0];
            assert_eq!(restore(speed).await.unwrap(), RestoreAnswer::Started);
            assert_eq!(restore(speed).await.unwrap(), RestoreAnswer::InProgress);
            assert_eq!(restore(slow).await.unwrap(), RestoreAnswer::InProgress);
            assert_eq!(
                self.archive.status(&at).await.unwrap().copy,
                ArchivedCopy::InProgress
            );
            let early = self.archive.copy_back(&at).await.unwrap_err();
            assert!(early.is_archived(), "{early}");
            self.until_restored(&at).await;
            assert!(matches!(
                restore(speed).await.unwrap(),
                RestoreAnswer::Restored(_)
            ));
            assert_eq!(self.objects.get(&at).await.unwrap().body, body);
            assert_eq!(
                self.class_of(&key).await,
                Some(class),
                "a copy is temporary"
            );
        }

        for _ in 0..2 {
            self.archive.copy_back(&at).await.unwrap();
            let back = self.archive.status(&at).await.unwrap();
            assert_eq!(back, before);
            assert_eq!(self.class_of(&key).await, None);
        }
        let read = self.objects.get(&at).await.unwrap();
        assert_eq!(read.body, body);
        assert_eq!(read.info.metadata, info.metadata);
        self.delete(&[&key]).await;
    }

    async fn class_of(&self, key: &str) -> Option<ArchiveClass> {
        let page = self.archive.stored(self.bucket, key, None).await.unwrap();
        assert_eq!(page.objects.len(), 1);
        assert_eq!(page.objects[0].key, key);
        page.objects[0].class
    }

    async fn until_restored(&self, at: &Location) {
        let asked = Instant::now();
        loop {
            match self.archive.status(at).await.unwrap().copy {
                ArchivedCopy::Until(_) => return,
                ArchivedCopy::InProgress => {}
                ArchivedCopy::None => panic!("{at} is not being restored"),
            }
            assert!(asked.elapsed() < self.patience, "{at} is not restored");
            // Blocks the thread: a suite has no runtime to sleep in.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn speeds(&self) {
        for class in ArchiveClass::ALL {
            for speed in RestoreSpeed::ALL {
                let at = self.at("s");
                self.put("s", "x").await;
                self.archive.archive(&at, class).await.unwrap();
                let answer = self.archive.restore(&at, speed, DAYS).await.unwrap();
                let expected = match class.speeds() {
                    [] => RestoreAnswer::NotNeeded,
                    speeds if speeds.contains(&speed) => RestoreAnswer::Started,
                    _ => RestoreAnswer::WrongSpeed,
                };
                assert_eq!(answer, expected, "{} {}", class.name(), speed.name());
                if answer == RestoreAnswer::WrongSpeed {
                    let copy = self.archive.status(&at).await.unwrap().copy;
                    assert_eq!(copy, ArchivedCopy::None, "nothing was requested");
                }
                self.delete(&["s"]).await;
            }
        }
    }

    async fn replaced_and_deleted(&self) {
        let at = self.at("p");
        self.put("p", "one").await;
        self.archive
            .archive(&at, ArchiveClass::FlexibleRetrieval)
            .await
            .unwrap();
        self.put("p", "two").await;
        assert_eq!(self.objects.get(&at).await.unwrap().body, "two");
        assert_eq!(self.archive.status(&at).await.unwrap().class, None);
        self.archive
            .archive(&at, ArchiveClass::DeepArchive)
            .await
            .unwrap();
        self.delete(&["p"]).await;
        self.put("p", "three").await;
        assert_eq!(self.archive.status(&at).await.unwrap().class, None);
        assert_eq!(self.objects.get(&at).await.unwrap().body, "three");
        self.delete(&["p"]).await;
    }

    async fn pages(&self) {
        let keys: Vec<String> = (0..1003).map(|n| format!("l/{n:04}")).collect();
        for key in &keys {
            self.put(key, "x").await;
        }
        let class = ArchiveClass::FlexibleRetrieval;
        self.archive
            .archive(&self.at("l/1001"), class)
            .await
            .unwrap();
        let list = |after| self.archive.stored(self.bucket, "l/", after);
        let first = list(None).await.unwrap();
        assert_eq!(first.objects.len(), 1000);
        assert!(first.objects.iter().all(|object| object.class.is_none()));
        let second = list(first.next.as_deref()).await.unwrap();
        let object = |n: usize, class| StoredObject {
            key: keys[n].clone(),
            size: 1,
            class,
        };
        assert_eq!(
            second.objects,
            [
                object(1000, None),
                object(1001, Some(class)),
                object(1002, None)
            ]
        );
        assert_eq!(second.next, None);
        self.objects.delete(self.bucket, &keys).await.unwrap();
    }
}
