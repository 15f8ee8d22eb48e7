//! Tests with real programs: shell scripts and sed.

use std::path::Path;

use rowmill_domain::job::Resources;
use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Value};
use rowmill_pipeline::{Step, StepKind};
use tokio::task::JoinSet;

use super::*;
use crate::runner;

/// Returns the values of each record as its outputs.
const ECHO: [&str; 3] = ["sed", "-u", r#"s/"values":/"outputs":/"#];

/// A shell loop over the records. `$row` is the row number; `answer` writes the answer `n` = row.
fn script(body: &str) -> [String; 3] {
    let loop_ = format!(
        r#"answer() {{ printf '{{"row":%s,"outputs":{{"n":%s}}}}\n' "$row" "$row"; }}
        while IFS= read -r line; do row=${{line#*:}}; row=${{row%%,*}}; {body}; done"#
    );
    ["sh".into(), "-c".into(), loop_]
}

fn build<S: AsRef<str>>(
    program: &[S],
    timeout_ms: u64,
    attempts: u32,
    directory: &Path,
) -> Result<Arc<dyn Runner>, SetupError> {
    let step = command(program, timeout_ms, attempts);
    build_step(step, directory)
}

fn command<S: AsRef<str>>(program: &[S], timeout_ms: u64, attempts: u32) -> CommandStep {
    CommandStep {
        program: program.iter().map(|p| p.as_ref().into()).collect(),
        outputs: vec!["n".into()],
        timeout: Duration::from_millis(timeout_ms),
        attempts,
        process: ProcessPer::Child,
        process_memory_mib: None,
        fetch: None,
        aws: false,
    }
}

fn build_step(step: CommandStep, directory: &Path) -> Result<Arc<dyn Runner>, SetupError> {
    let step = Step {
        kind: StepKind::Command(step),
        image: None,
        resources: Resources::SMALLEST,
    };
    let deps = StepDeps::new(16, directory.to_path_buf());
    Ok(Arc::from(runner(&step, &deps)?))
}

fn start<S: AsRef<str>>(program: &[S], timeout_ms: u64, attempts: u32) -> Arc<dyn Runner> {
    build(program, timeout_ms, attempts, &std::env::temp_dir()).unwrap()
}

async fn one(step: &Arc<dyn Runner>, row: u32, n: Value) -> StepResult {
    let columns = Columns::new(["n"]);
    let record = Record {
        row,
        values: vec![Some(n)],
    };
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &[],
    };
    step.run(row).await
}

/// Runs the rows `1..=rows`, 16 at a time. Returns the results in the order of the rows.
async fn all(step: &Arc<dyn Runner>, rows: u32) -> Vec<StepResult> {
    let mut results = vec![None; rows as usize];
    let mut set = JoinSet::new();
    let mut next = 1;
    loop {
        while set.len() < 16 && next <= rows {
            let (step, row) = (step.clone(), next);
            set.spawn(async move { (row, one(&step, row, f64::from(row).into()).await) });
            next += 1;
        }
        match set.join_next().await {
            Some(done) => {
                let (row, result) = done.unwrap();
                results[row as usize - 1] = Some(result);
            }
            None => return results.into_iter().map(Option::unwrap).collect(),
        }
    }
}

fn ok(row: u32, attempts: u32) -> StepResult {
    StepResult::ok(vec![("n".into(), f64::from(row).into())], attempts)
}

/// Returns the failed rows. All others must have succeeded at the first attempt.
fn failed(results: &[StepResult]) -> Vec<(u32, String)> {
    let mut failed = Vec::new();
    for (row, result) in (1..).zip(results) {
        match &result.outputs {
            Ok(_) => assert_eq!(result, &ok(row, 1)),
            Err(reason) => failed.push((row, reason.clone())),
        }
    }
    failed
}

fn is_alive(pid: &str) -> bool {
    // A zombie has ended and only waits for its parent.
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for a file that a program writes, and returns its text.
async fn written(path: &Path) -> String {
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn each_record_gets_its_own_answer() {
    let step = start(&ECHO, 10_000, 1);
    assert_eq!(failed(&all(&step, 2000).await), []);
    step.close().await;
    let closed = one(&step, 1, 1.0.into()).await;
    assert_eq!(closed, StepResult::failed("the step is closed", 1));
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    // Reads two records and answers the second one first.
    let step = start(
        &script(
            r#"first=$row; IFS= read -r line; row=${line#*:}; row=${row%%,*}; answer; row=$first; answer"#,
        ),
        10_000,
        1,
    );
    assert_eq!(failed(&all(&step, 200).await), []);
}

#[tokio::test]
async fn a_crash_fails_exactly_its_record() {
    let step = start(
        &script(r#"if [ $((row % 25)) = 0 ]; then echo "cannot do $row" >&2; exit 3; fi; answer"#),
        10_000,
        1,
    );
    let failed = failed(&all(&step, 200).await);
    let rows: Vec<u32> = failed.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, [25, 50, 75, 100, 125, 150, 175, 200]);
    assert_eq!(
        failed[1].1,
        "`sh` exited on this record (exit status: 3); last output on stderr: cannot do 50"
    );
}

#[tokio::test]
async fn a_crash_of_a_concurrent_program_fails_exactly_its_record() {
    let step = start(
        &script(
            r#"(sleep 0.0$((row % 7)); if [ $row = 30 ]; then kill -9 $$; else answer; fi) & true"#,
        ),
        10_000,
        1,
    );
    let failed = failed(&all(&step, 60).await);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, 30);
    assert!(failed[0].1.contains("signal: 9"), "{}", failed[0].1);
}

#[tokio::test]
async fn a_crash_is_retried_up_to_the_number_of_attempts() {
    let directory = tempfile::tempdir().unwrap();
    // Row 7 crashes twice, then succeeds. Row 9 always crashes.
    let step = build(
        &script(
            r#"[ $row = 9 ] && exit 1; if [ $row = 7 ]; then echo x >> tries; [ $(wc -l < tries) -gt 3 ] || exit 1; fi; answer"#,
        ),
        10_000,
        4,
        directory.path(),
    )
    .unwrap();
    let results = all(&step, 20).await;
    assert_eq!(results[8].attempts, 4);
    assert!(results[8].outputs.is_err());
    assert!(results[6].outputs.is_ok(), "{:?}", results[6]);
    assert!((3..=4).contains(&results[6].attempts), "{:?}", results[6]);
    assert!(
        results
            .iter()
            .enumerate()
            .all(|(i, r)| i == 8 || r.outputs.is_ok())
    );
}

#[tokio::test]
async fn a_program_that_hangs_is_stopped_with_all_its_processes() {
    let directory = tempfile::tempdir().unwrap();
    let step = build(
        &script(r#"if [ $row = 5 ]; then sleep 600 & echo $! > pid; wait; fi; answer"#),
        300,
        1,
        directory.path(),
    )
    .unwrap();
    let begin = std::time::Instant::now();
    let failed = failed(&all(&step, 40).await);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, 5);
    assert!(failed[0].1.contains("`sh` did not answer within 300ms"));
    assert!(begin.elapsed() < Duration::from_secs(5));
    let pid = written(&directory.path().join("pid")).await;
    assert!(!is_alive(&pid), "the sleep process is still running");
}

#[tokio::test]
async fn a_record_without_an_answer_fails_although_others_are_answered() {
    // Row 3 is never answered; all others are answered at once.
    let step = start(&script("[ $row = 3 ] || answer"), 100, 1);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy = tokio::spawn({
        let (step, stop) = (step.clone(), stop.clone());
        async move {
            let mut row = 100;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                assert_eq!(one(&step, row, f64::from(row).into()).await, ok(row, 1));
                row += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let result = one(&step, 3, 3.0.into()).await;
    assert!(
        result
            .outputs
            .unwrap_err()
            .contains("did not answer within 100ms")
    );
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    busy.await.unwrap();
}

#[tokio::test]
async fn a_slow_program_does_not_time_out() {
    // Of 16 records the last waits 640 ms, which exceeds the limit, but each takes only 40 ms.
    let step = start(&script("sleep 0.04; answer"), 400, 1);
    assert_eq!(failed(&all(&step, 32).await), []);
}

#[tokio::test]
async fn no_record_is_lost_if_the_program_exits_after_each_answer() {
    let step = start(&script("answer; exit 0"), 10_000, 1);
    assert_eq!(failed(&all(&step, 30).await), []);
}

#[tokio::test]
async fn every_record_has_the_stderr_of_a_program_that_always_fails() {
    let step = start(
        &["sh", "-c", "echo 'No module named torch' >&2; exit 1"],
        5_000,
        1,
    );
    let failed = failed(&all(&step, 20).await);
    assert_eq!(failed.len(), 20);
    for (_, reason) in failed {
        assert!(
            reason.ends_with("last output on stderr: No module named torch"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn the_reason_suggests_flushing_if_the_program_never_answers() {
    let step = start(&["sh", "-c", "echo Loading; cat > /dev/null"], 500, 1);
    let failed = failed(&all(&step, 3).await);
    assert_eq!(failed.len(), 3);
    assert!(
        failed[0]
            .1
            .contains("its output also contained a line that is not an answer: Loading")
    );
    assert!(
        failed[0].1.ends_with("flushes its output"),
        "{}",
        failed[0].1
    );
}

#[tokio::test]
async fn errors_and_invalid_answers_fail_only_their_record() {
    let step = start(
        &script(
            r#"case $row in
                2) echo "{\"row\":2,\"error\":\"no such parcel\"}";;
                3) echo "{\"row\":3,\"outputs\":{\"n\":NaN}}";;
                4) echo "{\"row\":999,\"outputs\":{}}"; echo Banner; answer;;
                *) answer;; esac"#,
        ),
        10_000,
        1,
    );
    let failed = failed(&all(&step, 30).await);
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0], (2, "no such parcel".into()));
    assert!(
        failed[1].1.contains("wrote an invalid answer"),
        "{}",
        failed[1].1
    );
}

#[tokio::test]
async fn large_records_do_not_block_in_either_direction() {
    let step = start(&ECHO, 20_000, 1);
    let text = "x".repeat(100_000);
    let mut set = JoinSet::new();
    for row in 1..=16 {
        let (step, text) = (step.clone(), text.clone());
        set.spawn(async move { one(&step, row, text.into()).await });
    }
    while let Some(result) = set.join_next().await {
        let outputs = result.unwrap().outputs.unwrap();
        assert_eq!(outputs[0].1.to_text().len(), text.len());
    }
}

#[tokio::test]
async fn a_program_with_an_endless_line_is_stopped() {
    let step = start(
        &script("head -c 9000000 /dev/zero | tr '\\0' x; answer"),
        20_000,
        1,
    );
    let result = one(&step, 1, 1.0.into()).await;
    assert!(
        result
            .outputs
            .unwrap_err()
            .contains("a line longer than 4 MiB")
    );
}

#[tokio::test]
async fn the_step_stays_usable_after_a_dropped_call() {
    let step = start(&script("[ $row = 1 ] && sleep 0.2; answer"), 10_000, 1);
    let dropped = tokio::time::timeout(Duration::from_millis(50), one(&step, 1, 1.0.into())).await;
    assert!(dropped.is_err());
    assert_eq!(one(&step, 2, 2.0.into()).await, ok(2, 1));
}

/// Starts a process in its own session that keeps the output open and outlives the program.
const LEAVE: &str = "setsid sleep 600 & echo $! >> left";

/// Asserts that the processes that [`LEAVE`] started have ended.
async fn nothing_left(directory: &Path, processes: usize) {
    let left = written(&directory.join("left")).await;
    assert_eq!(left.lines().count(), processes);
    for pid in left.lines() {
        // A killed process takes a moment to end, and longer on a busy machine.
        for _ in 0..2000 {
            if !is_alive(pid) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!is_alive(pid), "process {pid} is still running");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_left_behind_does_not_delay_the_answer_of_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = script("answer; exit 0");
    program[2] = format!("{LEAVE}; {}", program[2]);
    let mut step = command(&program, 10_000, 1);
    step.process = ProcessPer::Record;
    let step = build_step(step, directory.path()).unwrap();
    let begin = std::time::Instant::now();
    assert_eq!(failed(&all(&step, 5).await), []);
    assert!(begin.elapsed() < Duration::from_secs(9));
    nothing_left(directory.path(), 5).await;
}

#[tokio::test]
async fn an_answer_before_a_hang_counts() {
    let mut step = command(&script("answer; sleep 600"), 3000, 1);
    step.process = ProcessPer::Record;
    let step = build_step(step, &std::env::temp_dir()).unwrap();
    assert_eq!(failed(&all(&step, 2).await), []);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_exit_of_a_program_is_detected_although_another_process_keeps_the_output_open() {
    let directory = tempfile::tempdir().unwrap();
    let body = format!("if [ $row = 3 ]; then {LEAVE}; exit 3; fi; answer");
    let step = build(&script(&body), 20_000, 1, directory.path()).unwrap();
    let begin = std::time::Instant::now();
    let failed = failed(&all(&step, 20).await);
    assert!(begin.elapsed() < Duration::from_secs(19));
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, 3);
    assert!(
        failed[0]
            .1
            .contains("`sh` exited on this record (exit status: 3)"),
        "{failed:?}"
    );
    let ends = std::fs::read_to_string(directory.path().join("left")).unwrap();
    nothing_left(directory.path(), ends.lines().count()).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_closed_or_dropped_step_leaves_no_process_behind() {
    for close in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let mut program = script("answer");
        program[2] = format!("{LEAVE}; {}", program[2]);
        let step = build(&program, 10_000, 1, directory.path()).unwrap();
        assert_eq!(failed(&all(&step, 3).await), []);
        match close {
            true => step.close().await,
            false => drop(step),
        }
        nothing_left(directory.path(), 1).await;
    }
}

#[tokio::test]
async fn closing_ends_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let body = "[ -e pid ] || echo $$ > pid; answer";
    for after in ["exit 0", "sleep 600"] {
        let mut program = script(body);
        program[2] += &format!("; {after}");
        let step = build(&program, 10_000, 1, directory.path()).unwrap();
        assert_eq!(failed(&all(&step, 5).await), []);
        let path = directory.path().join("pid");
        let pid = written(&path).await;
        assert!(is_alive(&pid));
        step.close().await;
        assert!(!is_alive(&pid), "still running after {after}");
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_missing_program_is_rejected_at_setup() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("not-executable"), "").unwrap();
    for program in [
        "no-such-program-anywhere",
        "./score.sh",
        "./not-executable",
        "",
    ] {
        let error = build(&[program], 1000, 1, directory.path()).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with(&format!("program `{program}` not found in")),
            "{error}"
        );
    }
    assert!(build::<&str>(&[], 1000, 1, directory.path()).is_err());
}

#[tokio::test]
async fn a_script_next_to_the_pipeline_runs_in_its_directory() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sh");
    std::fs::write(&path, format!("#!/bin/sh\nexec sed -u '{}'\n", ECHO[2])).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let step = build(&["./echo.sh"], 5_000, 1, directory.path()).unwrap();
    assert_eq!(failed(&all(&step, 3).await), []);
}

#[tokio::test]
async fn each_record_can_have_its_own_process() {
    let body = r#"IFS= read -r line; row=${line#*:}; row=${row%%,*}
        case $row in
            3) echo "no $row here" >&2; exit 4;;
            4) sleep 600;;
            5) exit 0;;
            6) echo "{\"row\":6,\"error\":\"not mine\"}"; exit 0;;
        esac
        echo Hello; printf '{"row":%s,"outputs":{"n":%s}}' "$row" "$row""#;
    let mut step = command(&["sh", "-c", body], 2000, 2);
    step.process = ProcessPer::Record;
    let step = build_step(step, &std::env::temp_dir()).unwrap();
    let results = all(&step, 40).await;
    for (row, result) in (1..).zip(&results) {
        match (row, &result.outputs) {
            (3, Err(reason)) => assert_eq!(
                reason,
                "`sh` exited without an answer (exit status: 4); last output on stderr: no 3 here"
            ),
            (4, Err(reason)) => assert_eq!(reason, "`sh` did not answer within 2s"),
            (5, Err(reason)) => {
                assert!(reason.contains("exited without an answer (exit status: 0)"))
            }
            (6, Err(reason)) => assert_eq!(reason, "not mine"),
            _ => assert_eq!(result, &ok(row, 1)),
        }
        assert_eq!(result.attempts, if (3..=5).contains(&row) { 2 } else { 1 });
    }
    step.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_record_that_exceeds_the_memory_limit_fails_alone() {
    let body = "[ $row = 7 ] && x=$(head -c 200000000 /dev/zero | tr '\\0' x); answer";
    let mut step = command(&script(body), 30_000, 1);
    step.process_memory_mib = Some(100);
    let step = build_step(step, &std::env::temp_dir()).unwrap();
    let failed = failed(&all(&step, 20).await);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, 7);
    assert!(failed[0].1.contains("exited"), "{}", failed[0].1);
}

