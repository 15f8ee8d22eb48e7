//! Pipelines that are there without a file, so that a first workbook needs no set-up.

/// Names and texts of the pipelines that every deployment has. A file `pipelines/<name>.toml` in
/// the work bucket takes the place of the one of its name.
pub const BUILT_IN: [(&str, &str); 1] = [(
    "reviews",
    include_str!("../../../examples/reviews/pipeline.toml"),
)];

/// The text of the built-in pipeline of that name.
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
    fn what_is_built_in_can_be_run_and_mails_nobody_by_itself() {
        for (name, text) in BUILT_IN {
            assert!(PipelineName::is_valid(name));
            let pipeline = Pipeline::parse(name, text).unwrap();
            // The deployment's default recipient gets the mail.
            assert!(pipeline.notify.to.is_empty(), "{name}");
        }
        assert!(built_in("no-such").is_none());
    }
}
