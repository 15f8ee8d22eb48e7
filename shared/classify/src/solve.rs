//! Multinomial logistic regression with L2 regularisation on sparse rows, by stochastic dual
//! coordinate ascent.
//!
//! What is minimised is scikit-learn's `LogisticRegression`:
//! `C * sum_i -ln p(label_i | x_i) + |W|^2 / 2`, only that the intercept is regularised as a weight
//! is. Its dual has one probability vector `q_i` a row, with `W = C * sum_i (e_label - q_i) x_i`,
//! and at the optimum `q_i` is the model's own answer for row i. One step takes a row and solves
//! for its `q_i` with all others fixed, exactly (Yu, Huang and Lin, "Dual coordinate descent
//! methods for logistic regression and maximum entropy models", 2011). It reads and writes the
//! weights of that row's features only, which suits rows of some hundred values out of 100,000.

use crate::features::Rows;

/// `C`: how much the texts count against the regularisation. scikit-learn's default.
const C: f32 = 1.0;

/// Passes over the rows at most.
const PASSES: usize = 60;

/// The passes end when `q_i` and the model's answer for row i, which are equal at the optimum,
/// differ by no more than this on average over a pass, taken in the label that differs most.
const APART: f32 = 1e-4;

/// Turns of Newton's method at most. It takes 2 or 3 where the guess is good.
const TURNS: usize = 30;

/// Labels are worked on so many at a time, which compilers turn into vector instructions.
const LANES: usize = 8;

type Lane = [f32; LANES];

/// Weights of a linear model.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    /// One a label.
    pub(crate) intercepts: Vec<f32>,
    /// Feature after feature, one a label.
    pub(crate) weights: Vec<f32>,
}

/// Fits a model. `targets` has a label below `labels` for each row.
pub(crate) fn solve(rows: &Rows, targets: &[usize], features: usize, labels: usize) -> Solution {
    let lanes = labels.div_ceil(LANES);
    let mut weights = vec![[0.0f32; LANES]; (features + 1) * lanes];
    // The intercept is the weight of a feature that every row has with the value 1.
    let intercept = features * lanes;
    let squares: Vec<f32> = (0..rows.len())
        .map(|i| rows.row(i).iter().map(|(_, v)| v * v).sum::<f32>() + 1.0)
        .collect();
    // Beginning with the label itself makes W = 0.
    let mut duals = vec![0.0f32; rows.len() * labels];
    for (i, target) in targets.iter().enumerate() {
        duals[i * labels + target] = 1.0;
    }

    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = SplitMix(0);
    let mut scores = vec![[0.0f32; LANES]; lanes];
    let mut change = vec![[0.0f32; LANES]; lanes];
    let mut step = Step::new(labels);
    for _ in 0..PASSES {
        random.shuffle(&mut order);
        let mut apart = 0.0;
        for &i in &order {
            let row = rows.row(i);
            scores.copy_from_slice(&weights[intercept..]);
            for &(feature, value) in row {
                let at = feature as usize * lanes;
                add(&mut scores, value, &weights[at..at + lanes]);
            }
            let dual = &mut duals[i * labels..(i + 1) * labels];
            apart += step.solve(scores.as_flattened(), dual, squares[i] * C);
            let pairs = dual.iter_mut().zip(&step.q);
            for ((old, new), change) in pairs.zip(change.as_flattened_mut()) {
                *change = (*old - new) * C;
                *old = *new;
            }
            add(&mut weights[intercept..], 1.0, &change);
            for &(feature, value) in row {
                let at = feature as usize * lanes;
                add(&mut weights[at..at + lanes], value, &change);
            }
        }
        if apart <= APART * rows.len() as f32 {
            break;
        }
    }

    let of = |at: usize| &weights[at..at + lanes].as_flattened()[..labels];
    Solution {
        intercepts: of(intercept).to_vec(),
        weights: (0..features)
            .flat_map(|f| of(f * lanes).iter().copied())
            .collect(),
    }
}

/// `to += value * from`
fn add(to: &mut [Lane], value: f32, from: &[Lane]) {
    for (to, from) in to.iter_mut().zip(from) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += value * from;
        }
    }
}

/// One row's problem: the `q` with `ln q + c q = wanted - mu` in each label, and the `mu` that
/// makes its sum 1.
struct Step {
    /// The scores without this row's own part in them.
    wanted: Vec<f32>,
    logs: Vec<f32>,
    q: Vec<f32>,
}

impl Step {
    fn new(labels: usize) -> Step {
        Step {
            wanted: vec![0.0; labels],
            logs: vec![0.0; labels],
            q: vec![0.0; labels],
        }
    }

