//! Training a model, and trying its like on texts that they were not trained on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::corpus::{Corpus, CorpusError};
use crate::features::Features;
use crate::file;
use crate::model::Model;
use crate::solve::solve;
use crate::validate::{Validation, fold_of};

/// Threads at most: each fit holds rows of its own, some 15 bytes for each byte of the texts.
const THREADS: usize = 2;

/// A model, and how well its like did.
#[derive(Debug)]
pub struct Trained {
    /// Trained on all texts.
    pub model: Model,
    /// How models trained in the same way on all folds but one labelled the texts of that one.
    pub validation: Validation,
}

/// Trains a model on all texts, and one for each of `folds` parts (2 to 20; other numbers are
/// brought there) on all others, to be tried on it. `progress` is told how many of how many models
/// are done.
///
/// The same corpus gives the same model and figures, whatever the number of threads.
///
/// # Errors
/// [`CorpusError::FewLabels`] and [`CorpusError::OneText`].
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

    // The longest fit, on all texts, begins first; its texts to be tried on are none.
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

/// A model of some texts.
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
    Model::of(names, features, &solution)
}

/// `work(0)`, `work(1)`.. `work(count - 1)`, in their order, on up to [`THREADS`] threads.
/// `progress` is told how many are done, and of how many.
fn parallel<T: Send>(
    count: usize,
    mut progress: impl FnMut(usize, usize),
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
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
                    // Nobody listens only where `progress` panicked.
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
    fn the_same_texts_give_the_same_bytes() {
        let train = || {
            let mut told = Vec::new();
            let trained = train(&corpus(PAIRS), 4, |n, of| told.push((n, of))).unwrap();
            assert_eq!(told, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
            (trained.model.to_bytes(), trained.validation)
        };
        assert_eq!(train(), train());
    }

    /// A text asked about is the row that it was in training, and rounding the weights to 16 bits
    /// costs next to nothing.
    #[test]
    fn answers_are_the_ones_of_the_solution() {
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
    fn one_label_is_refused() {
        let error = train(&corpus(&PAIRS[..4]), 5, |_, _| {}).unwrap_err();
        assert_eq!(error, CorpusError::FewLabels(1));
    }
}
