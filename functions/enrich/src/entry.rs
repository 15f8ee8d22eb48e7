//! How the stage is entered: by Batch, through the environment of a child, and on Lambda by a
//! request for a preview.

use rowmill_domain::config::{
    AWS_BATCH_JOB_ARRAY_INDEX, ROWMILL_CHUNK, ROWMILL_PHASE, ROWMILL_ROUND, ROWMILL_RUN,
};
use rowmill_domain::environment::{Environment, VariableError};
use rowmill_domain::event::Invocation;
use rowmill_domain::limits::{LAMBDA_RESPONSE_MAX, PREVIEW_ROWS};
use rowmill_domain::preview::PreviewAnswer;
use serde::Deserialize;

use crate::child::Child;
use crate::error::PreviewError;
use crate::preview::{PreviewRequest, Previews, columns, preview, preview_json, records};

impl Child {
    /// Reads the variables that submit and Batch set for a child. A plain job has no index.
    ///
    /// # Errors
    /// A variable is missing or malformed: the job is misconfigured.
    pub fn from_environment(environment: &Environment) -> Result<Child, VariableError> {
        Ok(Child {
            run: environment.value(ROWMILL_RUN)?,
            chunk: environment.value(ROWMILL_CHUNK)?,
            phase: environment.value(ROWMILL_PHASE)?,
            second_round: environment
                .optional_value::<u32>(ROWMILL_ROUND)?
                .is_some_and(|n| n > 1),
            index: environment.optional_value(AWS_BATCH_JOB_ARRAY_INDEX)?,
        })
    }
}

impl Previews {
    /// Previews a pipeline on the rows of a request. Requests of the API are those in
    /// [`rowmill_domain::preview`].
    ///
    /// The request is `{"pipeline": "<name or text>", "rows": [{"<column>": value}]}` with at most
    /// [`PREVIEW_ROWS`] rows, and `"parameters": {"<name>": "<value>"}` if the pipeline has
    /// parameters. The answer is `{"columns": [..], "added": [..], "rows": [{"row", "status",
    /// "values", "error", "attempts"}]}`. Rows are counted from 1. `values` holds the input columns
    /// and the added ones.
    ///
    /// # Errors
    /// The request or the pipeline is invalid, the pipeline cannot be read, or the answer is larger
    /// than Lambda allows.
    pub async fn invoke(
        &self,
        payload: &serde_json::Value,
        _: &Invocation,
    ) -> Result<Option<serde_json::Value>, PreviewError> {
        if payload.get("records").is_some() {
            return Ok(Some(answer(self.records(payload).await)?));
        }
        if payload.get("predict").is_some() {
            return Ok(Some(answer(self.predict(payload))?));
        }
        let request = PreviewRequest::deserialize(payload).map_err(|error| {
            PreviewError::Request(format!(
                "invalid preview request: {error}; expected {{\"pipeline\": \"<name, or the text of \
                 the file>\", \"rows\": [{{\"<column>\": value}}]}}"
            ))
        })?;
        if !(1..=PREVIEW_ROWS).contains(&request.rows.len()) {
            return Err(PreviewError::Request(format!(
                "the request has {} rows; a preview takes 1 to {PREVIEW_ROWS}",
                request.rows.len()
            )));
        }
        let pipeline = self.pipeline(&request.pipeline).await?;
        let columns = columns(&request.rows);
        let records =
            records(&request.rows, &columns, &pipeline.input).map_err(PreviewError::Request)?;
        let outcomes = preview(
            &pipeline,
            &columns,
            records.clone(),
            &request.parameters,
            &self.host,
            std::future::pending(),
        )
        .await
        .map_err(|wrong| PreviewError::Request(wrong.join("\n")))?;
        // Nothing stops it, so all are finished.
        let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
        let answer = preview_json(&pipeline, &columns, &records, &outcomes);
        check_size(&answer).map_err(PreviewError::Request)?;
        Ok(Some(answer))
    }
}

/// What Lambda returns at most.
fn check_size(answer: &serde_json::Value) -> Result<(), String> {
    let bytes = answer.to_string().len();
    match bytes <= LAMBDA_RESPONSE_MAX {
        true => Ok(()),
        false => Err(format!(
            "the answer has {bytes} bytes, but Lambda returns at most {LAMBDA_RESPONSE_MAX}: send \
             fewer rows"
        )),
    }
}

/// The answer to the API: what is wrong with the request is an answer too.
fn answer(result: Result<PreviewAnswer, String>) -> Result<serde_json::Value, PreviewError> {
    let json = |answer| {
        let json = serde_json::to_value(answer);
        json.map_err(|error| PreviewError::Request(error.to_string()))
    };
    let found = json(result.unwrap_or_else(PreviewAnswer::Problem))?;
    match check_size(&found) {
        Ok(()) => Ok(found),
        Err(wrong) => json(PreviewAnswer::Problem(wrong)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Child, VariableError> {
        let pairs = pairs.to_vec();
        let environment = Environment::new(move |name| {
            let found = pairs.iter().find(|(n, _)| *n == name)?;
            Some(found.1.to_owned())
        });
        Child::from_environment(&environment)
    }

    #[test]
    fn a_plain_job_has_no_index() {
        let mut pairs = vec![
            ("ROWMILL_RUN", "20261121-reviews-0123456789ab"),
            ("ROWMILL_CHUNK", "3"),
            ("ROWMILL_PHASE", "1"),
        ];
        let plain = read(&pairs).unwrap();
        assert_eq!((plain.chunk, plain.phase, plain.index), (3, 1, None));
        pairs.push(("AWS_BATCH_JOB_ARRAY_INDEX", "7"));
        assert_eq!(read(&pairs).unwrap().index, Some(7));
        assert_eq!(
            read(&pairs[1..]).unwrap_err().to_string(),
            "ROWMILL_RUN is not set"
        );
        pairs[0].1 = "no run";
        let error = read(&pairs).unwrap_err().to_string();
        assert!(
            error.starts_with("invalid value `no run` for ROWMILL_RUN"),
            "{error}"
        );
    }
}
