//! How well a classifier does on texts that it has not seen.

use crate::corpus::Corpus;

/// Which of `folds` parts each text belongs to. The texts are sorted by label, those of a label in
/// their order, and dealt out one by one: the parts differ by one text at most, in all and in each
/// label.
pub fn fold_of(targets: &[usize], folds: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|text| targets[*text]);
    let mut fold = vec![0; targets.len()];
    for (dealt, text) in order.into_iter().enumerate() {
        fold[text] = dealt % folds.max(1);
    }
    fold
}

/// Figures of a cross-validation: each text was labelled once, by a model that was trained
/// without its fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// The labels, sorted.
    pub labels: Vec<String>,
    /// How many parts the texts were dealt to.
    pub folds: usize,
    /// How many texts that bear label i (by its place) were given label j.
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

    /// The share of texts that got their label, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.labels.len()).map(|i| self.confusion[i][i]).sum();
        let all: u64 = self.confusion.iter().flatten().sum();
        right as f64 / all.max(1) as f64
    }

    /// F1 of a label by its place: the harmonic mean of precision and recall; 0 where no text got
    /// it rightly.
    pub fn f1(&self, label: usize) -> f64 {
        let right = self.confusion[label][label];
        let given: u64 = self.confusion.iter().map(|row| row[label]).sum();
        let borne: u64 = self.confusion[label].iter().sum();
        2.0 * right as f64 / (given + borne).max(1) as f64
    }

    /// The mean of the labels' F1, each counting the same however many texts bear it.
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
    fn figures_by_hand() {
        let validation = Validation {
            labels: vec!["a".into(), "b".into(), "c".into()],
            folds: 5,
            confusion: vec![vec![6, 2, 0], vec![1, 1, 0], vec![2, 0, 0]],
        };
        assert!((validation.accuracy() - 7.0 / 12.0).abs() < 1e-12);
        // a: precision 6/9, recall 6/8. b: 1/3 and 1/2. c: never right.
        let (a, b) = (2.0 * 6.0 / 17.0, 2.0 / 5.0);
        assert!((validation.f1(0) - a).abs() < 1e-12);
        assert!((validation.macro_f1() - (a + b) / 3.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn folds_are_even_in_all_and_in_each_label(
            targets in proptest::collection::vec(0usize..4, 1..200),
            folds in 2usize..8,
        ) {
            let fold = fold_of(&targets, folds);
            for label in [None, Some(0), Some(1), Some(2), Some(3)] {
                let mut sizes = vec![0usize; folds];
                for (text, fold) in fold.iter().enumerate() {
                    sizes[*fold] += usize::from(label.is_none_or(|l| targets[text] == l));
                }
                let most = sizes.iter().max().copied().unwrap_or(0);
                prop_assert!(sizes.iter().all(|s| s + 1 >= most));
            }
        }
    }
}
