//! A run's metrics: what a line says, as it is measured and as it is read back, and the curves of all lines.

use super::Plan;
use crate::error::Result;
use crate::files;
use crate::health::{Reading, Variety, Verdict};
use crate::memory;
use crate::pair::Measures;
use crate::pictures::curves::{self, Panel, Series};
use belamy_tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One line of metrics.jsonl.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// Generator updates made.
    pub step: u64,
    /// Passes over the data.
    pub epoch: f64,
    /// Seconds of training, over all parts of a run that was resumed.
    pub seconds: f64,
    /// Real images a second since the line before.
    pub images_per_second: f64,
    /// The discriminator's loss, in nats per sample; it and the accuracies are not a number while a generator is
    /// trained alone.
    pub loss_d: f64,
    /// The generator's loss, in nats per sample.
    pub loss_g: f64,
    /// `mean` or `sum` of the discriminator's two halves.
    pub loss_convention: &'static str,
    /// The share of real samples taken for real.
    pub accuracy_real: f64,
    /// The share of fake samples taken for fake.
    pub accuracy_fake: f64,
    /// The share of fake samples taken for real.
    pub fooling_rate: f64,
    /// How far samples are from one another, as a share of real ones: [`relative_variety`](crate::health::relative_variety), each
    /// `sample_every` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variety: Option<f64>,
    /// The verdict on the last lines.
    pub health: Verdict,
    /// Other losses, where a system has them, and the norms of gradients.
    #[serde(flatten)]
    pub parts: BTreeMap<&'static str, f64>,
}

impl Metrics {
    /// The line as the health monitor reads it.
    pub fn reading(&self) -> Reading {
        let known = |value: f64| value.is_finite().then_some(value);
        Reading {
            step: self.step,
            loss_d: known(self.loss_d),
            loss_g: known(self.loss_g),
            accuracy_real: known(self.accuracy_real),
            accuracy_fake: known(self.accuracy_fake),
            variety: self.variety.map(Variety::Distance),
            gradient_norm: {
                let norms = ["gradient_norm_d", "gradient_norm_g"];
                let norms = norms.iter().filter_map(|name| self.parts.get(name).copied());
                norms.reduce(f64::max)
            },
        }
    }
}

/// What a step measured: the losses of the discriminator and the generator, the accuracies on real and fake samples, the
/// named parts in their order, and the gradients' norms if they are watched. Not a number where there is none, which JSON
/// and the pictures leave out.
pub fn numbers(measures: &Measures) -> Result<Vec<f64>> {
    let number = |tensor: Option<Tensor>| -> Result<f64> {
        Ok(tensor.map(|tensor| tensor.item()).transpose()?.unwrap_or(f64::NAN))
    };
    let loss_d = measures.answers.is_some().then(|| measures.loss_d.clone());
    let mut numbers = vec![
        number(loss_d)?,
        measures.loss_g.item()?,
        number(measures.accuracy_real()?)?,
        number(measures.accuracy_fake()?)?,
    ];
    let parts = measures.parts.iter().map(|(_, tensor)| tensor);
    for tensor in parts.chain(measures.gradient_norms.iter().flatten()) {
        numbers.push(tensor.item()?);
    }
    Ok(numbers)
}

/// One line of metrics as it is read back.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Line {
    step: u64,
    pub(super) seconds: f64,
    loss_d: Option<f64>,
    loss_g: Option<f64>,
    accuracy_real: Option<f64>,
    accuracy_fake: Option<f64>,
}

pub(super) fn read(out: &Path) -> Result<Vec<Line>> {
    let path = out.join("metrics.jsonl");
    let text = files::read_text(&path).map_err(|error| files::not_read(&path, error))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    memory::collected(lines, "a run's metrics")
}

/// Draws losses and accuracies over the run's steps into curves.png.
pub(super) fn draw_curves(out: &Path, plan: &Plan) -> Result<PathBuf> {
    let lines = read(out)?;
    let series = |name: &str, value: fn(&Line) -> Option<f64>| -> Result<Series> {
        let points = lines.iter().filter_map(|line| Some((line.step as f64, value(line)?)));
        Ok(Series { name: name.to_owned(), points: memory::collected(points, "curves")? })
    };
    let convention = plan.recipe.loss_convention;
    let chance = 2.0 * std::f64::consts::LN_2 * convention.scale();
    let panels = [
        Panel {
            label: format!("loss (nats, D: {})", convention.name()),
            range: None,
            series: vec![
                series("discriminator", |line| line.loss_d)?,
                series("generator", |line| line.loss_g)?,
            ],
            marks: vec![("D at chance".to_owned(), chance)],
        },
        Panel {
            label: "accuracy of D".to_owned(),
            range: Some((0.0, 1.0)),
            series: vec![
                series("on real", |line| line.accuracy_real)?,
                series("on fake", |line| line.accuracy_fake)?,
            ],
            marks: vec![("chance".to_owned(), 0.5)],
        },
    ];
    let path = out.join("curves.png");
    files::write_atomically(&path, &curves::curves(&panels, "step")?.png()?)?;
    Ok(path)
}
