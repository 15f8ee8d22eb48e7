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

/// A function: the stage, and how it is set up and entered.
struct Function<S, F, I> {
    environment: Environment,
    set_up: F,
    invoke: I,
    stage: OnceCell<S>,
}

/// Runs a Lambda function until its container ends: sets the stage up once, and hands it every
/// event with Lambda's request id as the owner of its claims, which is the same in every retry of
/// the event.
///
/// The stage is set up before the first event, while Lambda gives the container a whole processor.
/// Where that fails, each event tries again and is answered with the reason.
///
/// One thread: reading and writing workbooks take threads of their own, and all else waits for
/// services.
///
/// # Errors
/// The program was not started by Lambda, or Lambda's API fails.
pub fn run<S, E: Display>(
    environment: Environment,
    set_up: impl AsyncFn(&Environment) -> anyhow::Result<S>,
    invoke: impl AsyncFn(&S, &Value, &Invocation) -> Result<Option<Value>, E>,
) -> anyhow::Result<()> {
    crate::log(&environment);
    environment.text(AWS_LAMBDA_RUNTIME_API).context(
        "this program is a Lambda function, and starts only there; on one machine use `rowmill`",
    )?;
    // Not beside an emulator of Lambda, on whose machine others have their files.
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
            tracing::error!(
                error = format!("{error:#}"),
                "the function cannot be set up"
            );
        }
        let service = service_fn(|event| {
            let function = Rc::clone(&function);
            async move { function.answer(event).await }
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

    async fn answer(&self, event: LambdaEvent<Value>) -> Result<Option<Value>, Diagnostic> {
        let cx = Invocation {
            owner: event.context.request_id,
            now: Utc::now(),
        };
        let span = tracing::info_span!("invocation", request_id = cx.owner);
        async {
            let stage = match self.stage().await {
                Ok(stage) => stage,
                Err(error) => return Err(told("SetUp", format!("{error:#}"))),
            };
            let answer = (self.invoke)(stage, &event.payload, &cx).await;
            answer.map_err(|error| told("Stage", error.to_string()))
        }
        .instrument(span)
        .await
    }
}

/// Logs an error, and makes it the answer to the event.
fn told(kind: &str, message: String) -> Diagnostic {
    tracing::error!(error = message, "the event failed");
    Diagnostic {
        error_type: kind.to_owned(),
        error_message: message,
    }
}
