//! Built-in pipelines, so that a first workbook needs no setup.

/// The names and texts of the pipelines that every deployment has. A file `pipelines/<name>.toml` in
/// the work bucket overrides the built-in pipeline with the same name.
pub const BUILT_IN: [(&str, &str); 1] = [(
    "reviews",
    include_str!("../../../examples/reviews/pipeline.toml"),
)];

/// Returns the text of the built-in pipeline with this name.
pub fn built_in(name: &str) -> Option<&'static str> {
    let mut all = BUILT_IN.iter();
    all.find(|(n, _)| *n == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pipeline;
    use rowmill_domain::PipelineName;

    #[test]
    fn built_in_pipelines_are_valid_and_have_no_recipients() {
        for (name, text) in BUILT_IN {
            assert!(PipelineName::is_valid(name));
            let pipeline = Pipeline::parse(name, text).unwrap();
            // The email goes to the deployment's default recipient.
            assert!(pipeline.notify.to.is_empty(), "{name}");
        }
        assert!(built_in("no-such").is_none());
    }
}
