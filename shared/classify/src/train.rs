//! Trains a model, and cross-validates it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::corpus::{Corpus, CorpusError};
use crate::features::Features;
use crate::file;
use crate::model::Model;
use crate::solve::solve;
use crate::validate::{Validation, fold_of};

/// Maximum number of threads. Each fit has its own rows, with about 15 bytes per byte of text.
const THREADS_MAX: usize = 2;

/// A trained model and its validation.
#[derive(Debug)]
pub struct Trained {
    /// The model, trained on all texts.
    pub model: Model,
    /// The result of the cross-validation: for each fold, a model was trained on the other folds.
    pub validation: Validation,
}

/// Trains a model on all texts, and cross-validates it with `folds` folds (clamped to 2..=20).
/// `progress` is called with the number of models that are done and their total.
///
/// The same corpus gives the same model and figures with any number of threads.
///
/// # Errors
/// [`CorpusError::FewLabels`] or [`CorpusError::SingleText`].
pub fn train(
    corpus: &Corpus,
    folds: usize,
    progress: impl FnMut(usize, usize),
) -> Result<Trained, CorpusError> {
    corpus.check()?;
    let folds = folds.clamp(2, 20);
    let targets = corpus.targets();
    let fold = fold_of(&targets, folds);
    let all: Vec<usize> = (0..corpus.len()).collect();

    // Part 0 is the longest fit: on all texts, without texts to validate.
    let mut fits = parallel(folds + 1, progress, |part| {
        let (outside, inside): (Vec<usize>, Vec<usize>) =
            all.iter().partition(|text| fold[**text] + 1 == part);
        let model = fit(corpus, &targets, &inside);
        let answers: Vec<(usize, usize)> = outside
            .into_iter()
            .map(|text| (text, model.best(corpus.text(text))))
            .collect();
        (model, answers)
    });
    let mut answers = vec![0; corpus.len()];
    for (text, answer) in fits.iter().flat_map(|(_, answers)| answers) {
        answers[*text] = *answer;
    }
    let validation = Validation::new(corpus, folds, &targets, &answers);
    let (model, _) = fits.swap_remove(0);
    Ok(Trained { model, validation })
}

/// Fits a model to some texts.
fn fit(corpus: &Corpus, targets: &[usize], texts: &[usize]) -> Model {
    let labels = corpus.labels();
    let (features, places) = Features::select(corpus, texts, file::features_max(labels.len()));
    let rows = features.rows(corpus, texts, &places);
    let targets: Vec<usize> = texts.iter().map(|text| targets[*text]).collect();
    let solution = solve(&rows, &targets, features.keys.len(), labels.len());
    let names = labels
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    Model::from_solution(names, features, &solution)
}

/// Runs `work(0)` to `work(count - 1)` on up to [`THREADS_MAX`] threads, and returns the results in
/// order. `progress` is called with the number of results so far and their total.
fn parallel<T: Send>(
    count: usize,
    mut progress: impl FnMut(usize, usize),
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX));
    let next = AtomicUsize::new(0);
    let (send, done) = mpsc::channel();
    let mut results = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let send = send.clone();
            let (next, work) = (&next, &work);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    // Sending fails only if `progress` panicked.
                    if n >= count || send.send((n, work(n))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        for result in done {
            results.push(result);
            progress(results.len(), count);
        }
    });
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PAIRS: &[(&str, &str)] = &[
        ("Snow fell all night, snow on every roof.", "cold"),
        ("The lake is ice, and the road is ice too.", "cold"),
        ("Frost on the window, my hands are frozen.", "cold"),
        ("An icy wind brought more snow and frost.", "cold"),
        ("We swam at the beach in the hot sun.", "warm"),
        ("Sun all day, the sand at the beach was hot.", "warm"),
        ("Hot tea in the sun, and a walk on the beach.", "warm"),
        ("The sunny beach was hot and crowded.", "warm"),
    ];

    pub(crate) fn corpus(pairs: &[(&str, &str)]) -> Corpus {
        let mut corpus = Corpus::new();
        for (text, label) in pairs {
            corpus.push(text, label).unwrap();
        }
        corpus
    }

    #[test]
    fn training_is_deterministic() {
        let train = || {
            let mut calls = Vec::new();
            let trained = train(&corpus(PAIRS), 4, |n, total| calls.push((n, total))).unwrap();
            assert_eq!(calls, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
            (trained.model.to_bytes(), trained.validation)
        };
        assert_eq!(train(), train());
    }

    /// Prediction uses the same values as training, and rounding the weights to 16 bits hardly changes
    /// the scores.
    #[test]
    fn predictions_match_the_solution() {
        let corpus = corpus(PAIRS);
        let texts: Vec<usize> = (0..corpus.len()).collect();
        let targets = corpus.targets();
        let (features, places) = Features::select(&corpus, &texts, usize::MAX);
        let rows = features.rows(&corpus, &texts, &places);
        let solution = solve(&rows, &targets, features.keys.len(), 2);
        let model = fit(&corpus, &targets, &texts);
        for text in texts {
            let (scores, _) = model.scores(corpus.text(text));
            for (label, score) in scores.into_iter().enumerate() {
                let weight = |(f, v): &(u32, f32)| v * solution.weights[*f as usize * 2 + label];
                let sum: f32 = rows.row(text).iter().map(weight).sum();
                let exact = solution.intercepts[label] + sum;
                assert!((score - exact).abs() < 1e-3, "{score} {exact}");
            }
        }
    }

    #[test]
    fn a_single_label_is_rejected() {
        let error = train(&corpus(&PAIRS[..4]), 5, |_, _| {}).unwrap_err();
        assert_eq!(error, CorpusError::FewLabels(1));
    }
}
