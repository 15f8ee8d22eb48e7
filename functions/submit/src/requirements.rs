//! What a pipeline needs from the deployment, checked before the first job.

use rowmill_domain::job::Capacity;
use rowmill_domain::limits::AMAZON_TRANSLATE_REGIONS;
use rowmill_domain::run::Failure;
use rowmill_pipeline::{Pipeline, StepKind, TranslateService};

use crate::SubmitConfig;

/// The first thing that the pipeline needs and the deployment does not have.
pub(crate) fn unmet(pipeline: &Pipeline, config: &SubmitConfig) -> Option<Failure> {
    if pipeline.batch.capacity == Capacity::Ec2 && config.capacity != Capacity::Ec2 {
        return Some(failure(
            "The pipeline needs EC2 instances ([batch] capacity = \"ec2\"), and this deployment has \
             only Fargate"
                .to_owned(),
            "Deploy the stack with Capacity=ec2, or choose sizes of Fargate in [batch]. Then upload \
             the workbook again.",
        ));
    }
    let amazon = pipeline.steps.iter().any(|step| {
        matches!(&step.kind, StepKind::Translate(step) if matches!(step.service, TranslateService::Amazon))
    });
    let region = config.region.as_deref()?;
    if amazon && !AMAZON_TRANSLATE_REGIONS.contains(&region) {
        return Some(failure(
            format!(
                "The region {region} does not have Amazon Translate and Amazon Comprehend, which a \
                 `translate` step with `service = \"amazon\"` needs"
            ),
            "Use a server with the LibreTranslate API (service = { url = \"https://..\" }), or a \
             stack in another region. Then upload the workbook again.",
        ));
    }
    None
}

fn failure(what: String, advice: &str) -> Failure {
    Failure {
        stage: "submit".into(),
        what,
        advice: advice.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_refused_only_where_it_cannot_run() {
        let ec2 = "[batch]\ncapacity = 'ec2'\nvcpu = 48\nmemory = '100 GiB'";
        let amazon = "[[step]]\nkind = 'translate'\ncolumn = 'Text'\nservice = 'amazon'";
        let server = "[[step]]\nkind = 'translate'\ncolumn = 'Text'\nservice = { url = 'https://t.example' }";
        for (toml, capacity, region, refused) in [
            ("", Capacity::Fargate, Some("eu-north-1"), None),
            (ec2, Capacity::Ec2, Some("eu-north-1"), None),
            (ec2, Capacity::Fargate, Some("eu-central-1"), Some("ec2")),
            (amazon, Capacity::Fargate, Some("eu-central-1"), None),
            (
                amazon,
                Capacity::Fargate,
                Some("eu-north-1"),
                Some("eu-north-1"),
            ),
            (amazon, Capacity::Ec2, None, None),
            (server, Capacity::Fargate, Some("eu-north-1"), None),
        ] {
            let config = SubmitConfig {
                fetch_buckets: Vec::new(),
                queue: "queue".into(),
                stack: "rowmill".into(),
                image: String::new(),
                capacity,
                topic: None,
                region: region.map(str::to_owned),
            };
            let pipeline = Pipeline::parse("p.toml", toml).unwrap();
            let found = unmet(&pipeline, &config).map(|failure| failure.what);
            match refused {
                None => assert_eq!(found, None, "{toml}"),
                Some(part) => assert!(found.is_some_and(|what| what.contains(part)), "{toml}"),
            }
        }
    }
}
