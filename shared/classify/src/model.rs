//! A trained classifier.

use crate::features::Features;
use crate::grams::{self, CHARACTERS};
use crate::solve::Solution;

/// Labels processed at a time. Compilers turn the loops over them into vector instructions.
const LANES: usize = 8;

/// Predicts the most likely label of a text. Any number of threads can share a model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Sorted, at least 2.
    pub(crate) labels: Vec<String>,
    pub(crate) features: Features,
    /// One per label.
    pub(crate) intercepts: Vec<f32>,
    /// The value of a weight of 1.
    pub(crate) scale: f32,
    /// One per label, for each feature.
    pub(crate) weights: Vec<i16>,
    lookup: Lookup,
}

/// The prediction for a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction<'a> {
    /// The most likely label. Of equally likely labels, the first.
    pub label: &'a str,
    /// The probability of the label, 0 to 1. The probabilities of all labels sum to 1. They are not
    /// calibrated: use them for comparison, not as frequencies.
    pub probability: f64,
    /// The probabilities of all labels, in the order of [`Model::labels`].
    pub probabilities: Vec<f64>,
}

/// A word of a text, and how much it supports a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// The word in lower case, without the punctuation around it.
    pub word: String,
    /// How much the word, its characters and its half of each pair raise the score of the label above
    /// the mean score of all labels. Scores are logarithms: 0.7 doubles the odds.
    pub weight: f64,
}

/// The parts of a model in a form that is fast to query.
#[derive(Clone, Debug)]
struct Lookup {
    idf: Vec<f32>,
    /// The weights, padded to complete lanes.
    lanes: Vec<[i16; LANES]>,
    /// The shift that turns a key into its bucket.
    shift: u32,
    /// The start of the keys of each bucket, and the end of the last one. Keys are hashes, so a bucket
    /// contains about one.
    buckets: Vec<u32>,
}

impl Lookup {
    fn new(features: &Features, weights: &[i16], labels: usize) -> Lookup {
        let per_feature = labels.div_ceil(LANES);
        let mut lanes = vec![[0i16; LANES]; features.keys.len() * per_feature];
        for (to, from) in lanes
            .chunks_exact_mut(per_feature)
            .zip(weights.chunks_exact(labels))
        {
            to.as_flattened_mut()[..labels].copy_from_slice(from);
        }
        let bits = features
            .keys
            .len()
            .next_power_of_two()
            .trailing_zeros()
            .max(1);
        let shift = 64 - bits;
        let mut buckets = vec![0u32; (1 << bits) + 1];
        for key in &features.keys {
            buckets[(key >> shift) as usize + 1] += 1;
        }
        for i in 1..buckets.len() {
            buckets[i] += buckets[i - 1];
        }
        Lookup {
            idf: features.idf(),
            lanes,
            shift,
            buckets,
        }
    }

    fn place(&self, features: &Features, key: u64) -> Option<usize> {
        let bucket = (key >> self.shift) as usize;
        let (from, to) = (
            self.buckets[bucket] as usize,
            self.buckets[bucket + 1] as usize,
        );
        // In an untrusted file, all keys may fall into one bucket.
        let at = features.keys[from..to].binary_search(&key).ok()?;
        Some(from + at)
    }
}

/// The scores of a text from one family of n-grams, before normalization.
struct Family {
    sums: Vec<[f32; LANES]>,
    square: f32,
}

impl Family {
    fn add(&mut self, value: f32, weights: &[[i16; LANES]]) {
        self.square += value * value;
        for (sum, weights) in self.sums.iter_mut().zip(weights) {
            for (sum, weight) in sum.iter_mut().zip(weights) {
                *sum += value * f32::from(*weight);
            }
        }
    }

    /// The factor that normalizes to length 1, or 0 without n-grams.
    fn factor(&self) -> f32 {
        if self.square > 0.0 {
            self.square.sqrt().recip()
        } else {
            0.0
        }
    }
}

impl Model {
    /// The parts must match: one weight per feature and label, one intercept per label, sorted keys.
    pub(crate) fn new(
        labels: Vec<String>,
        features: Features,
        intercepts: Vec<f32>,
        scale: f32,
        weights: Vec<i16>,
    ) -> Model {
        let lookup = Lookup::new(&features, &weights, labels.len());
        Model {
            labels,
            features,
            intercepts,
            scale,
            weights,
            lookup,
        }
    }

    /// Creates a model from a solution, with weights rounded to 16 bits.
    pub(crate) fn from_solution(
        labels: Vec<String>,
        features: Features,
        solution: &Solution,
    ) -> Model {
        let max = solution.weights.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let scale = max / f32::from(i16::MAX);
        let round = |w: &f32| {
            if scale > 0.0 {
                (w / scale).round() as i16
            } else {
                0
            }
        };
        let weights = solution.weights.iter().map(round).collect();
        Model::new(
            labels,
            features,
            solution.intercepts.clone(),
            scale,
            weights,
        )
    }

    /// The labels, sorted by bytes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The number of n-grams with weights.
    pub fn features(&self) -> usize {
        self.features.keys.len()
    }

