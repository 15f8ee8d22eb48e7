//! Phases: groups of consecutive steps that run in the same container.

use std::ops::Range;

use rowmill_domain::job::Resources;

use crate::pipeline::Pipeline;

impl Pipeline {
    /// Returns the phases in order, as ranges of indexes into [`Pipeline::steps`].
    /// Consecutive steps with the same image and resources share a phase. A pipeline without steps, or
    /// whose steps are done, has one phase, with an empty range, that evaluates its columns.
    pub fn phases(&self) -> Vec<Range<usize>> {
        if self.steps_done {
            return std::iter::once(self.steps.len()..self.steps.len()).collect();
        }
        let mut phases: Vec<Range<usize>> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            match phases.last_mut() {
                Some(last) if self.steps[last.start].runs_with(step) => last.end = index + 1,
                _ => phases.push(index..index + 1),
            }
        }
        if phases.is_empty() {
            phases.push(0..0);
        }
        phases
    }

    /// Returns what a child of each phase gets.
    pub fn phase_resources(&self) -> Vec<Resources> {
        let first = |steps: Range<usize>| self.steps.get(steps.start);
        let phases = self.phases().into_iter().map(first);
        phases
            .map(|step| step.map_or(self.batch.resources, |step| step.resources))
            .collect()
    }

    /// Returns the number of [`Pipeline::phases`], at least 1.
    pub fn phase_count(&self) -> u16 {
        // No file has 65,536 steps.
        u16::try_from(self.phases().len()).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use crate::Pipeline;

    /// The first step and the one after the last, for each phase.
    fn phases(images: &[Option<&str>]) -> Vec<(usize, usize)> {
        let steps = images.iter().enumerate().map(|(n, image)| {
            let image = image.map_or_else(String::new, |image| format!("image = '{image}'\n"));
            format!("[[step]]\nkind = 'command'\nprogram = ['true']\noutputs = ['c{n}']\n{image}")
        });
        let toml: String = steps.collect();
        let phases = Pipeline::parse("p.toml", &toml).unwrap().phases();
        phases.into_iter().map(|p| (p.start, p.end)).collect()
    }

    #[test]
    fn a_pipeline_whose_steps_are_done_has_one_phase_that_needs_nothing() {
        let toml = "secrets = ['KEY']\n\
                    [[step]]\nkind = 'command'\nprogram = ['a']\noutputs = ['a']\nimage = 'one'\nvcpu = 4\nmemory = '8 GiB'\n\
                    [[step]]\nkind = 'http'\nurl = 'https://a.example'\nrate = '1/s'\noutputs = { b = { json = '$.b' } }\n\
                    [batch]\nseconds_per_record = 9\n";
        let pipeline = Pipeline::parse("p.toml", toml).unwrap();
        assert_eq!(pipeline.phase_count(), 2);
        let pipeline = pipeline.after_steps();
        assert_eq!(pipeline.phases().first(), Some(&(2..2)));
        assert_eq!(pipeline.phase_count(), 1);
        assert_eq!(pipeline.phase_resources(), [pipeline.batch.resources]);
        assert!(pipeline.secrets.is_empty());
        let work = pipeline.work(1000, Some(&[5.0, 5.0]));
        assert_eq!(work.phases.len(), 1);
        assert_eq!(work.phases[0].source_rate, None);
        assert!(work.phases[0].seconds_per_record < 0.01);
    }

    #[test]
    fn consecutive_steps_with_the_same_image_share_a_phase() {
        assert_eq!(phases(&[]), [(0, 0)]);
        assert_eq!(phases(&[None, None]), [(0, 2)]);
        assert_eq!(
            phases(&[None, Some("a"), Some("a"), Some("b"), None]),
            [(0, 1), (1, 3), (3, 4), (4, 5)]
        );
    }

    #[test]
    fn a_step_that_needs_other_resources_starts_a_phase() {
        let step = |n: usize, keys: &str| {
            format!("[[step]]\nkind = 'command'\nprogram = ['true']\noutputs = ['c{n}']\n{keys}\n")
        };
        let steps = [
            "",
            "memory = '512 MiB'",
            "memory = '1 GiB'",
            "vcpu = 1\nmemory = '2 GiB'",
            "vcpu = 1\nmemory = '2 GiB'\nstorage = '50 GiB'",
            "storage = '20 GiB'",
        ];
        let mut toml = "[batch]\nstorage = '30 GiB'\n".to_owned();
        toml.extend(steps.iter().enumerate().map(|(n, keys)| step(n, keys)));
        let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
        assert_eq!(pipeline.phases(), [0..2, 2..3, 3..4, 4..5, 5..6]);
        let found = pipeline.phase_resources().into_iter();
        let found: Vec<_> = found
            .map(|r| (r.vcpu, r.memory_mib, r.storage_gib))
            .collect();
        let expected = [
            (0.25, 512, Some(30)),
            (0.25, 1024, Some(30)),
            (1.0, 2048, Some(30)),
            (1.0, 2048, Some(50)),
            (0.25, 512, None),
        ];
        assert_eq!(found, expected);
        let none = Pipeline::parse("p.toml", "[batch]\nvcpu = 1\nmemory = '2 GiB'").unwrap();
        assert_eq!(none.phase_resources()[0].memory_mib, 2048);
    }
}
