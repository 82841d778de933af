//! The lectures' own logs, transcribed, with the verdicts that the lectures pass on them.

use super::*;
use crate::data::ValueRange;
use crate::data::mnist;

/// A log's lines [step, G's loss, D's loss, accuracy on real, accuracy on fake].
fn verdict(convention: LossConvention, lines: &[[f64; 5]]) -> Health {
    let mut monitor = Monitor::new(Game::plain(convention));
    for &[step, loss_g, loss_d, real, fake] in lines {
        monitor.push(Reading {
            step: step as u64,
            loss_d: Some(loss_d),
            loss_g: Some(loss_g),
            accuracy_real: Some(real),
            accuracy_fake: Some(fake),
            variety: None,
            gradient_norm: None,
        });
    }
    monitor.health()
}

/// Kasprowski, gan0: points on a sine. Its "accuracy fake" is the fooling rate.
const SINE: [[f64; 5]; 5] = [
    [100.0, 0.6942, 0.6603, 0.82, 1.0 - 0.40],
    [1_000.0, 0.7313, 0.6633, 0.65, 1.0 - 0.23],
    [2_500.0, 0.7859, 0.6127, 0.79, 1.0 - 0.31],
    [4_000.0, 0.8306, 0.6306, 0.49, 1.0 - 0.21],
    [4_900.0, 0.7194, 0.6837, 0.55, 1.0 - 0.45],
];

/// Kasprowski, gan1: vertical lines, the lecture's example of a discriminator that is right too often.
const LINES: [[f64; 5]; 5] = [
    [0.0, 0.7061, 1.3895, 0.36, 0.64],
    [100.0, 1.947, 0.3137, 0.98, 1.0],
    [300.0, 2.642, 0.1690, 0.96, 1.0],
    [1_000.0, 3.522, 0.2623, 0.96, 0.96],
    [1_500.0, 3.466, 0.2948, 0.98, 0.96],
];

/// Kasprowski, gan2: speed limits, "very stable".
const SIGNS: [[f64; 5]; 4] = [
    [10.0, 0.698, 1.377, 0.60, 0.62],
    [1_980.0, 0.760, 1.310, 0.54, 0.80],
    [3_960.0, 0.725, 1.383, 0.46, 0.70],
    [5_820.0, 0.727, 1.318, 0.62, 0.56],
];

#[test]
fn the_sine_and_the_signs_are_balanced_at_every_line() {
    for (convention, log) in [(LossConvention::Mean, &SINE[..]), (LossConvention::Sum, &SIGNS[..])]
    {
        for end in 2..=log.len() {
            let health = verdict(convention, &log[..end]);
            assert_eq!(health.verdict, Verdict::Balanced, "{health:?}");
            assert_eq!(health.hack, "");
        }
    }
}

#[test]
fn the_lines_have_a_discriminator_that_is_too_strong_from_the_third_line_on() {
    for end in 3..=LINES.len() {
        let health = verdict(LossConvention::Sum, &LINES[..end]);
        assert_eq!(health.verdict, Verdict::DiscriminatorTooStrong, "{health:?}");
        assert!(health.why.contains("sum convention") && health.hack.contains("labels"));
    }
    assert_eq!(verdict(LossConvention::Sum, &LINES[..2]).verdict, Verdict::TooEarly);
    // Losses alone and accuracies alone say the same.
    let mut monitor =
        Monitor::new(Game { cross_entropy: false, ..Game::plain(LossConvention::Sum) });
    for [step, _, _, real, fake] in LINES {
        let (accuracy_real, accuracy_fake) = (Some(real), Some(fake));
        let step = step as u64;
        monitor.push(Reading { step, accuracy_real, accuracy_fake, ..Reading::default() });
    }
    assert_eq!(monitor.health().verdict, Verdict::DiscriminatorTooStrong);
}

