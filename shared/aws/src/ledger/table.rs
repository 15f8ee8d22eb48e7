//! The tables of runs: created for a run, dropped after it.

use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::delete_table::DeleteTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    Tag, WarmThroughput,
};
use rowmill_domain::{RunId, limits};
use rowmill_ports::{ErrorKind, PortError, Result, TablePlan};

use super::DynamoLedger;
use super::outcomes::{CHUNK, ROW};
use crate::error::failed;

/// How long a table may take to be created or to go: seconds as a rule, and minutes where it is
/// created warm. Less than a Lambda invocation may last.
const WAIT: Duration = Duration::from_secs(600);

/// Milliseconds between the first looks at a table that comes or goes, 20 seconds in all. Either
/// takes seconds as a rule, and the SDK's waiter, which looks after that, sleeps 20 after its first
/// look.
const LOOKS: [u64; 9] = [500, 500, 1000, 1000, 2000, 2000, 3000, 5000, 5000];

/// Rounds of creating or dropping while the same is done elsewhere.
const ROUNDS: u32 = 4;

impl DynamoLedger {
    /// `<stack>-run-<run id>`
    pub(super) fn table(&self, id: &RunId) -> String {
        format!("{}-run-{id}", self.stack)
    }

    pub(super) async fn make_table(&self, id: &RunId, plan: TablePlan) -> Result<()> {
        let table = self.table(id);
        for _ in 0..ROUNDS {
            match self.create(&table, id, plan).await? {
                Created::Under => return self.wait_until_there(&table, "CreateTable").await,
                Created::Being => match self.status(&table).await? {
                    // Being dropped, it must go first.
                    None | Some(TableStatus::Deleting) => {
                        self.wait_until_gone(&table, "CreateTable").await?;
                    }
                    Some(_) => return self.wait_until_there(&table, "CreateTable").await,
                },
            }
        }
        let message = "the table is dropped elsewhere again and again";
        Err(PortError::new(
            "CreateTable",
            table,
            ErrorKind::Unavailable,
            message,
        ))
    }

    async fn create(&self, table: &str, id: &RunId, plan: TablePlan) -> Result<Created> {
        let invalid =
            |error: BuildError| PortError::new("CreateTable", table, ErrorKind::Invalid, error);
        let mut create = self
            .client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .deletion_protection_enabled(false)
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
            Ok(_) => Ok(Created::Under),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), CreateTableError::ResourceInUseException(_)) =>
            {
                Ok(Created::Being)
            }
            Err(error) => Err(failed("CreateTable", table)(error)),
        }
    }

    pub(super) async fn delete_table(&self, id: &RunId) -> Result<()> {
        let table = self.table(id);
        for _ in 0..ROUNDS {
            let deleted = self.client.delete_table().table_name(&table).send().await;
            match deleted {
                // While it goes it is still listed.
                Ok(_) => return self.wait_until_gone(&table, "DeleteTable").await,
                Err(SdkError::ServiceError(error)) => match error.err() {
                    DeleteTableError::ResourceNotFoundException(_) => return Ok(()),
                    // Being created: it must be there before it can be dropped.
                    DeleteTableError::ResourceInUseException(_) => {
                        self.wait_until_there(&table, "DeleteTable").await?;
                    }
                    _ => return Err(failed("DeleteTable", table)(SdkError::ServiceError(error))),
                },
                Err(error) => return Err(failed("DeleteTable", table)(error)),
            }
        }
        let message = "the table is changed elsewhere again and again";
        Err(PortError::new(
            "DeleteTable",
            table,
            ErrorKind::Unavailable,
            message,
        ))
    }

    pub(super) async fn list_tables(&self) -> Result<Vec<RunId>> {
        let prefix = format!("{}-run-", self.stack);
        let mut names = self.client.list_tables().into_paginator().items().send();
        let mut runs = Vec::new();
        while let Some(name) = names.next().await {
            let name = name.map_err(failed("ListTables", format!("{prefix}*")))?;
            // Another stack's name may begin as this one's does: what follows must be a run id.
            let run = name.strip_prefix(&prefix);
            runs.extend(run.and_then(|run| run.parse::<RunId>().ok()));
        }
        runs.sort_unstable();
        Ok(runs)
    }

    /// How it stands with the table; `None` where there is none.
    async fn status(&self, table: &str) -> Result<Option<TableStatus>> {
        let described = self.client.describe_table().table_name(table).send().await;
        match described {
            Ok(answer) => Ok(answer.table.and_then(|table| table.table_status)),
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

    /// Looks often, for [`LOOKS`]; whether it came to be as wanted meanwhile.
    async fn soon(&self, table: &str, wanted: Option<TableStatus>) -> Result<bool> {
        for wait in LOOKS {
            if self.status(table).await? == wanted {
                return Ok(true);
            }
            self.sleep(Duration::from_millis(wait)).await;
        }
        Ok(false)
    }

    async fn wait_until_there(&self, table: &str, operation: &'static str) -> Result<()> {
        if self.soon(table, Some(TableStatus::Active)).await? {
            return Ok(());
        }
        let wait = self.client.wait_until_table_exists().table_name(table);
        waited(operation, table, wait.wait(WAIT).await)
    }

    async fn wait_until_gone(&self, table: &str, operation: &'static str) -> Result<()> {
        if self.soon(table, None).await? {
            return Ok(());
        }
        let wait = self.client.wait_until_table_not_exists().table_name(table);
        waited(operation, table, wait.wait(WAIT).await)
    }
}

enum Created {
    /// It is under way.
    Under,
    /// A table of the name is there, comes, or goes.
    Being,
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

/// What a table is created warm for; `None` where a new one takes the plan's writes as it is.
/// Warm throughput is billed once, by the unit, when it is set.
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
    fn a_table_is_warm_only_where_a_new_one_is_too_slow() {
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
