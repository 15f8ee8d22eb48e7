//! Whether a request made a new connection or used an idle one, which the server may have closed.
//!
//! The client does not say. But its connector runs within the request that needs a connection, so the
//! connector leaves a mark there.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::task::{Context, Poll};

use tower::{Layer, Service};

tokio::task_local! {
    /// Whether the current request has asked for a new connection.
    static CONNECTED: Cell<bool>;
}

/// Runs a request. Returns its result, and whether it can only have used an idle connection.
pub(super) async fn is_reused<T>(request: impl Future<Output = T>) -> (T, bool) {
    let run = async {
        let result = request.await;
        (result, !CONNECTED.with(Cell::get))
    };
    CONNECTED.scope(Cell::new(false), Box::pin(run)).await
}

/// Whether the server closed the connection before it answered.
pub(super) fn is_closed(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut cause = error.source();
    while let Some(error) = cause {
        let hyper = error.downcast_ref::<hyper::Error>();
        let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if hyper.is_some_and(|e| e.is_incomplete_message() || e.is_canceled())
            || matches!(
                io,
                Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Marks the requests that make a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkConnects;

impl<S> Layer<S> for MarkConnects {
    type Service = Marking<S>;

    fn layer(&self, connector: S) -> Marking<S> {
        Marking(connector)
    }
}

/// A connector that marks its request.
#[derive(Clone, Debug)]
pub(super) struct Marking<S>(S);

impl<R, S: Service<R>> Service<R> for Marking<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> S::Future {
        // Outside of `is_reused` there is nothing to mark.
        let _ = CONNECTED.try_with(|connected| connected.set(true));
        self.0.call(target)
    }
}
