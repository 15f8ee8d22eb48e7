//! The quality of a classifier on texts it was not trained on.

use crate::corpus::Corpus;

/// The fold of each text. Texts are sorted by label, keeping their order within a label, and assigned
/// to the folds in turn. The sizes of the folds differ by at most one text, in total and per label.
pub fn fold_of(targets: &[usize], folds: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|text| targets[*text]);
    let mut fold = vec![0; targets.len()];
    for (at, text) in order.into_iter().enumerate() {
        fold[text] = at % folds.max(1);
    }
    fold
}

/// The result of a cross-validation: each text was labeled once, by a model that was trained without
/// the fold of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// The labels, sorted.
    pub labels: Vec<String>,
    /// The number of folds.
    pub folds: usize,
    /// `confusion[i][j]`: the number of texts with label i that were labeled j.
    pub confusion: Vec<Vec<u64>>,
}

impl Validation {
    pub(crate) fn new(
        corpus: &Corpus,
        folds: usize,
        targets: &[usize],
        answers: &[usize],
    ) -> Validation {
        let labels: Vec<String> = corpus
            .labels()
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        for (target, answer) in targets.iter().zip(answers) {
            confusion[*target][*answer] += 1;
        }
        Validation {
            labels,
            folds,
            confusion,
        }
    }

    /// The share of texts that were labeled correctly, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        let correct: u64 = (0..self.labels.len()).map(|i| self.confusion[i][i]).sum();
        let all: u64 = self.confusion.iter().flatten().sum();
        correct as f64 / all.max(1) as f64
    }

    /// The F1 score of a label (by index): the harmonic mean of precision and recall, or 0 if no text
    /// was labeled with it correctly.
    pub fn f1(&self, label: usize) -> f64 {
        let correct = self.confusion[label][label];
        let predicted: u64 = self.confusion.iter().map(|row| row[label]).sum();
        let actual: u64 = self.confusion[label].iter().sum();
        2.0 * correct as f64 / (predicted + actual).max(1) as f64
    }

    /// The mean F1 score of all labels, regardless of their numbers of texts.
    pub fn macro_f1(&self) -> f64 {
        let sum: f64 = (0..self.labels.len()).map(|l| self.f1(l)).sum();
        sum / self.labels.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_match_manual_calculation() {
        let validation = Validation {
            labels: vec!["a".into(), "b".into(), "c".into()],
            folds: 5,
            confusion: vec![vec![6, 2, 0], vec![1, 1, 0], vec![2, 0, 0]],
        };
        assert!((validation.accuracy() - 7.0 / 12.0).abs() < 1e-12);
        // a: precision 6/9, recall 6/8. b: 1/3 and 1/2. c: never correct.
        let (a, b) = (2.0 * 6.0 / 17.0, 2.0 / 5.0);
        assert!((validation.f1(0) - a).abs() < 1e-12);
        assert!((validation.macro_f1() - (a + b) / 3.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn folds_have_equal_sizes_in_total_and_per_label(
            targets in proptest::collection::vec(0usize..4, 1..200),
            folds in 2usize..8,
        ) {
            let fold = fold_of(&targets, folds);
            for label in [None, Some(0), Some(1), Some(2), Some(3)] {
                let mut sizes = vec![0usize; folds];
                for (text, fold) in fold.iter().enumerate() {
                    sizes[*fold] += usize::from(label.is_none_or(|l| targets[text] == l));
                }
                let max = sizes.iter().max().copied().unwrap_or(0);
                prop_assert!(sizes.iter().all(|s| s + 1 >= max));
            }
        }
    }
}
