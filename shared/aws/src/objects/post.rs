//! Forms with which a browser puts an object into a bucket, without a request to this program.
//!
//! S3 API reference, "Creating a POST policy" and "Authenticating requests: browser-based uploads using
//! POST (AWS Signature Version 4)".

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rowmill_ports::{ErrorKind, Location, PortError, Result};
use serde_json::{Value, json};

use super::{S3Objects, metadata};
use crate::error::failed;

/// The object that a form may put: nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct PostedObject {
    /// Bucket and key.
    pub at: Location,
    /// The size in bytes, exactly.
    pub size: u64,
    /// The media type, exactly.
    pub content_type: String,
    /// The user metadata, exactly.
    pub metadata: BTreeMap<String, String>,
}

/// A form: send all fields, then the field `file` with the content, as `multipart/form-data`.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedPost {
    /// Where to send it.
    pub url: String,
    /// The fields before `file`.
    pub fields: BTreeMap<String, String>,
}

impl S3Objects {
    /// Signs a form that puts this object, once or several times, from `now` on for `valid`. It ends
    /// earlier if the credentials that sign it do.
    ///
    /// # Errors
    /// There are no credentials.
    pub async fn signed_post(
        &self,
        object: &PostedObject,
        now: DateTime<Utc>,
        valid: TimeDelta,
    ) -> Result<SignedPost> {
        let at = &object.at;
        let error =
            |kind, message: String| PortError::new("PostObject", at.to_string(), kind, message);
        let missing = |what: &str| error(ErrorKind::Invalid, format!("no {what} is configured"));
        let provider = self.credentials.as_ref();
        let provider = provider.ok_or_else(|| missing("provider of credentials"))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|e| error(ErrorKind::Unavailable, e.to_string()))?;
        let region = self.client.config().region();
        let region = region.ok_or_else(|| missing("region"))?;
        Ok(SignedPost {
            url: self.bucket_url(&at.bucket).await?,
            fields: fields(object, &credentials, region.as_ref(), now, valid),
        })
    }

    /// The site of a bucket, which a page must be allowed to call: `https://<bucket>.s3.<region>.amazonaws.com`.
    ///
    /// # Errors
    /// No address can be formed, for example without a region.
    pub async fn origin(&self, bucket: &str) -> Result<String> {
        let url = self.bucket_url(bucket).await?;
        let end = url
            .match_indices('/')
            .nth(2)
            .map_or(url.len(), |(at, _)| at);
        Ok(url[..end].to_owned())
    }

    /// The URL of a bucket, as the SDK addresses it in this partition or with this endpoint.
    async fn bucket_url(&self, bucket: &str) -> Result<String> {
        const KEY: &str = "k";
        let link = PresigningConfig::expires_in(Duration::from_secs(60))
            .map_err(|e| PortError::new("PostObject", bucket, ErrorKind::Invalid, e))?;
        let signed = self.client.get_object().bucket(bucket).key(KEY);
        let signed = signed.presigned(link).await;
        let signed = signed.map_err(failed("PostObject", bucket))?;
        let url = signed.uri().split('?').next().unwrap_or_default();
        Ok(url.strip_suffix(KEY).unwrap_or(url).to_owned())
    }
}

/// The fields of the form, with the policy and its signature.
fn fields(
    object: &PostedObject,
    credentials: &Credentials,
    region: &str,
    now: DateTime<Utc>,
    valid: TimeDelta,
) -> BTreeMap<String, String> {
    let date = now.format("%Y%m%d");
    let scope = format!(
        "{}/{date}/{region}/s3/aws4_request",
        credentials.access_key_id()
    );
    let mut fields = BTreeMap::from([
        ("Content-Type".to_owned(), object.content_type.clone()),
        ("key".to_owned(), object.at.key.clone()),
        ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential".to_owned(), scope),
        (
            "x-amz-date".to_owned(),
            now.format("%Y%m%dT%H%M%SZ").to_string(),
        ),
    ]);
    if let Some(token) = credentials.session_token() {
        fields.insert("x-amz-security-token".to_owned(), token.to_owned());
    }
    for (name, value) in &object.metadata {
        fields.insert(format!("x-amz-meta-{name}"), metadata::encode(value));
    }
    let exactly = |(name, value): (&String, &String)| json!(["eq", format!("${name}"), value]);
    let mut conditions: Vec<Value> = fields.iter().map(exactly).collect();
    conditions.push(json!({ "bucket": object.at.bucket }));
    conditions.push(json!(["content-length-range", object.size, object.size]));
    let expiration = (now + valid).to_rfc3339_opts(SecondsFormat::Millis, true);
    let policy = json!({ "expiration": expiration, "conditions": conditions });
    let policy = STANDARD.encode(policy.to_string());
    let signature = signature(&policy, credentials.secret_access_key(), now, region);
    fields.insert("policy".to_owned(), policy);
    fields.insert("x-amz-signature".to_owned(), signature);
    fields
}

/// The signature of a policy in base64.
fn signature(policy: &str, secret: &str, now: DateTime<Utc>, region: &str) -> String {
    let key = generate_signing_key(secret, SystemTime::from(now), region, "s3");
    calculate_signature(key, policy.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// S3 API reference, "Example: Browser-based upload using HTTP POST (using AWS signature version 4)".
    #[test]
    fn a_policy_is_signed_as_in_the_example_of_aws() {
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        let signed = signature(policy, SECRET, time("2015-12-29T00:00:00Z"), "us-east-1");
        let published = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
        assert_eq!(signed, published);
    }

    #[test]
    fn the_policy_fixes_every_field_and_the_size() {
        let object = PostedObject {
            at: Location::new("work", "uploads/1/für Ana.xlsx"),
            size: 1234,
            content_type: "text/csv".into(),
            metadata: [("notify".into(), "Ana Tüll".into())].into(),
        };
        let now = time("2026-11-29T12:00:00Z");
        let valid = TimeDelta::minutes(15);
        let credentials = Credentials::new(KEY_ID, SECRET, Some("session".into()), None, "test");
        let fields = fields(&object, &credentials, "eu-central-1", now, valid);
        let policy = STANDARD.decode(&fields["policy"]).unwrap();
        let policy: Value = serde_json::from_slice(&policy).unwrap();
        assert_eq!(policy["expiration"], "2026-11-29T12:15:00.000Z");
        let conditions = policy["conditions"].as_array().unwrap();
        for (name, value) in &fields {
            let fixed = json!(["eq", format!("${name}"), value]);
            let is_result = name == "policy" || name == "x-amz-signature";
            assert_eq!(conditions.contains(&fixed), !is_result, "{name}");
        }
        assert!(conditions.contains(&json!({ "bucket": "work" })));
        assert!(conditions.contains(&json!(["content-length-range", 1234, 1234])));
        assert_eq!(fields["x-amz-security-token"], "session");
        assert_eq!(fields["x-amz-meta-notify"], "=?UTF-8?B?QW5hIFTDvGxs?=");
    }
}
