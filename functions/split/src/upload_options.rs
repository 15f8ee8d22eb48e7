//! What the metadata of an upload asks for.

use std::collections::BTreeMap;

use rowmill_domain::RunId;
use rowmill_domain::manifest::ParameterValues;
use rowmill_pipeline::Pipeline;

use crate::error::Refusal;
use crate::reevaluate::read_base;

/// Object metadata: the most rows that become records.
pub const LIMIT_METADATA: &str = "limit";
/// Object metadata: recipients that replace those of the pipeline, separated by commas.
pub const NOTIFY_METADATA: &str = "notify";
/// Object metadata: the address of the submitter. The API sets it to that of the person who uploads.
pub const SUBMITTER_METADATA: &str = "submitter";
/// Object metadata: the id of a run of the same workbook. Its archived rows are evaluated again.
pub const REEVALUATE_METADATA: &str = "reevaluate";
/// The prefix of object metadata that sets a parameter of the pipeline. The name follows.
pub const PARAMETER_METADATA: &str = "parameter-";

/// What the metadata of an upload asks for.
pub(crate) struct UploadOptions {
    pub(crate) limit: Option<u64>,
    /// The run whose archived rows are evaluated again.
    pub(crate) reevaluate: Option<RunId>,
    pub(crate) notify: Vec<String>,
    pub(crate) parameters: ParameterValues,
}

impl UploadOptions {
    /// Reads the metadata of the object `name`. Other metadata is ignored, because upload programs
    /// add their own.
    ///
    /// # Errors
    /// The limit, the run to evaluate again or a parameter of the pipeline is invalid.
    pub(crate) fn read(
        name: &str,
        metadata: &BTreeMap<String, String>,
        pipeline: &Pipeline,
    ) -> Result<UploadOptions, Refusal> {
        let limit = metadata.get(LIMIT_METADATA);
        let limit = limit.map(|text| match text.parse() {
            Ok(limit) if limit > 0 => Ok(limit),
            _ => Err(Refusal::new(
                format!("{name}: the metadata `{LIMIT_METADATA}` is `{text}`, but must be a number above 0"),
                "Upload the file again with a valid number, or without this metadata.",
            )),
        });
        let reevaluate = metadata.get(REEVALUATE_METADATA);
        let reevaluate = reevaluate.map(|text| read_base(name, text));
        let notify = metadata.get(NOTIFY_METADATA).map_or("", String::as_str);
        let notify = notify.split(',').map(str::trim).filter(|a| !a.is_empty());
        let given = metadata.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(PARAMETER_METADATA)?;
            Some((name.to_owned(), value.clone()))
        });
        let parameters = pipeline.parameter_values(&given.collect());
        Ok(UploadOptions {
            limit: limit.transpose()?,
            reevaluate: reevaluate.transpose()?,
            notify: notify.map(str::to_owned).collect(),
            parameters: parameters.map_err(|wrong| {
                Refusal::new(
                    format!("{name}: {}", wrong.join("; ")),
                    format!(
                        "Upload the file again with the parameters in its metadata: `aws s3 cp FILE \
                         s3://.. --metadata {PARAMETER_METADATA}NAME=VALUE`."
                    ),
                )
            })?,
        })
    }
}