#[test]
fn large_gradients_are_told_where_losses_look_well() {
    let judged = |game: Game, norm: f64| {
        let mut monitor = Monitor::new(game);
        for step in 2..8 {
            let (loss_d, loss_g) = (Some(0.6), Some(0.8));
            let gradient_norm = Some(if step == 3 { 1e6 } else { norm });
            monitor.push(Reading { step, loss_d, loss_g, gradient_norm, ..Reading::default() });
        }
        monitor.health()
    };
    let game = Game::plain(LossConvention::Mean);
    // One large gradient among many is no matter.
    assert_eq!(judged(game, 99.0).verdict, Verdict::Balanced);
    let health = judged(game, 312.0);
    assert_eq!(health.verdict, Verdict::Diverged);
    assert!(health.why.contains("312") && health.hack.contains("clip_norm"), "{health:?}");
    // Of other objectives nobody knows what is large.
    assert_ne!(judged(Game { cross_entropy: false, ..game }, 312.0).verdict, Verdict::Diverged);
}

/// Wolter, gan_generate_letters_failing: G's loss peaks at 36 in iteration 2,300, and the run ends at D 0.137, G 2.59 (the
/// mean over 16 + 16) with samples of a single digit.
#[test]
fn the_failing_letters_collapse() {
    let log = |variety| {
        let mut monitor = Monitor::new(Game::plain(LossConvention::Mean));
        monitor.push(Reading { step: 2_300, loss_g: Some(36.0), ..Reading::default() });
        let (loss_d, loss_g) = (Some(0.137), Some(2.59));
        monitor.push(Reading { step: 10_000, loss_d, loss_g, variety, ..Reading::default() });
        monitor.health()
    };
    let health = log(Some(Variety::Modes { covered: 1, classes: 10 }));
    assert_eq!(health.verdict, Verdict::Collapsing);
    assert!(health.why.contains("1 of 10 classes"), "{health:?}");
    // Losses do not tell a collapse: without a look at the samples only D's strength is seen.
    assert_eq!(log(None).verdict, Verdict::DiscriminatorTooStrong);
    assert_eq!(
        log(Some(Variety::Modes { covered: 10, classes: 10 })).verdict,
        Verdict::DiscriminatorTooStrong
    );
}

#[test]
fn the_same_losses_mean_other_things_by_the_other_convention() {
    // 0.66 of the mean is near chance; of the sum, D has less than half of its uncertainty left.
    let [step, loss_g, loss_d, ..] = SINE[1];
    let lines = [[step, loss_g, loss_d, 0.8, 0.8], [step + 1.0, loss_g, 0.5, 0.8, 0.8]];
    assert_eq!(verdict(LossConvention::Mean, &lines).verdict, Verdict::Balanced);
    let lines = lines.map(|line| [line[0], line[1], 0.5, line[3], line[4]]);
    assert_eq!(verdict(LossConvention::Mean, &lines).verdict, Verdict::Balanced);
    assert_eq!(verdict(LossConvention::Sum, &lines).verdict, Verdict::DiscriminatorTooStrong);
}

#[test]
fn smoothed_labels_lift_the_floor() {
    // D's best by the mean convention with real labels of 0.9 is 0.1625: 0.3 is a quarter of the way from there.
    let plain = Game::plain(LossConvention::Mean);
    let smoothed = Game { labels: Labels { real: 0.9, ..Labels::default() }, ..plain };
    assert!((smoothed.standing(0.16254).unwrap()).abs() < 1e-4);
    assert!(plain.standing(0.3).unwrap() > STRONG_STANDING);
    assert!(smoothed.standing(0.3).unwrap() < STRONG_STANDING);
    assert!((smoothed.standing(LN_2).unwrap() - 1.0).abs() < 1e-12);
    let blind = Game { labels: Labels { flip: 0.5, ..Labels::default() }, ..plain };
    assert_eq!(blind.standing(0.1), None);
}

