//! The names of S3 for storage classes, restores and speeds.

use aws_sdk_s3::types::{ObjectStorageClass, StorageClass, Tier};
use chrono::{DateTime, Utc};
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_ports::ArchivedCopy;

pub(super) fn storage_class(class: ArchiveClass) -> StorageClass {
    match class {
        ArchiveClass::InstantRetrieval => StorageClass::GlacierIr,
        ArchiveClass::FlexibleRetrieval => StorageClass::Glacier,
        ArchiveClass::DeepArchive => StorageClass::DeepArchive,
    }
}

pub(super) fn class_of(class: Option<&StorageClass>) -> Option<ArchiveClass> {
    named(class?.as_str())
}

/// The class in a listing.
pub(super) fn listed_class(class: Option<&ObjectStorageClass>) -> Option<ArchiveClass> {
    named(class?.as_str())
}

fn named(name: &str) -> Option<ArchiveClass> {
    let mut classes = ArchiveClass::ALL.into_iter();
    classes.find(|class| storage_class(*class).as_str() == name)
}

pub(super) fn tier(speed: RestoreSpeed) -> Tier {
    match speed {
        RestoreSpeed::Expedited => Tier::Expedited,
        RestoreSpeed::Standard => Tier::Standard,
        RestoreSpeed::Bulk => Tier::Bulk,
    }
}

/// The copy that the header `x-amz-restore` describes:
/// `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`. S3 API, HeadObject.
pub(super) fn copy_of(class: Option<ArchiveClass>, restore: Option<&str>) -> ArchivedCopy {
    let Some(restore) = restore.filter(|_| class.is_some()) else {
        return ArchivedCopy::None;
    };
    if restore.contains("ongoing-request=\"true\"") {
        return ArchivedCopy::InProgress;
    }
    let date = restore.split_once("expiry-date=\"");
    let date = date.and_then(|(_, rest)| rest.split_once('"'));
    let until = date.and_then(|(date, _)| DateTime::parse_from_rfc2822(date).ok());
    match until {
        Some(until) => ArchivedCopy::Until(until.with_timezone(&Utc)),
        None => ArchivedCopy::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_whether_a_copy_can_be_read() {
        let class = Some(ArchiveClass::FlexibleRetrieval);
        let done = r#"ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT""#;
        let until = "2012-12-21T00:00:00Z".parse().unwrap();
        assert_eq!(copy_of(class, Some(done)), ArchivedCopy::Until(until));
        assert_eq!(copy_of(None, Some(done)), ArchivedCopy::None);
        let ongoing = Some(r#"ongoing-request="true""#);
        assert_eq!(copy_of(class, ongoing), ArchivedCopy::InProgress);
        assert_eq!(copy_of(class, None), ArchivedCopy::None);
    }

    #[test]
    fn every_class_has_its_name() {
        for class in ArchiveClass::ALL {
            assert_eq!(class_of(Some(&storage_class(class))), Some(class));
            let listed = ObjectStorageClass::from(storage_class(class).as_str());
            assert_eq!(listed_class(Some(&listed)), Some(class));
        }
        assert_eq!(class_of(Some(&StorageClass::Standard)), None);
        assert_eq!(class_of(None), None);
    }
}
