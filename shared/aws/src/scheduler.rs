//! [`Scheduler`] on EventBridge Scheduler.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::error::BuildError;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target,
};
use chrono::{DateTime, Timelike, Utc};
use rowmill_domain::message::RunMessage;
use rowmill_ports::{ErrorKind, PortError, Result, Scheduler, check_schedule_name, message_text};

use crate::error::failed;

const CREATE: &str = "CreateSchedule";

/// Minimum delay of a schedule. EventBridge Scheduler is precise to a minute, and its behavior for
/// a time in the past is not documented. Source: EventBridge Scheduler user guide, "Schedule types".
const AHEAD: Duration = Duration::from_secs(60);

/// How long and how often EventBridge Scheduler retries to publish: its maximums, in seconds and
/// attempts. Source: EventBridge Scheduler API, RetryPolicy.
const RETRY_SECONDS: i32 = 86_400;
const RETRY_ATTEMPTS: i32 = 185;

/// Attempts to create or else update a schedule. Both fail if, for example, the message is published
/// between the two calls.
const ATTEMPTS: u32 = 3;

/// EventBridge Scheduler, with one group of schedules that publish to one topic.
#[derive(Clone, Debug)]
pub struct EventBridgeScheduler {
    client: Client,
    group: String,
    role: String,
    topic: String,
    ahead: Duration,
}

impl EventBridgeScheduler {
    /// Uses schedules in the existing group `group`, which publish to the topic as `role`.
    pub fn new(
        sdk: &SdkConfig,
        group: impl Into<String>,
        role: impl Into<String>,
        topic_arn: impl Into<String>,
    ) -> EventBridgeScheduler {
        EventBridgeScheduler {
            client: Client::new(sdk),
            group: group.into(),
            role: role.into(),
            topic: topic_arn.into(),
            ahead: AHEAD,
        }
    }

    /// Sets the least time in the future, for a service that is more precise than that of AWS.
    pub fn ahead(self, ahead: Duration) -> EventBridgeScheduler {
        EventBridgeScheduler { ahead, ..self }
    }
}

#[async_trait]
impl Scheduler for EventBridgeScheduler {
    async fn at(&self, name: &str, when: DateTime<Utc>, message: &RunMessage) -> Result<()> {
        check_schedule_name(CREATE, name)?;
        let text = message_text(message, CREATE, name)?;
        let built = |error: BuildError| PortError::new(CREATE, name, ErrorKind::Invalid, error);
        let retries = RetryPolicy::builder()
            .maximum_event_age_in_seconds(RETRY_SECONDS)
            .maximum_retry_attempts(RETRY_ATTEMPTS)
            .build();
        let target = Target::builder()
            .arn(&self.topic)
            .role_arn(&self.role)
            .input(text)
            .retry_policy(retries)
            .build()
            .map_err(built)?;
        let window = FlexibleTimeWindow::builder()
            .mode(FlexibleTimeWindowMode::Off)
            .build()
            .map_err(built)?;
        let at = expression(when.max(Utc::now() + self.ahead));

        let mut missed = None;
        for _ in 0..ATTEMPTS {
            let created = self
                .client
                .create_schedule()
                .group_name(&self.group)
                .name(name)
                .schedule_expression(&at)
                .flexible_time_window(window.clone())
                .target(target.clone())
                .action_after_completion(ActionAfterCompletion::Delete)
                .send()
                .await;
            match created {
                Ok(_) => return Ok(()),
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_conflict_exception()) => {}
                Err(error) => return Err(failed(CREATE, name)(error)),
            }
            let updated = self
                .client
                .update_schedule()
                .group_name(&self.group)
                .name(name)
                .schedule_expression(&at)
                .flexible_time_window(window.clone())
                .target(target.clone())
                .action_after_completion(ActionAfterCompletion::Delete)
                .send()
                .await;
            match updated {
                Ok(_) => return Ok(()),
                // It was published or cancelled meanwhile, or another call is changing it.
                Err(error)
                    if error.as_service_error().is_some_and(|e| {
                        e.is_resource_not_found_exception() || e.is_conflict_exception()
                    }) =>
                {
                    missed = Some(failed("UpdateSchedule", name)(error));
                }
                Err(error) => return Err(failed("UpdateSchedule", name)(error)),
            }
        }
        // A retry finds the schedule settled.
        let what = missed.map_or_else(String::new, |error| error.message);
        let kind = ErrorKind::Unavailable;
        Err(PortError::new("UpdateSchedule", name, kind, what))
    }

    async fn cancel(&self, name: &str) -> Result<()> {
        let request = self.client.delete_schedule();
        match request.group_name(&self.group).name(name).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(failed("DeleteSchedule", name)(error)),
        }
    }
}

/// The expression for the first whole second that is not before `when`, in UTC.
fn expression(when: DateTime<Utc>) -> String {
    let whole = match when.nanosecond() {
        0 => when,
        _ => when + Duration::from_secs(1),
    };
    format!("at({})", whole.format("%Y-%m-%dT%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_never_before_its_time() {
        for (when, expected) in [
            ("2026-11-21T10:00:00Z", "at(2026-11-21T10:00:00)"),
            ("2026-11-21T10:00:00.001Z", "at(2026-11-21T10:00:01)"),
            ("2026-12-31T23:59:59.5Z", "at(2027-01-01T00:00:00)"),
        ] {
            assert_eq!(expression(when.parse().unwrap()), expected);
        }
    }
}
