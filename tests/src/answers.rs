//! What the oracle says of a case: computed when a check first asks, and kept for those that ask after it.
//!
//! The oracle is deterministic, and nothing of it depends on the device, the type or the precision that is checked; the
//! checks of one case would only compute the same numbers again, by loops that are slow on purpose. Nothing that the
//! device under test computes is kept: each check runs it anew.

use crate::case::{Build, Case, Scale};
use crate::compare::Mismatch;
use crate::evaluate::{Evaluation, cotangent, evaluate, evaluate_output};
use crate::report::Mode;
use belamy_tensor::{DType, Device, Error, Graph};
use std::borrow::Cow;
use std::cell::OnceCell;

/// A case, and what is right for it.
#[derive(Debug)]
pub struct Answers<'a> {
    case: &'a Case,
    oracle: &'a Device,
    /// Whether gradients will be asked for, so that an output is not computed first without them.
    gradients: bool,
    values: OnceCell<Vec<Vec<f64>>>,
    right: Kept,
    absolute: Kept,
    definition: OnceCell<Result<Evaluation, Mismatch>>,
}

/// An evaluation, with gradients or for its output alone.
#[derive(Debug, Default)]
struct Kept {
    whole: OnceCell<Result<Evaluation, Mismatch>>,
    output: OnceCell<Result<Evaluation, Mismatch>>,
}

/// Magnitudes that rounding errors of the output and of each gradient are measured by.
#[derive(Debug)]
pub struct Sizes<'a> {
    /// Of the output.
    pub output: Cow<'a, [f64]>,
    /// Of each operand's gradient, where it has one.
    pub grads: Vec<Option<Cow<'a, [f64]>>>,
}

pub(crate) fn refused(error: Error) -> Mismatch {
    Mismatch::Presence { what: format!("the op refused: {error:?}") }
}

fn peak(values: &[f64]) -> Cow<'static, [f64]> {
    let largest = values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    Cow::Owned(vec![largest; values.len()])
}

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

fn known(kept: &Result<Evaluation, Mismatch>) -> Result<&Evaluation, Mismatch> {
    kept.as_ref().map_err(Clone::clone)
}

impl<'a> Answers<'a> {
    /// Nothing is computed yet; `modes` are those that will be asked for.
    pub fn new(case: &'a Case, oracle: &'a Device, modes: &[Mode]) -> Answers<'a> {
        Answers {
            case,
            oracle,
            gradients: modes.contains(&Mode::ParityGradient),
            values: OnceCell::new(),
            right: Kept::default(),
            absolute: Kept::default(),
            definition: OnceCell::new(),
        }
    }

    /// The case.
    pub fn case(&self) -> &'a Case {
        self.case
    }

    /// The operands' numbers.
    pub fn values(&self) -> &[Vec<f64>] {
        self.values.get_or_init(|| self.case.values())
    }

    fn run(
        &self,
        build: &Build,
        values: &[Vec<f64>],
        gradients: bool,
        weights: Option<&[f64]>,
    ) -> Result<Evaluation, Mismatch> {
        let (case, oracle, dtype) = (self.case, self.oracle, DType::F64);
        let found = match gradients {
            true => evaluate(case, build, values, weights, dtype, oracle, Graph::Drop),
            false => evaluate_output(case, build, values, dtype, oracle),
        };
        found.map_err(refused)
    }

    /// One of the two evaluations that are kept: the whole one where gradients are asked for, now or later.
    fn kept<'b>(
        &self,
        kept: &'b Kept,
        gradients: bool,
        run: impl FnOnce(bool) -> Result<Evaluation, Mismatch>,
    ) -> Result<&'b Evaluation, Mismatch> {
        let gradients = gradients || self.gradients || kept.whole.get().is_some();
        let cell = if gradients { &kept.whole } else { &kept.output };
        known(cell.get_or_init(|| run(gradients)))
    }

    /// The right answer: the oracle's, in f64. Its gradients are there if they are asked for.
    pub fn right(&self, gradients: bool) -> Result<&Evaluation, Mismatch> {
        self.kept(&self.right, gradients, |gradients| {
            self.run(&self.case.build, self.values(), gradients, None)
        })
    }

    /// What the case's definition says, in f64, with its gradients.
    pub fn definition(&self, definition: &Build) -> Result<&Evaluation, Mismatch> {
        known(self.definition.get_or_init(|| self.run(definition, self.values(), true, None)))
    }

    /// What errors of an answer are measured by; of its gradients, if they are asked for.
    pub fn sizes<'b>(
        &'b self,
        want: &'b Evaluation,
        gradients: bool,
    ) -> Result<Sizes<'b>, Mismatch> {
        let peaks = || want.grads.iter().map(|grad| grad.as_deref().map(peak)).collect();
        match self.case.scale {
            Scale::Output => {
                Ok(Sizes { output: Cow::Owned(magnitudes(&want.output)), grads: peaks() })
            }
            Scale::Peak => Ok(Sizes { output: peak(&want.output), grads: peaks() }),
            Scale::Absolute => {
                let sizes = self.kept(&self.absolute, gradients, |gradients| {
                    self.on_magnitudes(want.output.len(), gradients)
                })?;
                let borrowed = |grad: &'b Option<Vec<f64>>| grad.as_deref().map(Cow::Borrowed);
                Ok(Sizes {
                    output: Cow::Borrowed(&sizes.output),
                    grads: sizes.grads.iter().map(borrowed).collect(),
                })
            }
        }
    }

    /// The same op on absolute values.
    fn on_magnitudes(&self, elements: usize, gradients: bool) -> Result<Evaluation, Mismatch> {
        // What is not differentiated (an index, a condition, an image whose maxima choose) keeps its meaning.
        let inputs = self.case.inputs.iter().zip(self.values());
        let values: Vec<Vec<f64>> = inputs
            .map(|(input, values)| match input.differentiable {
                true => magnitudes(values),
                false => values.clone(),
            })
            .collect();
        let weights = magnitudes(&cotangent(self.case, elements));
        self.run(&self.case.build, &values, gradients, Some(&weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Domain;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn each_answer_is_computed_once_and_is_the_same_with_gradients_and_without() {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let case = Case::new("mul", "counted", move |t| {
            counted.fetch_add(1, Ordering::Relaxed);
            t[0].mul(&t[1])
        })
        .input(&[3], Domain::Normal)
        .input(&[3], Domain::Normal)
        .absolute(1);
        let oracle = belamy_cpu::oracle();
        let count = || runs.swap(0, Ordering::Relaxed);

        let plain = Answers::new(&case, &oracle, &[Mode::Parity]);
        for _ in 0..3 {
            let want = plain.right(false).unwrap();
            assert!(want.grads.iter().all(Option::is_none));
            assert_eq!(*plain.sizes(want, false).unwrap().output, magnitudes(&want.output));
        }
        assert_eq!(count(), 2, "the answer and its size");
        let whole = plain.right(true).unwrap();
        assert_eq!(count(), 1, "now with gradients");
        assert_eq!(whole.output, plain.right(false).unwrap().output);
        assert!(whole.grads.iter().all(Option::is_some));

        let both = Answers::new(&case, &oracle, &[Mode::Parity, Mode::ParityGradient]);
        for gradients in [false, true] {
            let want = both.right(gradients).unwrap();
            let sizes = both.sizes(want, gradients).unwrap();
            assert!(sizes.grads.iter().zip(&want.grads).all(|(size, grad)| {
                size.as_deref().unwrap() == magnitudes(grad.as_deref().unwrap())
            }));
        }
        assert_eq!(count(), 2, "with gradients from the beginning");
    }
}
