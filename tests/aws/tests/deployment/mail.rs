//! Workbooks that are linked in the email.

use std::time::Duration;

use rowmill_domain::RunState;
use rowmill_tests_aws::deployment::{Deployment, Mail, RECIPIENT};
use rowmill_tests_local::program::Read;
use rowmill_tests_local::workbook::{Book, read};
use tempfile::TempDir;

use crate::runs::{ended, workbook};

/// The link in an email without attachment.
fn link(mail: &Mail) -> &str {
    let mut lines = mail.text.lines();
    let link = lines.find(|line| line.starts_with("http") && line.contains("/d/"));
    link.unwrap_or_else(|| panic!("no link in {}", mail.text))
}

/// A workbook that is too large to attach is downloaded through the API with the link in the email.
pub(crate) async fn a_linked_workbook(deployment: &Deployment) {
    let d = deployment;
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(2));
    let upload = d.upload("small/book.xlsx", &book).await;
    let ended = ended(d, &upload.run).await;
    assert_eq!(ended.state, RunState::Delivered);
    assert!(ended.mail.attachments.is_empty(), "{}", ended.mail.text);

    let link = link(&ended.mail);
    assert!(link.starts_with(d.output("ApiUrl")), "{link}");
    assert_eq!(downloaded(d, &folder, link).await, ["0", "2"]);

    let (before, last) = link.split_at(link.len() - 1);
    let other = if last == "A" { "B" } else { "A" };
    let (status, _) = d.get(&format!("{before}{other}")).await;
    assert!((400..500).contains(&status), "a forged link: {status}");
}

async fn downloaded(d: &Deployment, folder: &TempDir, link: &str) -> Vec<String> {
    let (status, bytes) = d.get(link).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&bytes));
    let path = folder.path().join("downloaded.xlsx");
    std::fs::write(&path, bytes).unwrap();
    Read(read(&path, false)).texts("double")
}

/// An email that bounces for its size is sent again with a link. Other bounces are recorded.
pub(crate) async fn a_mailbox_that_is_too_small(deployment: &Deployment) {
    let d = deployment;
    let folder = TempDir::new().unwrap();
    let book = workbook(&folder, &Book::numbered(3));
    let run = d.upload("small/bounced.xlsx", &book).await.run;
    let ended = ended(d, &run).await;
    assert_eq!(ended.mail.attachments, ["bounced-result.xlsx"]);

    for _ in 0..2 {
        d.bounced(&run, RECIPIENT, ["Transient", "MessageTooLarge"])
            .await;
    }
    let item = d.until(&run, |item| item.linked_mail.is_some()).await;
    assert!(item.bounced[RECIPIENT].starts_with("Transient/MessageTooLarge"));
    // When this one is recorded, the earlier ones are processed. If one of them is still in progress,
    // report refuses it; Lambda would retry, and ministack does not.
    let other = "else@example.com";
    let mut noted = item;
    while !noted.bounced.contains_key(other) {
        d.bounced(&run, other, ["Permanent", "NoEmail"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        noted = d.until(&run, |_| true).await;
    }
    assert_eq!(noted.state, RunState::Delivered);

    let mails = d.mails_of(&run);
    let [first, second] = &mails[..] else {
        panic!("two mails: {mails:#?}")
    };
    assert_eq!(second.to, first.to);
    assert_eq!(second.header("Subject"), first.header("Subject"));
    assert!(second.attachments.is_empty(), "{}", second.text);
    let link = link(second);
    assert_eq!(downloaded(d, &folder, link).await, ["0", "2", "4"]);
}
