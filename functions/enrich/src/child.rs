//! Which part of a run a child works on.

use std::fmt;

use rowmill_domain::RunId;
use rowmill_domain::config::{
    AWS_BATCH_JOB_ARRAY_INDEX, ROWMILL_CHUNK, ROWMILL_RUN, ROWMILL_STAGE,
};
use rowmill_domain::environment::{Environment, VariableError};

/// Which part of a run a child works on, as its environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The run.
    pub run: RunId,
    /// The chunk, from 0.
    pub chunk: u32,
    /// The stage, from 0.
    pub stage: u16,
    /// The index in the array; `None` for a plain job, which works on the whole chunk.
    pub index: Option<u32>,
}

impl Child {
    /// What Batch and submit say in the environment of a child. A plain job has no index.
    ///
    /// # Errors
    /// A variable is absent or cannot be read: the job is set up wrongly.
    pub fn of_environment(environment: &Environment) -> Result<Child, VariableError> {
        Ok(Child {
            run: environment.value(ROWMILL_RUN)?,
            chunk: environment.value(ROWMILL_CHUNK)?,
            stage: environment.value(ROWMILL_STAGE)?,
            index: environment.optional_value(AWS_BATCH_JOB_ARRAY_INDEX)?,
        })
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "run {}, chunk {}, stage {}",
            self.run, self.chunk, self.stage
        )?;
        match self.index {
            Some(index) => write!(f, ", child {index}"),
            None => Ok(()),
        }
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
        Child::of_environment(&environment)
    }

    #[test]
    fn a_plain_job_has_no_index() {
        let mut pairs = vec![
            ("ROWMILL_RUN", "20261121-reviews-0123456789ab"),
            ("ROWMILL_CHUNK", "3"),
            ("ROWMILL_STAGE", "1"),
        ];
        let plain = read(&pairs).unwrap();
        assert_eq!((plain.chunk, plain.stage, plain.index), (3, 1, None));
        pairs.push(("AWS_BATCH_JOB_ARRAY_INDEX", "7"));
        assert_eq!(read(&pairs).unwrap().index, Some(7));
        assert_eq!(
            read(&pairs[1..]).unwrap_err().to_string(),
            "ROWMILL_RUN is not set"
        );
        pairs[0].1 = "no run";
        let error = read(&pairs).unwrap_err().to_string();
        assert!(
            error.starts_with("ROWMILL_RUN cannot be `no run`"),
            "{error}"
        );
    }
}
