//! Runs from upload to mail: all kinds of runs, duplicate events, and a workbook that is too large to
//! attach.

use rowmill_tests_aws::deployment::{Deliver, Deployment};

use crate::mail::*;
use crate::preview;
use crate::runs::*;

/// The program of children: the real enrich, except that child 1 of pipeline `breaks` exits with the
/// code for errors that a retry cannot fix.
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

/// Asserts that no job definition and no dead letter is left after all runs.
async fn nothing_is_left(deployment: &Deployment) {
    let active = deployment.batch.active_definitions();
    assert!(active.is_empty(), "unused job definitions: {active:?}");
    let letters = deployment.dead_letters().await;
    assert!(letters.is_empty(), "{letters:?}\n{}", deployment.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "builds the functions, deploys and starts hundreds of processes: takes minutes"]
async fn every_kind_of_run_ends_with_a_mail_and_leaves_no_data() {
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
#[ignore = "builds the functions, deploys and starts hundreds of processes: takes minutes"]
async fn duplicate_events_do_not_change_the_result() {
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
#[ignore = "builds the functions and deploys: takes a minute"]
async fn a_workbook_that_is_too_large_to_attach_is_linked() {
    let limit = [("AttachLimit", "100")];
    let deployment = Deployment::start(Deliver::Once, &ENRICH, &limit).await;
    let d = &deployment;
    d.put_pipeline("small", SMALL).await;
    tokio::join!(a_linked_workbook(d), preview::previews(d));
    nothing_is_left(d).await;
}
