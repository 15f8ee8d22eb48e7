//! Runs from upload to mail: each kind of run, events that come twice, a workbook that is too large
//! to attach.

use rowmill_tests_aws::deployment::{Deliver, Deployment};

use crate::mail::*;
use crate::preview;
use crate::runs::*;

/// What children run: the real enrich, but child 1 of a run of the pipeline `breaks` ends with the
/// exit code that says that trying again cannot help.
const ENRICH: [&str; 3] = [
    "/bin/sh",
    "-c",
    r#"
        case "$ROWMILL_RUN $AWS_BATCH_JOB_ARRAY_INDEX" in
            *-breaks-*" 1") echo "this child breaks"; exit 2;;
        esac
        exec "$0" "$@"
    "#,
];

/// What holds of a deployment once all its runs have ended.
async fn nothing_is_left(deployment: &Deployment) {
    let active = deployment.batch.active_definitions();
    assert!(active.is_empty(), "job definitions no run uses: {active:?}");
    let letters = deployment.dead_letters().await;
    assert!(letters.is_empty(), "{letters:?}\n{}", deployment.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "builds the functions in release, deploys, and starts some hundred processes: minutes"]
async fn every_kind_of_run_comes_back_by_mail_and_leaves_nothing() {
    let deployment = Deployment::start(Deliver::Once, &ENRICH, &[]).await;
    let d = &deployment;
    d.put_pipeline("small", SMALL).await;
    tokio::join!(
        the_first_file(d),
        of_records(d, 1, None),
        of_records(d, 2, Some(2)),
        of_records(d, 250, Some(50)),
        a_poisoned_record(d),
        an_array_that_fails(d),
        a_lost_machine(d),
        lost_events(d),
        an_unknown_folder(d),
        a_mailbox_that_is_too_small(d),
    );
    nothing_is_left(d).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "builds the functions in release, deploys, and starts some hundred processes: minutes"]
async fn every_event_twice_changes_nothing() {
    let deployment = Deployment::start(Deliver::Twice, &ENRICH, &[]).await;
    let d = &deployment;
    d.put_pipeline("small", SMALL).await;
    tokio::join!(
        the_first_file(d),
        of_records(d, 1, None),
        of_records(d, 250, Some(50)),
        a_poisoned_record(d),
        an_array_that_fails(d),
        an_unknown_folder(d),
        a_mailbox_that_is_too_small(d),
    );
    a_new_image(d).await;
    nothing_is_left(d).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "builds the functions in release, and deploys: a minute"]
async fn a_workbook_too_large_to_attach_is_downloaded_by_its_link() {
    let limit = [("AttachLimit", "100")];
    let deployment = Deployment::start(Deliver::Once, &ENRICH, &limit).await;
    let d = &deployment;
    d.put_pipeline("small", SMALL).await;
    tokio::join!(a_linked_workbook(d), preview::previews(d));
    nothing_is_left(d).await;
}
