//! The main loop of a function.

use std::fmt::Display;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use chrono::Utc;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use rowmill_domain::config::{AWS_LAMBDA_INITIALIZATION_TYPE, AWS_LAMBDA_RUNTIME_API};
use rowmill_domain::environment::Environment;
use rowmill_domain::event::Invocation;
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::Instrument as _;

/// A function: its stage, and how to set it up and invoke it.
struct Function<S, F, I> {
    environment: Environment,
    set_up: F,
    invoke: I,
    stage: OnceCell<S>,
}

/// Runs a Lambda function until its container ends. Sets up the stage once and passes every event to
/// it. The owner of its claims is Lambda's request id, which is the same in every retry of an event.
///
/// The stage is set up before the first event, when Lambda gives the container a full CPU. If that
/// fails, every event retries the setup, and fails with the reason.
///
/// Uses one thread: reading and writing workbooks start their own threads, and everything else waits
/// for services.
///
/// # Errors
/// The program was not started by Lambda, or Lambda's runtime API fails.
pub fn run<S, E: Display>(
    environment: Environment,
    set_up: impl AsyncFn(&Environment) -> anyhow::Result<S>,
    invoke: impl AsyncFn(&S, &Value, &Invocation) -> Result<Option<Value>, E>,
) -> anyhow::Result<()> {
    crate::log(&environment);
    environment.text(AWS_LAMBDA_RUNTIME_API).context(
        "this program runs only as a Lambda function; use `rowmill` to run on one machine",
    )?;
    // Not with an emulator of Lambda, whose temporary directory other programs use, too.
    if environment
        .optional(AWS_LAMBDA_INITIALIZATION_TYPE)
        .is_some()
    {
        crate::leftovers::remove(&std::env::temp_dir());
    }
    let function = Rc::new(Function {
        environment,
        set_up,
        invoke,
        stage: OnceCell::new(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if let Err(error) = function.stage().await {
            tracing::error!(error = format!("{error:#}"), "cannot set up the function");
        }
        let service = service_fn(|event| {
            let function = Rc::clone(&function);
            async move { function.invoke(event).await }
        });
        let ended = Runtime::new(service).run().await;
        ended.map_err(|error| anyhow!("Lambda's runtime API: {error}"))
    })
}

impl<S, F, I, E> Function<S, F, I>
where
    F: AsyncFn(&Environment) -> anyhow::Result<S>,
    I: AsyncFn(&S, &Value, &Invocation) -> Result<Option<Value>, E>,
    E: Display,
{
    async fn stage(&self) -> anyhow::Result<&S> {
        self.stage
            .get_or_try_init(|| (self.set_up)(&self.environment))
            .await
    }

    async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Option<Value>, Diagnostic> {
        let cx = Invocation {
            owner: event.context.request_id,
            now: Utc::now(),
        };
        let span = tracing::info_span!("invocation", request_id = cx.owner);
        async {
            let stage = match self.stage().await {
                Ok(stage) => stage,
                Err(error) => return Err(failed("SetUp", format!("{error:#}"))),
            };
            let answer = (self.invoke)(stage, &event.payload, &cx).await;
            answer.map_err(|error| failed("Stage", error.to_string()))
        }
        .instrument(span)
        .await
    }
}

/// Logs an error and converts it to the answer of the function.
fn failed(kind: &str, message: String) -> Diagnostic {
    tracing::error!(error = message, "the event failed");
    Diagnostic {
        error_type: kind.to_owned(),
        error_message: message,
    }
}
