//! Warnings before a run: settings that train, but that experience speaks against.
//!
//! | lint | why |
//! |---|---|
//! | kernel not divisible by stride | pixels are reached by unequal numbers of taps: a checkerboard (Odena, Dumoulin and Olah 2016; Chollet 2017, 8.5) |
//! | last layer against the data | tanh reaches [−1, 1], a sigmoid [0, 1]: what is outside cannot be drawn, or D knows fakes by it |
//! | batch norm at batch 1 | without a second sample a dense layer's batch norm returns its bias whatever comes in |
//! | odd epsilon | 0 divides by 0; a large one swallows the adaptive rate |
//! | label over 1 with cross-entropy | BCE(a, t) = softplus(a) − t·a has no lower end for t > 1: logits grow without end |
//!
//! Published systems break some of these rules (5×5 kernels at stride 2; CIFAR's tanh on [0, 1]): warnings are said, and
//! nothing is refused.

use crate::adversarial::Objective;
use crate::data::ValueRange;
use crate::recipe::Recipe;
use belamy_nn::network::LayerRow;
use belamy_nn::optimizer::Rule;
use serde::Serialize;

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rules {
    /// A kernel is not divisible by its stride.
    KernelStride,
    /// The generator's last layer does not fit the data's range.
    LastLayer,
    /// Batch norm over one sample.
    BatchNorm,
    /// An optimiser's epsilon is 0 or large.
    Epsilon,
    /// A target of a cross-entropy is over 1.
    Label,
}

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Which rule is broken.
    pub rule: Rules,
    /// What was found where, and why it matters, in one line.
    pub message: String,
}

/// An epsilon above this swallows the adaptive rate of gradients of common sizes.
const LARGE_EPSILON: f64 = 1e-3;

/// The warnings of a recipe and its networks' layer tables, by the networks' names.
///
/// ```
/// use belamy_gan::lints::{Rules, warnings};
/// use belamy_gan::Recipe;
/// let mut recipe = Recipe::named("sine")?;
/// assert!(warnings(&recipe, &[]).is_empty());
/// recipe.labels.real = 1.2;
/// assert_eq!(warnings(&recipe, &[])[0].rule, Rules::Label);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn warnings(recipe: &Recipe, networks: &[(&str, &[LayerRow])]) -> Vec<Warning> {
    let cross_entropy =
        matches!(recipe.objective, Objective::CrossEntropy | Objective::RelativisticAverage);
    let mut found = Vec::new();
    let mut warn = |rule, message: String| found.push(Warning { rule, message });
    for (network, rows) in networks {
        let uneven: Vec<String> = rows.iter().filter_map(uneven).collect();
        if let Some(first) = uneven.first() {
            let more = match uneven.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            warn(
                Rules::KernelStride,
                format!("{network}: {first}{more}: the picture may show a checkerboard"),
            );
        }
        if recipe.batch == 1 && rows.iter().any(|row| row.layer.starts_with("BatchNorm")) {
            let alone = rows.windows(2).any(|pair| {
                pair[1].layer.starts_with("BatchNorm")
                    && pair[1].output.iter().rev().skip(1).product::<usize>() == 1
            });
            let effect = if alone {
                "where an image is one pixel it returns its bias whatever comes in"
            } else {
                "it takes the statistics of a single image, as instance norm does"
            };
            warn(Rules::BatchNorm, format!("{network}: batch norm at batch 1: {effect}"));
        }
        if network.starts_with("generator")
            && let Some(last) = rows.last()
            && let Some(message) = unfit(last, recipe.range)
        {
            warn(Rules::LastLayer, format!("{network}: {message}"));
        }
    }
    let optimizers = [
        ("generator_optimizer", recipe.generator_optimizer.rule),
        ("discriminator_optimizer", recipe.discriminator_optimizer.rule),
    ];
    for (name, rule) in optimizers {
        let (Rule::Adam { epsilon, .. } | Rule::RmsProp { epsilon, .. }) = rule else { continue };
        // What f32 cannot hold is 0 on the device.
        if (epsilon as f32) == 0.0 {
            let why = "a weight whose gradient is 0 divides 0 by 0";
            warn(Rules::Epsilon, format!("{name}.rule.epsilon is {epsilon}: {why}"));
        } else if epsilon > LARGE_EPSILON {
            let why = "it swallows the adaptive rate of small gradients; usual are 1e-8 and 1e-7";
            warn(Rules::Epsilon, format!("{name}.rule.epsilon is {epsilon}: {why}"));
        }
    }
    let labels = recipe.labels;
    if cross_entropy {
        let over = [
            ("labels.real", labels.real + labels.noise),
            ("labels.fake", labels.fake + labels.noise),
            ("labels.generator", labels.generator),
        ];
        for (name, most) in over.into_iter().filter(|(_, most)| *most > 1.0) {
            let noise = if name != "labels.generator" && labels.noise > 0.0 {
                " with labels.noise"
            } else {
                ""
            };
            let why =
                "a cross-entropy with a target over 1 has no least value, logits grow without end";
            warn(Rules::Label, format!("{name}{noise} reaches {most:.3}: {why}"));
        }
    }
    found
}

/// "conv2d_1 has a 5×5 kernel at stride 2", if that leaves a rest.
fn uneven(row: &LayerRow) -> Option<String> {
    let (kernel, stride) = window(&row.layer)?;
    (stride > 1 && !kernel.is_multiple_of(stride))
        .then(|| format!("{} has a {kernel}×{kernel} kernel at stride {stride}", row.name))
}

