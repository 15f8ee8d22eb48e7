//! Resources of the template, for tests that do not deploy it.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_s3::types::{
    BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};

use crate::emulators::REGION;

/// A client with path-style addresses, because `<bucket>.127.0.0.1` is not a valid host name.
pub fn client(config: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Creates a bucket. Returns a client, for calls that the port does not have.
pub async fn bucket(config: &SdkConfig, name: &str, versioned: bool) -> aws_sdk_s3::Client {
    let client = client(config);
    let place = CreateBucketConfiguration::builder()
        .location_constraint(REGION.into())
        .build();
    let create = client.create_bucket().bucket(name);
    create
        .create_bucket_configuration(place)
        .send()
        .await
        .unwrap();
    if versioned {
        let enabled = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let put = client.put_bucket_versioning().bucket(name);
        put.versioning_configuration(enabled).send().await.unwrap();
    }
    client
}

/// Creates the table `<stack>-runs` as the template does.
pub async fn runs_table(config: &SdkConfig, stack: &str) {
    let keys = [("pk", KeyType::Hash), ("sk", KeyType::Range)];
    table(config, format!("{stack}-runs"), &keys).await;
}

/// Creates the table `<stack>-permits` as the template does.
pub async fn permits_table(config: &SdkConfig, stack: &str) {
    let keys = [("rate_key", KeyType::Hash)];
    table(config, format!("{stack}-permits"), &keys).await;
}

/// Creates the table `<stack>-reviews` as the template does.
pub async fn reviews_table(config: &SdkConfig, stack: &str) {
    let keys = [("run", KeyType::Hash), ("row", KeyType::Range)];
    table(config, format!("{stack}-reviews"), &keys).await;
}

/// Creates the table `<stack>-submitters` as the template does.
pub async fn submitters_table(config: &SdkConfig, stack: &str) {
    let keys = [("pk", KeyType::Hash), ("sk", KeyType::Range)];
    table(config, format!("{stack}-submitters"), &keys).await;
}

async fn table(config: &SdkConfig, name: String, keys: &[(&str, KeyType)]) {
    let mut create = aws_sdk_dynamodb::Client::new(config)
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    for (name, key) in keys {
        let schema = KeySchemaElement::builder()
            .attribute_name(*name)
            .key_type(key.clone());
        let attribute = AttributeDefinition::builder()
            .attribute_name(*name)
            // Rows are numbers.
            .attribute_type(match *name {
                "row" => ScalarAttributeType::N,
                _ => ScalarAttributeType::S,
            });
        create = create
            .key_schema(schema.build().unwrap())
            .attribute_definitions(attribute.build().unwrap());
    }
    create.send().await.unwrap();
}
