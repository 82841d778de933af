//! Samples of a conditional generator against the classes that were asked for.
//!
//! ```text
//! share = samples that a classifier takes for the class asked for / all samples
//! ```
//!
//! A sample that leads to no finite answer counts as wrong. Of C classes asked for in turn, a generator that ignores
//! what it is asked for is right on 1/C by a classifier that is always right.

use super::some;
use crate::error::{Error, Result};
use crate::judge::classifier::Verdict;
use serde::Serialize;

/// How often a generator draws the class that it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassesCard {
    /// Samples judged.
    pub samples: usize,
    /// Samples taken for the class that was asked for.
    pub right: usize,
    /// Their share of all samples.
    pub share: f64,
    /// The class whose share is least, of those that were asked for.
    pub worst: usize,
    /// Its share.
    pub worst_share: f64,
    /// `taken[asked][found]`: samples asked to be of one class and taken for another.
    pub taken: Vec<Vec<usize>>,
    /// Samples for which the classifier's answer is no number.
    pub not_finite: usize,
}

impl ClassesCard {
    /// How many samples were asked to be of a class, those of no finite answer left out.
    pub fn asked(&self, class: usize) -> usize {
        self.taken[class].iter().sum()
    }
}

/// Judges verdicts (`None` where the classifier had no finite answer) against the classes that were asked for. Fails
/// when there are none, not as many, or of classes beyond `classes`.
///
/// ```
/// use belamy_gan::judge::{classes::judge, classifier::Verdict};
/// let verdict = |class| Some(Verdict { class, confidence: 0.9 });
/// let card = judge(&[0, 1, 0, 1], &[verdict(0), verdict(0), verdict(0), None], 2)?;
/// assert_eq!((card.right, card.share, card.worst, card.not_finite), (2, 0.5, 1, 1));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn judge(asked: &[u32], verdicts: &[Option<Verdict>], classes: usize) -> Result<ClassesCard> {
    let total = some(verdicts.len())?;
    if asked.len() != verdicts.len() {
        let message = format!("{} classes were asked of {} samples", asked.len(), verdicts.len());
        return Err(Error::data(message));
    }
    let mut taken = vec![vec![0; classes]; classes];
    let mut wanted = vec![0; classes];
    for (&asked, verdict) in asked.iter().zip(verdicts) {
        let (asked, found) = (asked as usize, verdict.map_or(0, |verdict| verdict.class));
        if asked.max(found) >= classes {
            let message = format!("class {} is none of {classes}", asked.max(found));
            return Err(Error::data(message));
        }
        wanted[asked] += 1;
        if verdict.is_some() {
            taken[asked][found] += 1;
        }
    }
    let share_of = |class: usize| taken[class][class] as f64 / wanted[class] as f64;
    let (worst, worst_share) = (0..classes)
        .filter(|&class| wanted[class] > 0)
        .map(|class| (class, share_of(class)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 0.0));
    let right = (0..classes).map(|class| taken[class][class]).sum();
    Ok(ClassesCard {
        samples: verdicts.len(),
        right,
        share: right as f64 / total,
        worst,
        worst_share,
        taken,
        not_finite: verdicts.iter().filter(|verdict| verdict.is_none()).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(of: &[usize]) -> Vec<Option<Verdict>> {
        of.iter().map(|&class| Some(Verdict { class, confidence: 1.0 })).collect()
    }

    #[test]
    fn the_class_asked_for_is_what_counts() {
        let asked = [0, 1, 2, 0, 1, 2];
        let card = judge(&asked, &verdicts(&[0, 1, 2, 0, 1, 2]), 3).unwrap();
        assert_eq!((card.right, card.share, card.worst_share), (6, 1.0, 1.0));
        // Every class is drawn, always for another: the histogram is even, and nothing is right.
        let card = judge(&asked, &verdicts(&[1, 2, 0, 1, 2, 0]), 3).unwrap();
        assert_eq!((card.right, card.share), (0, 0.0));
        assert_eq!(card.taken, [[0, 2, 0], [0, 0, 2], [2, 0, 0]]);
        // A generator that ignores the label.
        let card = judge(&asked, &verdicts(&[1; 6]), 3).unwrap();
        assert_eq!((card.right, card.share, card.worst, card.worst_share), (2, 1.0 / 3.0, 0, 0.0));
    }

    #[test]
    fn no_answer_is_no_right_answer_and_classes_never_asked_are_not_the_worst() {
        let card = judge(&[1, 1, 2], &[None, verdicts(&[1])[0], verdicts(&[2])[0]], 3).unwrap();
        assert_eq!((card.right, card.not_finite, card.worst, card.worst_share), (2, 1, 1, 0.5));
        // No answer is not an answer of class 0.
        let card = judge(&[0, 0], &[None, None], 3).unwrap();
        assert_eq!((card.right, card.asked(0)), (0, 0));
        assert!(judge(&[], &[], 3).is_err());
        assert!(judge(&[0], &verdicts(&[0, 0]), 3).is_err());
        assert!(judge(&[3], &verdicts(&[0]), 3).is_err());
        assert!(judge(&[0], &verdicts(&[3]), 3).is_err());
    }
}
