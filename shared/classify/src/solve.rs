//! Multinomial logistic regression with L2 regularization on sparse rows, by stochastic dual
//! coordinate ascent.
//!
//! It minimizes the objective of scikit-learn's `LogisticRegression`,
//! `C * sum_i -ln p(label_i | x_i) + |W|^2 / 2`, except that the intercept is regularized like a
//! weight. The dual has one probability vector `q_i` per row, with
//! `W = C * sum_i (e_label - q_i) x_i`; at the optimum, `q_i` is the prediction of the model for row
//! i. A step solves exactly for the `q_i` of one row with all others fixed (Yu, Huang and Lin, "Dual
//! coordinate descent methods for logistic regression and maximum entropy models", 2011). It only
//! accesses the weights of that row's features, which suits rows with a few hundred of 100,000
//! features.

use crate::features::Rows;

/// `C`: the weight of the texts relative to the regularization. The default of scikit-learn.
const C: f32 = 1.0;

/// Maximum number of passes over the rows.
const PASSES_MAX: usize = 60;

/// Convergence threshold. Passes end when `q_i` and the prediction for row i, which are equal at the
/// optimum, differ by at most this much on average, in the label that differs most.
const TOLERANCE: f32 = 1e-4;

/// Maximum number of iterations of Newton's method. With a good guess, 2 or 3 are enough.
const ITERATIONS_MAX: usize = 30;

/// Labels processed at a time. Compilers turn the loops over them into vector instructions.
const LANES: usize = 8;

type Lane = [f32; LANES];

/// Weights of a linear model.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    /// One per label.
    pub(crate) intercepts: Vec<f32>,
    /// One per label, for each feature.
    pub(crate) weights: Vec<f32>,
}

/// Fits a model. `targets` contains the label of each row, below `labels`.
pub(crate) fn solve(rows: &Rows, targets: &[usize], features: usize, labels: usize) -> Solution {
    let lanes = labels.div_ceil(LANES);
    let mut weights = vec![[0.0f32; LANES]; (features + 1) * lanes];
    // The intercept is the weight of a feature with the value 1 in every row.
    let intercept = features * lanes;
    let squares: Vec<f32> = (0..rows.len())
        .map(|i| rows.row(i).iter().map(|(_, v)| v * v).sum::<f32>() + 1.0)
        .collect();
    // Starting with the label of each row means W = 0.
    let mut duals = vec![0.0f32; rows.len() * labels];
    for (i, target) in targets.iter().enumerate() {
        duals[i * labels + target] = 1.0;
    }

    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = SplitMix(0);
    let mut scores = vec![[0.0f32; LANES]; lanes];
    let mut change = vec![[0.0f32; LANES]; lanes];
    let mut step = Step::new(labels);
    for _ in 0..PASSES_MAX {
        random.shuffle(&mut order);
        let mut difference = 0.0;
        for &i in &order {
            let row = rows.row(i);
            scores.copy_from_slice(&weights[intercept..]);
            for &(feature, value) in row {
                let at = feature as usize * lanes;
                add(&mut scores, value, &weights[at..at + lanes]);
            }
            let dual = &mut duals[i * labels..(i + 1) * labels];
            difference += step.solve(scores.as_flattened(), dual, squares[i] * C);
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
        if difference <= TOLERANCE * rows.len() as f32 {
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

/// The problem of one row: find the `q` with `ln q + c q = target - mu` for each label, and the `mu`
/// for which the sum of `q` is 1.
struct Step {
    /// The scores without the contribution of this row.
    target: Vec<f32>,
    logs: Vec<f32>,
    q: Vec<f32>,
}

impl Step {
    fn new(labels: usize) -> Step {
        Step {
            target: vec![0.0; labels],
            logs: vec![0.0; labels],
            q: vec![0.0; labels],
        }
    }

    /// Stores the solution in `q`. Returns the difference between the prediction and the old `q`. `c`
    /// is the squared length of the row times [`C`].
    ///
    /// The sum is decreasing and convex in `mu`, so Newton's method converges from any start. The
    /// current prediction is the best guess.
    fn solve(&mut self, scores: &[f32], old: &[f32], c: f32) -> f32 {
        let scores = &scores[..self.target.len()];
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let ln_sum = max + scores.iter().map(|s| (s - max).exp()).sum::<f32>().ln();
        let (mut difference, mut mu_min) = (0.0f32, f32::NEG_INFINITY);
        for (k, (score, old)) in scores.iter().zip(old).enumerate() {
            self.logs[k] = score - ln_sum;
            self.target[k] = score + c * old;
            difference = difference.max((self.logs[k].exp() - old).abs());
            // At this `mu`, the label alone has the sum 1.
            mu_min = mu_min.max(self.target[k] - c);
        }
        let mut mu = ln_sum.max(mu_min);
        let mut sum = 1.0;
        for _ in 0..ITERATIONS_MAX {
            sum = 0.0;
            let mut slope = 0.0;
            for ((log, q), target) in self.logs.iter_mut().zip(&mut self.q).zip(&self.target) {
                *log = root(*log, target - mu, c);
                *q = log.exp();
                sum += *q;
                slope += *q / (1.0 + c * *q);
            }
            if (sum - 1.0).abs() < 1e-5 {
                break;
            }
            mu = (mu + (sum - 1.0) / slope).max(mu_min);
        }
        self.q.iter_mut().for_each(|q| *q /= sum);
        difference
    }
}

/// Solves `t + c exp(t) = b` for `t`, where `b` is at most `c`, with Newton's method. The left side is
/// convex, so a step from below overshoots; 0 and `b` are above the root.
fn root(guess: f32, b: f32, c: f32) -> f32 {
    let mut t = guess;
    for _ in 0..ITERATIONS_MAX {
        let e = c * t.exp();
        let next = (t - (t + e - b) / (1.0 + e)).min(b).min(0.0);
        let change = (next - t).abs();
        t = next;
        // The next change would be about the square of this one.
        if change < 1e-3 {
            break;
        }
    }
    t
}

/// SplitMix64 (Steele, Lea and Flood), so that all versions use the same order of rows.
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
            // The bias matters only for lengths near 2^64.
            order.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn softmax(scores: &[f64]) -> Vec<f64> {
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exps: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|e| e / sum).collect()
    }

    const FEATURES: usize = 6;

    /// Rows, their labels, and the number of labels.
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
        /// The objective is convex, so its minimum is where the gradient is 0.
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
            let max = gradient.iter().flatten().fold(0.0f64, |m, g| m.max(g.abs()));
            // The mean difference of a row is at most 0.0001 at the end, and its values are below 2.
            prop_assert!(max < 0.001 * rows.len() as f64, "{max}");
        }
    }
}