/// Kernel and stride of a convolution's description in a layer table: `Conv 1→64, 5×5, stride 2, same`.
fn window(layer: &str) -> Option<(usize, usize)> {
    if !layer.starts_with("Conv") {
        return None;
    }
    let mut parts = layer.split(", ").skip(1);
    let kernel = parts.next()?.split('×').next()?.parse().ok()?;
    let stride = parts.next()?.strip_prefix("stride ")?.parse().ok()?;
    Some((kernel, stride))
}

/// What is wrong with a generator's last layer for data of a range.
fn unfit(last: &LayerRow, range: ValueRange) -> Option<String> {
    match (last.layer.as_str(), range) {
        ("Tanh", ValueRange::Unit) => Some(
            "it ends in tanh, [-1, 1], and the data are [0, 1]: D knows fakes by what is below 0"
                .into(),
        ),
        ("Sigmoid", ValueRange::Signed) => Some(
            "it ends in a sigmoid, [0, 1], and the data are [-1, 1]: nothing dark can be drawn"
                .into(),
        ),
        ("Tanh" | "Sigmoid", ValueRange::Unbounded) => {
            Some("it ends in a bounded layer, and the data are not bounded".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Pair;
    use belamy_tensor::DType;

    fn row(name: &str, layer: &str, output: &[usize]) -> LayerRow {
        LayerRow {
            name: name.into(),
            layer: layer.into(),
            output: output.to_vec(),
            params: 0,
            trainable: 0,
            multiply_adds: 0,
        }
    }

    fn rules(recipe: &Recipe, rows: &[LayerRow]) -> Vec<Rules> {
        warnings(recipe, &[("generator", rows)]).iter().map(|found| found.rule).collect()
    }

    #[test]
    fn each_rule_is_seen_broken_and_kept() {
        let recipe = Recipe::named("dcgan64").unwrap();
        assert_eq!(rules(&recipe, &[row("c", "Conv 1→64, 4×4, stride 2, same", &[8, 8, 64])]), []);
        let odd = [row("c", "ConvTranspose 1→64, 5×5, stride 2, same, no bias", &[8, 8, 64])];
        assert_eq!(rules(&recipe, &odd), [Rules::KernelStride]);
        assert_eq!(rules(&recipe, &[row("c", "Conv 1→64, 5×5, stride 1, same", &[8, 8, 64])]), []);

        let tanh = [row("t", "Tanh", &[8, 8, 3])];
        assert_eq!(rules(&recipe, &tanh), []);
        let unit = Recipe { range: ValueRange::Unit, ..recipe.clone() };
        assert_eq!(rules(&unit, &tanh), [Rules::LastLayer]);
        assert_eq!(rules(&unit, &[row("s", "Sigmoid", &[8, 8, 3])]), []);
        assert_eq!(rules(&recipe, &[row("s", "Sigmoid", &[8, 8, 3])]), [Rules::LastLayer]);

        let norm = [row("d", "Dense 1→9", &[9]), row("n", "BatchNorm (decay 0.9, ε 0.001)", &[9])];
        assert_eq!(rules(&recipe, &norm), []);
        let one = Recipe { batch: 1, ..recipe.clone() };
        assert_eq!(rules(&one, &norm), [Rules::BatchNorm]);
        assert!(warnings(&one, &[("g", &norm)])[0].message.contains("its bias"));

        for (epsilon, broken) in [("0", true), ("1e-50", true), ("0.1", true), ("1e-7", false)] {
            let mut recipe = recipe.clone();
            recipe.set(&format!("generator_optimizer.rule.epsilon={epsilon}")).unwrap();
            assert_eq!(rules(&recipe, &[]) == [Rules::Epsilon], broken, "{epsilon}");
        }
        for (label, broken) in
            [("real=1.1", true), ("noise=0.05", true), ("generator=1.2", true), ("real=0.9", false)]
        {
            let mut recipe = recipe.clone();
            recipe.set(&format!("labels.{label}")).unwrap();
            assert_eq!(rules(&recipe, &[]) == [Rules::Label], broken, "{label}");
            recipe.set("objective=least-squares").unwrap();
            assert!(warnings(&recipe, &[]).is_empty(), "no cross-entropy");
        }
    }

    #[test]
    fn the_layer_tables_of_real_networks_are_understood() {
        let device = belamy_cpu::cpu();
        let mut recipe = Recipe::named("mnist-dcgan").unwrap();
        let found = |recipe: &Recipe| {
            let pair = Pair::new(recipe.clone(), 1, DType::F32, &device).unwrap();
            let tables = [pair.generator.table().unwrap(), pair.discriminator.table().unwrap()];
            let networks = [("generator", &tables[0][..]), ("discriminator", &tables[1][..])];
            warnings(recipe, &networks)
        };
        // Two transposed convolutions and two convolutions of 5×5 at stride 2, as published.
        let warnings = found(&recipe);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().all(|found| found.message.contains("5×5 kernel at stride 2")));
        assert!(warnings[0].message.contains("and 1 more"), "{warnings:?}");
        recipe.set("range=unit").unwrap();
        recipe.set("batch=1").unwrap();
        let rules: Vec<Rules> = found(&recipe).iter().map(|found| found.rule).collect();
        assert!(
            rules.contains(&Rules::LastLayer) && rules.contains(&Rules::BatchNorm),
            "{rules:?}"
        );
    }
}