    /// Leaves the solution in `q`, and says how far the model's answer was from the old one.
    /// `c` is the row's squared length times [`C`].
    ///
    /// The sum falls and is convex in `mu`, so Newton's method gets to the root from anywhere; the
    /// model's own answer, where the last pass ends, is the best guess.
    fn solve(&mut self, scores: &[f32], old: &[f32], c: f32) -> f32 {
        let scores = &scores[..self.wanted.len()];
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let ln_sum = most + scores.iter().map(|s| (s - most).exp()).sum::<f32>().ln();
        let (mut apart, mut least) = (0.0f32, f32::NEG_INFINITY);
        for (k, (score, old)) in scores.iter().zip(old).enumerate() {
            self.logs[k] = score - ln_sum;
            self.wanted[k] = score + c * old;
            apart = apart.max((self.logs[k].exp() - old).abs());
            // Here this label alone has the sum 1.
            least = least.max(self.wanted[k] - c);
        }
        let mut mu = ln_sum.max(least);
        let mut sum = 1.0;
        for _ in 0..TURNS {
            sum = 0.0;
            let mut slope = 0.0;
            for ((log, q), wanted) in self.logs.iter_mut().zip(&mut self.q).zip(&self.wanted) {
                *log = root(*log, wanted - mu, c);
                *q = log.exp();
                sum += *q;
                slope += *q / (1.0 + c * *q);
            }
            if (sum - 1.0).abs() < 1e-5 {
                break;
            }
            mu = (mu + (sum - 1.0) / slope).max(least);
        }
        self.q.iter_mut().for_each(|q| *q /= sum);
        apart
    }
}

/// The `t` with `t + c exp(t) = b`, where `b` is at most `c`, by Newton's method from a guess. The
/// left side is convex, so a step from below goes too far; 0 and `b` are above the root.
fn root(guess: f32, b: f32, c: f32) -> f32 {
    let mut t = guess;
    for _ in 0..TURNS {
        let e = c * t.exp();
        let next = (t - (t + e - b) / (1.0 + e)).min(b).min(0.0);
        let by = (next - t).abs();
        t = next;
        // The next step would be about the square of this one.
        if by < 1e-3 {
            break;
        }
    }
    t
}

/// SplitMix64 (Steele, Lea and Flood): the same order of rows in every version.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for i in (1..order.len()).rev() {
            // Not quite even for lengths near 2^64.
            order.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn softmax(scores: &[f64]) -> Vec<f64> {
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exps: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|e| e / sum).collect()
    }

    const FEATURES: usize = 6;

    /// Rows, their labels, and how many labels there are.
    type Problem = (Vec<Vec<(u32, f32)>>, Vec<usize>, usize);

    fn problem() -> impl Strategy<Value = Problem> {
        let row = proptest::collection::btree_map(0..FEATURES as u32, -2.0f32..2.0, 0..5)
            .prop_map(|row| row.into_iter().collect::<Vec<_>>());
        (2usize..11).prop_flat_map(move |labels| {
            proptest::collection::vec((row.clone(), 0..labels), 1..40).prop_map(move |pairs| {
                let (rows, targets) = pairs.into_iter().unzip();
                (rows, targets, labels)
            })
        })
    }

    proptest! {
        /// Where the gradient of the objective is 0 is its one minimum.
        #[test]
        fn the_solution_is_the_minimum((rows, targets, labels) in problem()) {
            let solution = solve(&Rows::new(&rows), &targets, FEATURES, labels);
            let weight = |f: usize, l: usize| f64::from(solution.weights[f * labels + l]);
            let intercept = |l: usize| f64::from(solution.intercepts[l]);
            let mut gradient = vec![vec![0.0; labels]; FEATURES + 1];
            for l in 0..labels {
                for (f, gradient) in gradient.iter_mut().enumerate() {
                    gradient[l] = if f == FEATURES { intercept(l) } else { weight(f, l) };
                }
            }
            for (row, target) in rows.iter().zip(&targets) {
                let scores: Vec<f64> = (0..labels)
                    .map(|l| {
                        let at = |(f, v): &(u32, f32)| weight(*f as usize, l) * f64::from(*v);
                        intercept(l) + row.iter().map(at).sum::<f64>()
                    })
                    .collect();
                for (l, p) in softmax(&scores).into_iter().enumerate() {
                    let by = f64::from(C) * (p - f64::from(u8::from(l == *target)));
                    gradient[FEATURES][l] += by;
                    for (f, v) in row {
                        gradient[*f as usize][l] += by * f64::from(*v);
                    }
                }
            }
            let most = gradient.iter().flatten().fold(0.0f64, |m, g| m.max(g.abs()));
            // On average rows are 0.0001 apart when it ends, and their values below 2.
            prop_assert!(most < 0.001 * rows.len() as f64, "{most}");
        }
    }
}
