//! Phases: groups of consecutive steps that run in the same container.

use std::ops::Range;

use crate::pipeline::Pipeline;

impl Pipeline {
    /// Returns the phases in order, as ranges of indexes into [`Pipeline::steps`].
    /// Consecutive steps with the same image share a phase. A pipeline without steps has one phase,
    /// with an empty range, that evaluates its columns.
    pub fn phases(&self) -> Vec<Range<usize>> {
        let mut phases: Vec<Range<usize>> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            match phases.last_mut() {
                Some(last) if self.steps[last.start].image == step.image => last.end = index + 1,
                _ => phases.push(index..index + 1),
            }
        }
        if phases.is_empty() {
            phases.push(0..0);
        }
        phases
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
    fn consecutive_steps_with_the_same_image_share_a_phase() {
        assert_eq!(phases(&[]), [(0, 0)]);
        assert_eq!(phases(&[None, None]), [(0, 2)]);
        assert_eq!(
            phases(&[None, Some("a"), Some("a"), Some("b"), None]),
            [(0, 1), (1, 3), (3, 4), (4, 5)]
        );
    }
}
