//! The requests of the API: records as a child reads them, and the label of a text.

use std::time::Duration;

use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::preview::{PreviewAnswer, RecordsAsked, TextAsked};
use rowmill_domain::{Columns, Record};
use rowmill_pipeline::Pipeline;
use rowmill_steps::predict;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Previews, preview};

impl Previews {
    /// Processes records.
    pub(crate) async fn records(&self, payload: &Value) -> Result<PreviewAnswer, String> {
        let asked = RecordsAsked::deserialize(payload).map_err(invalid)?;
        let pipeline = parse(&asked.pipeline)?;
        let columns = Columns::new(&asked.columns);
        let records = asked.records.iter();
        let records = records.map(|line| Record::read_json(line.as_bytes(), &columns));
        let within = Duration::try_from_secs_f64(asked.seconds).map_err(invalid)?;
        let outcomes = preview(
            &pipeline,
            &columns,
            records.collect::<Result<_, _>>().map_err(invalid)?,
            &ParameterValues::new(),
            &self.host,
            tokio::time::sleep(within),
        )
        .await;
        let outcomes = outcomes.map_err(|wrong| wrong.join("\n"))?;
        Ok(PreviewAnswer::Outcomes(outcomes))
    }

    /// Labels a text.
    pub(crate) fn predict(&self, payload: &Value) -> Result<PreviewAnswer, String> {
        let asked = TextAsked::deserialize(payload).map_err(invalid)?;
        let pipeline = parse(&asked.pipeline)?;
        let label = predict(&pipeline, &self.host.program_directory, &asked.predict);
        Ok(PreviewAnswer::Prediction(label.map_err(|e| e.to_string())?))
    }
}

fn parse(text: &str) -> Result<Pipeline, String> {
    Pipeline::parse("the pipeline", text).map_err(|error| error.one_line())
}

fn invalid(error: impl std::fmt::Display) -> String {
    format!("invalid request: {error}")
}