    /// Predicts the label of a text. A text without known n-grams, such as an empty one, gets the label
    /// that is most likely in general.
    pub fn predict(&self, text: &str) -> Prediction<'_> {
        let (scores, _) = self.scores(text);
        let best = argmax(&scores);
        let max = scores[best];
        let mut probabilities: Vec<f64> = scores.iter().map(|s| f64::from(s - max).exp()).collect();
        let sum: f64 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|p| *p /= sum);
        Prediction {
            label: &self.labels[best],
            probability: probabilities[best],
            probabilities,
        }
    }

    /// At most `max` words of a text that support a label, the strongest first. Words against the label
    /// are left out. There are none for an unknown label.
    pub fn words(&self, text: &str, label: &str, max: usize) -> Vec<Word> {
        let Ok(label) = self.labels.binary_search_by(|l| l.as_str().cmp(label)) else {
            return Vec::new();
        };
        let (_, factors) = self.scores(text);
        let tokens: Vec<String> = text
            .to_lowercase()
            .split_whitespace()
            .map(|token| {
                let word = token.trim_matches(|c: char| !c.is_alphanumeric());
                if word.is_empty() { token } else { word }.to_owned()
            })
            .collect();
        let labels = self.labels.len();
        let mut weights = vec![0.0; tokens.len()];
        grams::grams(text, |gram| {
            let Some(place) = self.lookup.place(&self.features, gram.key) else {
                return;
            };
            let of = &self.weights[place * labels..(place + 1) * labels];
            let mean = of.iter().map(|w| f64::from(*w)).sum::<f64>() / labels as f64;
            let factor = factors[usize::from(gram.key & CHARACTERS != 0)];
            let value = f64::from(self.lookup.idf[place] * factor * self.scale);
            let weight = value * (f64::from(of[label]) - mean);
            weights[gram.first] += weight / 2.0;
            weights[gram.last] += weight / 2.0;
        });

        let mut words: Vec<Word> = Vec::new();
        let mut sorted: Vec<usize> = (0..tokens.len()).collect();
        sorted.sort_by(|a, b| tokens[*a].cmp(&tokens[*b]));
        for same in sorted.chunk_by(|a, b| tokens[*a] == tokens[*b]) {
            let weight: f64 = same.iter().map(|at| weights[*at]).sum();
            if weight > 0.0 {
                words.push(Word {
                    word: tokens[same[0]].clone(),
                    weight,
                });
            }
        }
        words.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        words.truncate(max);
        words
    }

    /// The index of the most likely label.
    pub(crate) fn best(&self, text: &str) -> usize {
        argmax(&self.scores(text).0)
    }

    /// The scores of all labels, and the normalization factors of words and characters.
    pub(crate) fn scores(&self, text: &str) -> (Vec<f32>, [f32; 2]) {
        let lanes = self.labels.len().div_ceil(LANES);
        let family = || Family {
            sums: vec![[0.0; LANES]; lanes],
            square: 0.0,
        };
        let mut families = [family(), family()];
        grams::counted(text, &mut Vec::new(), |key, count| {
            if let Some(place) = self.lookup.place(&self.features, key) {
                let weights = &self.lookup.lanes[place * lanes..(place + 1) * lanes];
                let value = count as f32 * self.lookup.idf[place];
                families[usize::from(key & CHARACTERS != 0)].add(value, weights);
            }
        });
        let factors = [families[0].factor(), families[1].factor()];
        let [words, characters] = families.map(|f| f.sums);
        let sums = words.as_flattened().iter().zip(characters.as_flattened());
        let scores = sums
            .zip(&self.intercepts)
            .map(|((w, c), i)| i + (w * factors[0] + c * factors[1]) * self.scale)
            .collect();
        (scores, factors)
    }
}

/// The index of the highest score. Of equal scores, the first.
fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train;
    use crate::train::tests::{PAIRS, corpus};

    fn model() -> Model {
        train(&corpus(PAIRS), 2, |_, _| {}).unwrap().model
    }

    #[test]
    fn a_prediction_has_a_label_and_words() {
        let model = model();
        assert_eq!(model.labels(), ["cold", "warm"]);
        let text = "FROST, more frost and ice on the beach";
        let prediction = model.predict(text);
        assert_eq!(prediction.label, "cold");
        assert!((0.5..1.0).contains(&prediction.probability));
        let sum: f64 = prediction.probabilities.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9);
        let cold = model.words(text, "cold", 5);
        assert_eq!(cold[0].word, "frost");
        assert!(cold.iter().all(|w| w.word != "beach" && w.weight > 0.0));
        assert!(cold.is_sorted_by(|a, b| a.weight >= b.weight));
        assert_eq!(model.words(text, "warm", 1)[0].word, "beach");
        assert_eq!(model.words(text, "tepid", 5), []);
    }

    #[test]
    fn the_weights_of_words_add_up_to_the_scores() {
        let model = model();
        let text = "frost on the beach, snow-white snow";
        let (scores, _) = model.scores(text);
        let score = |l: usize| f64::from(scores[l] - model.intercepts[l]);
        let over = score(0) - (score(0) + score(1)) / 2.0;
        let sum: f64 = ["cold", "warm"]
            .iter()
            .zip([1.0, -1.0])
            .flat_map(|(l, sign)| {
                model
                    .words(text, l, 99)
                    .into_iter()
                    .map(move |w| sign * w.weight)
            })
            .sum();
        assert!((over - sum).abs() < 1e-5, "{over} {sum}");
    }

    #[test]
    fn an_unknown_text_gets_the_generally_most_likely_label() {
        let model = model();
        for text in ["", "   ", "日本", "?!"] {
            let prediction = model.predict(text);
            assert_eq!(prediction.probabilities, model.predict("").probabilities);
            assert_eq!(model.words(text, prediction.label, 3), []);
        }
    }
}
