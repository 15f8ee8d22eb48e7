//! What the metadata of an upload asks for.

use std::collections::BTreeMap;

use rowmill_domain::manifest::ParameterValues;
use rowmill_pipeline::Pipeline;

use crate::error::Refusal;

/// Object metadata: at most so many rows become records.
pub const LIMIT_METADATA: &str = "limit";
/// Object metadata: recipients in place of the pipeline's, with commas between.
pub const NOTIFY_METADATA: &str = "notify";
/// Object metadata begins so where it gives a parameter of the pipeline; its name follows.
pub const PARAMETER_METADATA: &str = "parameter-";

/// What the metadata of an upload asks for.
pub(crate) struct UploadOptions {
    pub(crate) limit: Option<u64>,
    pub(crate) notify: Vec<String>,
    pub(crate) parameters: ParameterValues,
}

impl UploadOptions {
    /// Reads the metadata of the object `name` that goes through this pipeline. What is no order is
    /// passed over: programs that upload put all kinds of things there.
    pub(crate) fn read(
        name: &str,
        metadata: &BTreeMap<String, String>,
        pipeline: &Pipeline,
    ) -> Result<UploadOptions, Refusal> {
        let limit = metadata.get(LIMIT_METADATA);
        let limit = limit.map(|text| match text.parse() {
            Ok(limit) if limit > 0 => Ok(limit),
            _ => Err(Refusal::new(
                format!("{name}: its metadata `{LIMIT_METADATA}` is `{text}`, no number above 0"),
                "upload it again without it, or with a number of rows",
            )),
        });
        let notify = metadata.get(NOTIFY_METADATA).map_or("", String::as_str);
        let notify = notify.split(',').map(str::trim).filter(|a| !a.is_empty());
        let given = metadata.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(PARAMETER_METADATA)?;
            Some((name.to_owned(), value.clone()))
        });
        let parameters = pipeline.parameter_values(&given.collect());
        Ok(UploadOptions {
            limit: limit.transpose()?,
            notify: notify.map(str::to_owned).collect(),
            parameters: parameters.map_err(|wrong| {
                Refusal::new(
                    format!("{name}: {}", wrong.join("; ")),
                    format!(
                        "upload it again with the parameters in its metadata, as by `aws s3 cp FILE \
                         s3://.. --metadata {PARAMETER_METADATA}NAME=VALUE`"
                    ),
                )
            })?,
        })
    }
}
