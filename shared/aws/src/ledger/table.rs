//! Creating and watching the tables of runs.

use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    SseSpecification, SseType, TableStatus, Tag, WarmThroughput,
};
use rowmill_domain::{RunId, limits};
use rowmill_ports::{ErrorKind, PortError, Result, TablePlan};

use super::DynamoLedger;
use super::outcomes::{CHUNK, ROW};
use crate::error::failed;

/// How long creating or dropping a table may take: usually seconds, but minutes for a table created
/// with warm throughput. Less than the time limit of a Lambda function.
const WAIT: Duration = Duration::from_secs(600);

/// Milliseconds between the first checks of a table's status, 20 seconds in total. Creating and
/// dropping usually take seconds, and the SDK's waiter, which takes over after that, pauses for 20
/// seconds after its first check.
const CHECKS: [u64; 9] = [500, 500, 1000, 1000, 2000, 2000, 3000, 5000, 5000];

impl DynamoLedger {
    /// Asks DynamoDB to create a table.
    pub(super) async fn start_creation(
        &self,
        table: &str,
        id: &RunId,
        plan: TablePlan,
    ) -> Result<Creation> {
        let invalid =
            |error: BuildError| PortError::new("CreateTable", table, ErrorKind::Invalid, error);
        let mut create = self
            .client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .deletion_protection_enabled(false)
            .set_sse_specification(self.key.as_deref().map(encryption))
            .set_warm_throughput(warm(plan));
        for (name, kind, key) in [
            (CHUNK, ScalarAttributeType::S, KeyType::Hash),
            (ROW, ScalarAttributeType::N, KeyType::Range),
        ] {
            let key = KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(key);
            let attribute = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(kind);
            create = create
                .key_schema(key.build().map_err(invalid)?)
                .attribute_definitions(attribute.build().map_err(invalid)?);
        }
        for (name, value) in [
            ("rowmill:stack", self.stack.as_str()),
            ("rowmill:run", id.as_str()),
        ] {
            let tag = Tag::builder().key(name).value(value);
            create = create.tags(tag.build().map_err(invalid)?);
        }
        match create.send().await {
            Ok(_) => Ok(Creation::Started),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), CreateTableError::ResourceInUseException(_)) =>
            {
                Ok(Creation::Exists)
            }
            Err(error) => Err(failed("CreateTable", table)(error)),
        }
    }

    /// Returns the table's status, or `None` if there is no table.
    pub(super) async fn status(&self, table: &str) -> Result<Option<TableStatus>> {
        let described = self.client.describe_table().table_name(table).send().await;
        match described {
            Ok(response) => Ok(response.table.and_then(|table| table.table_status)),
            Err(SdkError::ServiceError(error))
                if matches!(
                    error.err(),
                    DescribeTableError::ResourceNotFoundException(_)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("DescribeTable", table)(error)),
        }
    }

    /// Checks the status at short intervals. Returns whether it became `wanted`.
    async fn became(&self, table: &str, wanted: Option<TableStatus>) -> Result<bool> {
        for wait in CHECKS {
            if self.status(table).await? == wanted {
                return Ok(true);
            }
            self.sleep(Duration::from_millis(wait)).await;
        }
        Ok(false)
    }

    /// Waits until the table can be used.
    pub(super) async fn wait_until_active(
        &self,
        table: &str,
        operation: &'static str,
    ) -> Result<()> {
        if self.became(table, Some(TableStatus::Active)).await? {
            return Ok(());
        }
        let wait = self.client.wait_until_table_exists().table_name(table);
        waited(operation, table, wait.wait(WAIT).await)
    }

    /// Waits until the table is no longer listed.
    pub(super) async fn wait_until_gone(&self, table: &str, operation: &'static str) -> Result<()> {
        if self.became(table, None).await? {
            return Ok(());
        }
        let wait = self.client.wait_until_table_not_exists().table_name(table);
        waited(operation, table, wait.wait(WAIT).await)
    }
}

/// The response to a request to create a table.
pub(super) enum Creation {
    /// The table is being created.
    Started,
    /// A table with this name exists. It may be being created or dropped.
    Exists,
}

fn waited<T, E: std::error::Error>(
    operation: &'static str,
    table: &str,
    result: std::result::Result<T, E>,
) -> Result<()> {
    let late = |error| {
        let message = DisplayErrorContext(error).to_string();
        PortError::new(operation, table, ErrorKind::Unavailable, message)
    };
    result.map(|_| ()).map_err(late)
}

fn encryption(key: &str) -> SseSpecification {
    SseSpecification::builder()
        .enabled(true)
        .sse_type(SseType::Kms)
        .kms_master_key_id(key)
        .build()
}

/// The warm throughput to create a table with; `None` if a new table handles the planned writes
/// without. It is billed once per unit, when it is set.
fn warm(plan: TablePlan) -> Option<WarmThroughput> {
    let writes = plan.writes_per_second.min(limits::TABLE_WRITES_MAX);
    (writes > limits::NEW_TABLE_WRITES).then(|| {
        WarmThroughput::builder()
            .write_units_per_second(i64::from(writes))
            .build()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_created_warm_only_if_the_default_is_too_slow() {
        for (writes, expected) in [
            (0, None),
            (4000, None),
            (4001, Some(4001)),
            (40_000, Some(40_000)),
            (1_000_000, Some(40_000)),
        ] {
            let plan = TablePlan {
                writes_per_second: writes,
                records: 1_000_000,
            };
            let units = warm(plan).and_then(|warm| warm.write_units_per_second);
            assert_eq!(units, expected, "{writes}");
        }
    }
}
