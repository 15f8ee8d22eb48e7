//! `rowmill info`: what this program and a stack are set up with.

use std::collections::BTreeMap;

use rowmill_domain::config;
use rowmill_domain::environment::Environment;
use serde_json::json;

use super::deployment::{Deployment, Place};
use crate::args::{InfoArgs, Where};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// Variables of the environment that change what the commands do.
const VARIABLES: [&str; 9] = [
    config::ROWMILL_SMTP,
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "RUST_LOG",
];

/// Those of them whose values are not shown.
const HIDDEN: [&str; 4] = [
    config::ROWMILL_SMTP,
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// Prints version and environment and, for a stack, its settings.
pub(crate) async fn info(args: &InfoArgs, environment: Environment) -> Result<Exit, CliError> {
    let variables: BTreeMap<&str, String> = VARIABLES
        .into_iter()
        .filter_map(|name| {
            let value = environment.optional(name)?;
            let hidden = HIDDEN.contains(&name);
            Some((name, if hidden { "hidden".to_owned() } else { value }))
        })
        .collect();
    let settings = match &args.stack {
        Some(stack) => {
            let at = Where {
                out: Default::default(),
                stack: Some(stack.clone()),
            };
            match Deployment::find(&at).await?.map(|found| found.place) {
                Some(Place::Stack(stack)) => Some(stack.settings),
                _ => None,
            }
        }
        None => None,
    };
    let version = env!("CARGO_PKG_VERSION");
    let aws = cfg!(feature = "aws");
    if args.json {
        output::json(&json!({
            "version": version,
            "aws": aws,
            "environment": variables,
            "stack": args.stack,
            "settings": settings,
        }));
        return Ok(Exit::Done);
    }
    output::line(format_args!("rowmill {version}"));
    output::line(match aws {
        true => "  built with AWS: --stack works",
        false => "  built without AWS: --stack needs `cargo install --path cli --features aws`",
    });
    output::line("environment");
    for (name, value) in &variables {
        output::line(format_args!("  {name}  {value}"));
    }
    if variables.is_empty() {
        output::line("  no variable that the commands read is set");
    }
    if let (Some(stack), Some(settings)) = (&args.stack, &settings) {
        output::line(format_args!("stack {stack}"));
        for (name, value) in settings.iter().filter(|(_, value)| !value.is_empty()) {
            output::line(format_args!("  {name}  {value}"));
        }
    }
    Ok(Exit::Done)
}
