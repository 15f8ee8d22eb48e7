//! TF-IDF: which n-grams are features, and the value of each in a text.

use crate::corpus::Corpus;
use crate::grams::CHARACTERS;

/// Fewest texts with an n-gram that is a feature. An n-gram of a single text identifies that text, not
/// a label. Without those, a corpus of short texts has less than half the features, and a higher
/// cross-validated macro F1 (see the decision on the classifier).
const TEXTS_MIN: u32 = 2;

/// The features of a model, sorted by key: words first, then characters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Features {
    pub(crate) keys: Vec<u64>,
    /// For each feature, the number of training texts that contain it.
    pub(crate) texts: Vec<u32>,
    /// The number of training texts.
    pub(crate) total: u32,
}

impl Features {
    /// The features of some texts of a corpus, and the index of each n-gram among them (`u32::MAX`
    /// if it is not a feature). At most `max` features are kept: those in the most texts.
    pub(crate) fn select(corpus: &Corpus, texts: &[usize], max: usize) -> (Features, Vec<u32>) {
        let mut frequency = vec![0u32; corpus.keys().len()];
        for text in texts {
            for (number, _) in corpus.counts(*text) {
                frequency[*number as usize] += 1;
            }
        }
        let mut kept: Vec<u32> = (0..frequency.len() as u32)
            .filter(|n| frequency[*n as usize] >= TEXTS_MIN)
            .collect();
        let key = |n: &u32| corpus.keys()[*n as usize];
        if kept.len() > max {
            kept.sort_unstable_by_key(|n| (u32::MAX - frequency[*n as usize], key(n)));
            kept.truncate(max);
        }
        kept.sort_unstable_by_key(key);
        let mut places = vec![u32::MAX; frequency.len()];
        for (place, number) in kept.iter().enumerate() {
            places[*number as usize] = place as u32;
        }
        let features = Features {
            keys: kept.iter().map(key).collect(),
            texts: kept.iter().map(|n| frequency[*n as usize]).collect(),
            total: texts.len() as u32,
        };
        (features, places)
    }

    /// The value of one occurrence of each feature: `ln((1 + total) / (1 + texts)) + 1`,
    /// scikit-learn's smoothed inverse document frequency.
    pub(crate) fn idf(&self) -> Vec<f32> {
        let total = 1.0 + f64::from(self.total);
        self.texts
            .iter()
            .map(|texts| ((total / (1.0 + f64::from(*texts))).ln() + 1.0) as f32)
            .collect()
    }

    /// The number of word features. All others are character features.
    pub(crate) fn words(&self) -> usize {
        self.keys.partition_point(|key| key & CHARACTERS == 0)
    }

    /// Some texts of a corpus as rows of values. The values of words and of characters are each
    /// normalized to the Euclidean length 1, so that neither dominates.
    pub(crate) fn rows(&self, corpus: &Corpus, texts: &[usize], places: &[u32]) -> Rows {
        let idf = self.idf();
        let words = self.words();
        let mut rows = Rows {
            starts: vec![0],
            values: Vec::new(),
        };
        for text in texts {
            let from = rows.values.len();
            for (number, count) in corpus.counts(*text) {
                let place = places[*number as usize];
                if place != u32::MAX {
                    rows.values
                        .push((place, *count as f32 * idf[place as usize]));
                }
            }
            let row = &mut rows.values[from..];
            let split = row.partition_point(|(place, _)| (*place as usize) < words);
            let (word, character) = row.split_at_mut(split);
            for family in [word, character] {
                let length = family.iter().map(|(_, v)| v * v).sum::<f32>().sqrt();
                family.iter_mut().for_each(|(_, v)| *v /= length);
            }
            rows.starts.push(rows.values.len());
        }
        rows
    }
}

/// A sparse matrix, row by row.
#[derive(Debug)]
pub(crate) struct Rows {
    starts: Vec<usize>,
    /// (column, value)
    values: Vec<(u32, f32)>,
}

impl Rows {
    #[cfg(test)]
    pub(crate) fn new(rows: &[Vec<(u32, f32)>]) -> Rows {
        let mut all = Rows {
            starts: vec![0],
            values: Vec::new(),
        };
        for row in rows {
            all.values.extend(row);
            all.starts.push(all.values.len());
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn row(&self, at: usize) -> &[(u32, f32)] {
        &self.values[self.starts[at]..self.starts[at + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::{PAIRS, corpus};

    #[test]
    fn features_are_in_two_texts_and_the_most_frequent_are_kept() {
        let corpus = corpus(PAIRS);
        let texts: Vec<usize> = (0..corpus.len()).collect();
        let (all, places) = Features::select(&corpus, &texts, usize::MAX);
        assert!(all.keys.is_sorted() && all.keys.len() < corpus.keys().len());
        assert!(all.texts.iter().all(|t| *t >= 2));
        for (number, place) in places.iter().enumerate() {
            if *place != u32::MAX {
                assert_eq!(all.keys[*place as usize], corpus.keys()[number]);
            }
        }
        let (few, _) = Features::select(&corpus, &texts, 10);
        assert_eq!(few.keys.len(), 10);
        let min = few.texts.iter().min().copied().unwrap();
        let left_out = all.keys.iter().zip(&all.texts);
        for (key, texts) in left_out.filter(|(key, _)| !few.keys.contains(key)) {
            assert!(*texts <= min, "{key:x}");
        }
    }

    #[test]
    fn words_and_characters_are_each_normalized() {
        let corpus = corpus(PAIRS);
        let texts: Vec<usize> = (0..corpus.len()).collect();
        let (features, places) = Features::select(&corpus, &texts, usize::MAX);
        let rows = features.rows(&corpus, &texts, &places);
        assert_eq!(rows.len(), corpus.len());
        let (idf, words) = (features.idf(), features.words());
        for (text, counts) in texts.iter().map(|t| (*t, corpus.counts(*t))) {
            let row = rows.row(text);
            assert!(row.is_sorted_by(|a, b| a.0 < b.0));
            for family in [0..words, words..idf.len()] {
                let of = |(place, _): &&(u32, f32)| family.contains(&(*place as usize));
                let square: f32 = row.iter().filter(of).map(|(_, v)| v * v).sum();
                assert!((square - 1.0).abs() < 1e-5, "{square}");
            }
            // Within a family, values are proportional to count times idf.
            let known: Vec<_> = counts
                .iter()
                .filter(|(n, _)| places[*n as usize] != u32::MAX)
                .collect();
            assert_eq!(known.len(), row.len());
            let ratio = |i: usize| row[i].1 / (known[i].1 as f32 * idf[row[i].0 as usize]);
            assert!((ratio(0) - ratio(1)).abs() < 1e-5);
        }
    }
}