/// Runs rows of which all but the first `good` hang. Returns the reasons of the others and the time.
async fn hanging(process: ProcessPer, good: u32, rows: u32) -> (Vec<String>, Duration) {
    let body = match process {
        ProcessPer::Child => script(&format!("[ $row -le {good} ] && answer")).to_vec(),
        ProcessPer::Record => {
            script(&format!("[ $row -le {good} ] && answer || sleep 600")).to_vec()
        }
    };
    let mut step = command(&body, 300, 1);
    step.process = process;
    let step = build_step(step, &std::env::temp_dir()).unwrap();
    let start_time = std::time::Instant::now();
    let results = all(&step, rows).await;
    let took = start_time.elapsed();
    step.close().await;
    let failed = failed(&results);
    assert_eq!(failed.len(), (rows - good) as usize, "{failed:?}");
    (failed.into_iter().map(|(_, reason)| reason).collect(), took)
}

#[tokio::test]
async fn a_program_that_never_answers_is_abandoned() {
    for process in [ProcessPer::Child, ProcessPer::Record] {
        let (reasons, took) = hanging(process, 0, 1000).await;
        let tried = reasons
            .iter()
            .filter(|r| r.starts_with("`sh` did not answer within"));
        // With one process per record, 16 run at a time.
        assert!((3..=19).contains(&tried.count()), "{reasons:?}");
        let last = reasons.last().unwrap();
        assert!(
            last.starts_with(
                "not attempted: the program timed out on 3 consecutive records: `sh` did not answer"
            ),
            "{last}"
        );
        // A thousand timeouts would take 5 minutes.
        assert!(took < Duration::from_secs(20), "{process:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_program_that_has_answered_before_gets_more_timeouts() {
    let (reasons, _) = hanging(ProcessPer::Child, 10, 60).await;
    let tried = reasons
        .iter()
        .filter(|r| r.starts_with("`sh` did not answer within"));
    assert_eq!(tried.count(), 20, "{reasons:?}");
}

#[tokio::test]
async fn consecutive_bad_records_do_not_affect_the_others() {
    let program = script("case $row in [4-7]) ;; *) answer;; esac");
    let step = start(&program, 500, 1);
    let lost: Vec<u32> = failed(&all(&step, 40).await)
        .into_iter()
        .map(|(row, _)| row)
        .collect();
    assert_eq!(lost, [4, 5, 6, 7]);
}

#[tokio::test]
async fn crashes_on_every_thousandth_record_fail_only_those_and_leave_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let [sh, c, body] = script("[ $((row % 1000)) = 0 ] && exit 3; answer");
    let program = [sh, c, format!("echo $$ >> {}; {body}", pids.display())];
    let step = build(&program, 20_000, 1, directory.path()).unwrap();
    let lost = failed(&all(&step, 10_000).await);
    let rows: Vec<u32> = lost.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows.len(), 10, "{:?}", lost.first());
    assert!(rows.iter().all(|row| row % 1000 == 0), "{rows:?}");
    assert!(lost[0].1.contains("(exit status: 3)"), "{}", lost[0].1);
    step.close().await;
    let started = std::fs::read_to_string(&pids).unwrap();
    assert!(started.lines().count() > 10, "{started}");
    for pid in started.lines() {
        // Not even a zombie.
        assert!(
            !Path::new("/proc").join(pid).exists(),
            "process {pid} is still running"
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 12,
        max_shrink_iters: 20,
        ..Default::default()
    })]

    /// Some rows crash the program before their answer, some end it after, and some are answered out
    /// of order. Only the first kind fails.
    #[test]
    fn only_the_crashing_rows_fail(
        crash in proptest::collection::btree_set(1_u32..80, 0..10),
        end in proptest::collection::btree_set(1_u32..80, 0..5),
        swap in proptest::collection::btree_set(1_u32..70, 0..3),
    ) {
        let pattern = |rows: &std::collections::BTreeSet<u32>| {
            let rows: Vec<String> = rows.iter().map(u32::to_string).collect();
            // No row is 0.
            if rows.is_empty() { "0".to_owned() } else { rows.join("|") }
        };
        let body = format!(
            r#"case $row in {}) exit 1;; esac
            case $row in {}) (sleep 0.02; answer) & continue;; esac
            answer
            case $row in {}) exit 0;; esac"#,
            pattern(&crash), pattern(&swap), pattern(&end),
        );
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let results = runtime.block_on(async {
            let step = start(&script(&body), 20_000, 1);
            let results = all(&step, 80).await;
            step.close().await;
            results
        });
        let lost: std::collections::BTreeSet<u32> =
            failed(&results).into_iter().map(|(row, _)| row).collect();
        proptest::prop_assert_eq!(lost, crash);
    }
}
