//! Where large responses are parsed: one after the other, on a thread of their own. A response that takes
//! long delays no request in flight, and only one needs the memory of a parsed response, which the
//! allocator keeps for the next one of the same thread.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::oneshot;

/// Larger responses are parsed on the other thread. The largest that are not take up to 2 MiB of memory
/// when parsed.
const INLINE_MAX: usize = 16 * 1024;

type Work = Box<dyn FnOnce() + Send>;

/// The queue of the thread. `None` if this machine cannot start it.
static QUEUE: OnceLock<Option<Sender<Work>>> = OnceLock::new();

fn queue() -> Option<&'static Sender<Work>> {
    let start = || {
        let (queue, works) = channel::<Work>();
        let work = move || works.into_iter().for_each(|work| work());
        let thread = thread::Builder::new().name("parser".into()).spawn(work);
        thread.ok().map(|_| queue)
    };
    QUEUE.get_or_init(start).as_ref()
}

/// Parses a response of this size with `parse`.
pub(super) async fn parse<T: Send + 'static>(
    bytes: usize,
    parse: impl FnOnce() -> T + Send + 'static,
) -> T {
    let queue = match bytes <= INLINE_MAX {
        true => None,
        false => queue(),
    };
    let Some(queue) = queue else { return parse() };
    let (done, parsed) = oneshot::channel();
    let work = move || {
        // The record may have been dropped meanwhile.
        if !done.is_closed() {
            let _ = done.send(catch_unwind(AssertUnwindSafe(parse)));
        }
    };
    // Neither fails: the thread never ends, and catches panics.
    let _ = queue.send(Box::new(work));
    match parsed.await {
        Ok(Ok(parsed)) => parsed,
        // It fails the record, as a panic on this thread does.
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn only_one_large_response_is_parsed_at_once() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            tasks.spawn(parse(10 * 1024 * 1024, move || {
                assert_eq!(NOW.fetch_add(1, Ordering::SeqCst), 0);
                thread::sleep(std::time::Duration::from_millis(5));
                NOW.fetch_sub(1, Ordering::SeqCst);
                n
            }));
        }
        let mut done = tasks.join_all().await;
        done.sort();
        assert_eq!(done, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_caller() {
        for bytes in [1, 1024 * 1024] {
            let task = tokio::spawn(parse(bytes, || -> () { panic!("a bug") }));
            let panic = task.await.unwrap_err().into_panic();
            assert_eq!(panic.downcast_ref(), Some(&"a bug"));
            assert_eq!(parse(bytes, || 1).await, 1);
        }
    }
}