#[test]
fn a_generator_that_fools_and_losses_that_blow_up_are_told() {
    let fooling = [[100.0, 0.2, 1.9, 0.3, 0.1], [120.0, 0.2, 1.9, 0.3, 0.1]];
    assert_eq!(verdict(LossConvention::Sum, &fooling).verdict, Verdict::GeneratorFooling);
    let garbage = [[100.0, 0.2, 1.2, 0.7, 0.5], [120.0, 0.2, 1.2, 0.7, 0.5]];
    assert_eq!(verdict(LossConvention::Sum, &garbage).verdict, Verdict::GeneratorFooling);
    let wild = [[100.0, 9.0, 5.0, 0.5, 0.5], [120.0, 8.0, 5.0, 0.5, 0.5]];
    assert_eq!(verdict(LossConvention::Sum, &wild).verdict, Verdict::Diverged);
    // A number that is none counts at once, even as the very first.
    let none = verdict(LossConvention::Sum, &[[1.0, f64::NAN, 1.0, 0.5, 0.5]]);
    assert_eq!(none.verdict, Verdict::Diverged);
    // One wild line among good ones does not.
    let mut lines = vec![[100.0, 0.7, 1.3, 0.6, 0.6]; 9];
    lines[4][2] = 50.0;
    assert_eq!(verdict(LossConvention::Sum, &lines).verdict, Verdict::Balanced);
}

#[test]
fn old_lines_are_forgotten() {
    let mut lines = vec![[100.0, 3.0, 0.1, 1.0, 1.0]; 20];
    lines.extend([[200.0, 0.7, 1.35, 0.6, 0.6]; WINDOW]);
    assert_eq!(verdict(LossConvention::Sum, &lines).verdict, Verdict::Balanced);
}

#[test]
fn one_low_measure_of_variety_is_no_collapse_and_two_are() {
    let mut monitor = Monitor::new(Game::plain(LossConvention::Sum));
    let mut push = |share| {
        let (loss_d, loss_g) = (Some(1.3), Some(0.8));
        let variety = Some(Variety::Distance(share));
        monitor.push(Reading { step: 500, loss_d, loss_g, variety, ..Reading::default() });
        monitor.health().verdict
    };
    // One line is too early for any verdict.
    let verdicts = [push(0.1), push(0.9), push(0.1)];
    assert_eq!(verdicts, [Verdict::TooEarly, Verdict::Balanced, Verdict::Balanced]);
    assert_eq!(push(0.1), Verdict::Collapsing);
    assert_eq!(push(f64::NAN), Verdict::Collapsing);
}

/// What the share of variety is for sets that are known to have collapsed, of the embedded digits.
#[test]
fn variety_tells_one_image_from_many() {
    let data = mnist::embedded().unwrap().dataset(ValueRange::Signed).unwrap();
    let (real, labels) = (&data.images[..784 * 2_000], data.labels.as_ref().unwrap());
    let chosen = |keep: &dyn Fn(usize) -> bool| -> Vec<f32> {
        let indices = (2_000..6_000).filter(|&index| keep(index)).take(300);
        indices.flat_map(|index| data.sample(index).unwrap()).copied().collect()
    };
    let share = |fake: &[f32]| relative_variety(real, fake, 784).unwrap();
    let other = share(&chosen(&|_| true));
    assert!((other - 1.0).abs() < 0.02, "{other}");
    // One digit in many hands is varied still: pixels do not know what it means.
    let ones = share(&chosen(&|index| labels[index] == 1));
    let zeros = share(&chosen(&|index| labels[index] == 0));
    assert!(ones > COLLAPSED_VARIETY && ones < 0.8 && zeros > 0.8, "{ones} {zeros}");
    // One image, a little disturbed, is not.
    let image = data.sample(7).unwrap();
    let noisy: Vec<f32> =
        (0..50 * 784).map(|place| image[place % 784] + (place * 31 % 17) as f32 / 100.0).collect();
    assert!(share(&noisy) < 0.3, "{}", share(&noisy));
    assert!(relative_variety(real, image, 784).is_err());
}

#[test]
fn a_generator_that_is_trained_alone_fools_nobody() {
    let mut monitor = Monitor::new(Game::plain(LossConvention::Mean));
    for step in (20..=200).step_by(20) {
        monitor.push(Reading { step, loss_g: Some(0.01), ..Reading::default() });
    }
    assert_eq!(monitor.health().verdict, Verdict::TooEarly);
}
