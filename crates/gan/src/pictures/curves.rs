//! Training curves: named series over steps, in panels below each other.

use super::axes::{Axes, TEXT};
use super::canvas::{Anchor, Canvas, Colour, FAINT_INK, INK, PALETTE, Rectangle};
use crate::error::Result;
use crate::memory;

const WIDTH: u32 = 1000;
const PANEL_HEIGHT: f32 = 300.0;
const FOOT: f32 = 24.0;
/// Series of fewer points are drawn as they are.
const SMOOTHED_FROM: usize = 40;
/// What there may be no memory for.
const WHAT: &str = "curves";

/// One named series of values over steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend, such as "discriminator".
    pub name: String,
    /// (step, value), in the order of the steps; values that are not finite leave a gap.
    pub points: Vec<(f64, f64)>,
}

/// Series that share their axes, such as the two losses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What the vertical axis shows, with its unit, such as "loss (nats)".
    pub label: String,
    /// The interval shown, or `None` to fit the data.
    pub range: Option<(f64, f64)>,
    /// The series, at most six in colours of their own.
    pub series: Vec<Series>,
    /// Dashed lines at values worth comparing with, such as ("chance", ln 2).
    pub marks: Vec<(String, f64)>,
}

/// Draws the panels below each other over a common horizontal axis, 1000 pixels wide.
///
/// Longer series appear twice: as they are, thin and pale, and smoothed over a fortieth of their length, bold. Fails
/// without memory for the picture, or for the smoothed series.
pub fn curves(panels: &[Panel], x_label: &str) -> Result<Canvas> {
    let height = PANEL_HEIGHT * panels.len().clamp(1, 20) as f32 + FOOT;
    let mut canvas = Canvas::new(WIDTH, height as u32)?;
    let all = || panels.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
    let x = interval(all().map(|point| point.0)).unwrap_or((0.0, 1.0));
    for (index, panel) in panels.iter().take(20).enumerate() {
        let top = PANEL_HEIGHT * index as f32;
        let frame = Rectangle {
            left: 90.0,
            top: top + 42.0,
            right: WIDTH as f32 - 30.0,
            bottom: top + PANEL_HEIGHT - 38.0,
        };
        let label = if index + 1 == panels.len() { x_label } else { "" };
        draw_panel(&mut canvas, panel, frame, x, label)?;
    }
    Ok(canvas)
}

fn draw_panel(
    canvas: &mut Canvas,
    panel: &Panel,
    frame: Rectangle,
    x: (f64, f64),
    x_label: &str,
) -> Result<()> {
    let smoothed: Vec<Vec<(f64, f64)>> =
        panel.series.iter().map(|series| smooth(&series.points)).collect::<Result<_>>()?;
    let y = panel.range.filter(|(low, high)| (high - low).is_finite() && high > low);
    let y = match y {
        Some(y) => y,
        None => fitting(panel, &smoothed)?,
    };
    let axes = Axes { frame, x, y };
    axes.draw(canvas, x_label, &panel.label);

    canvas.clip(Some(frame));
    for (name, value) in &panel.marks {
        let (from, to) = (axes.place(x.0, *value), axes.place(x.1, *value));
        canvas.dashes(from, to, 1.2, FAINT_INK);
        let at = (frame.right - 6.0, to.1 - 6.0);
        canvas.text(at, TEXT - 2.0, Anchor::End, FAINT_INK, name);
    }
    let placed = |points: &[(f64, f64)]| -> Vec<(f32, f32)> {
        points.iter().map(|&(x, y)| axes.place(x, y)).collect()
    };
    let pixels = (frame.right - frame.left) as usize;
    for (index, series) in panel.series.iter().enumerate() {
        if series.points.len() >= SMOOTHED_FROM {
            let points = placed(&extremes(&series.points, pixels));
            canvas.line(&points, 1.0, colour(index), 0.28);
        }
    }
    for (index, points) in smoothed.iter().enumerate() {
        let points = placed(&thinned(points, pixels));
        canvas.line(&points, 2.2, colour(index), 1.0);
        if points.len() == 1 {
            canvas.disc(points[0], 3.0, colour(index), 1.0);
        }
    }
    canvas.clip(None);

    let line = frame.top - 16.0;
    let mut end = frame.right;
    for (index, series) in panel.series.iter().enumerate().rev() {
        canvas.text((end, line), TEXT, Anchor::End, INK, &series.name);
        end -= Canvas::text_width(TEXT, &series.name) + 10.0;
        let middle = line - TEXT / 2.0;
        canvas.line(&[(end - 24.0, middle), (end, middle)], 3.0, colour(index), 1.0);
        end -= 24.0 + 26.0;
    }
    if !panel.series.iter().any(|series| series.points.iter().any(is_finite)) {
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        canvas.text(middle, TEXT + 2.0, Anchor::Middle, FAINT_INK, "no data yet");
    }
    Ok(())
}

fn colour(index: usize) -> Colour {
    PALETTE[index % PALETTE.len()]
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

/// The smallest interval that holds the finite values, widened if it is a single one.
fn interval(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return None;
    }
    let widening = if high > low { 0.0 } else { low.abs().max(1.0) * 0.5 };
    Some((low - widening, high + widening))
}

/// An interval for the vertical axis: all smoothed values and marks, and all raw values but the wildest percent.
fn fitting(panel: &Panel, smoothed: &[Vec<(f64, f64)>]) -> Result<(f64, f64)> {
    let sorted = |series: &Series| -> Result<Vec<f64>> {
        let values = series.points.iter().filter(|point| is_finite(point)).map(|point| point.1);
        let mut values = memory::collected(values, WHAT)?;
        values.sort_unstable_by(f64::total_cmp);
        Ok(values)
    };
    let raw = panel.series.iter().map(sorted).collect::<Result<Vec<_>>>()?;
    let raw = raw.iter().flat_map(|raw| &raw[raw.len() / 200..raw.len() - raw.len() / 200]);
    let smoothed = smoothed.iter().flatten().map(|point| &point.1);
    let values = smoothed.chain(panel.marks.iter().map(|mark| &mark.1)).chain(raw);
    let (low, high) = interval(values.copied()).unwrap_or((0.0, 1.0));
    let margin = 0.05 * (high - low);
    let fits = margin.is_finite() && (low - margin).is_finite() && (high + margin).is_finite();
    Ok(if fits { (low - margin, high + margin) } else { (-1.0, 1.0) })
}

/// Smooths twice over a fortieth of the series, within each stretch of finite values.
fn smooth(points: &[(f64, f64)]) -> Result<Vec<(f64, f64)>> {
    if points.len() < SMOOTHED_FROM {
        return Ok(points.to_vec());
    }
    let reach = (points.len() / 80).max(1);
    let mut result = memory::room(points.len(), WHAT)?;
    for stretch in points.chunk_by(|a, b| is_finite(a) == is_finite(b)) {
        if !is_finite(&stretch[0]) {
            result.push(stretch[0]);
            continue;
        }
        let mut values = memory::collected(stretch.iter().map(|point| point.1), WHAT)?;
        for _ in 0..2 {
            values = fitted(&values, reach)?;
        }
        result.extend(stretch.iter().zip(values).map(|(point, value)| (point.0, value)));
    }
    Ok(result)
}

/// The straight line of least squares through each value's neighbours, at that value: inside a series this is the
/// moving average, at its ends it follows the slope where an average would lag or wobble.
fn fitted(values: &[f64], reach: usize) -> Result<Vec<f64>> {
    let mut sums = memory::room(values.len() + 1, WHAT)?;
    sums.push((0.0, 0.0));
    for (index, value) in values.iter().enumerate() {
        let (plain, weighted) = sums[index];
        sums.push((plain + value, weighted + index as f64 * value));
    }
    let fit = |index: usize| {
        let (first, end) = (index.saturating_sub(reach), (index + reach + 1).min(values.len()));
        let count = (end - first) as f64;
        let centre = (first + end - 1) as f64 / 2.0;
        let plain = sums[end].0 - sums[first].0;
        let weighted = sums[end].1 - sums[first].1 - centre * plain;
        let spread = count * (count * count - 1.0) / 12.0;
        let slope = if spread > 0.0 { weighted / spread } else { 0.0 };
        plain / count + slope * (index as f64 - centre)
    };
    memory::collected((0..values.len()).map(fit), WHAT)
}

/// At most two points a pixel, the lowest and the highest of each group, so that outliers stay visible.
fn extremes(points: &[(f64, f64)], pixels: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * pixels {
        return points.to_vec();
    }
    let group = points.len().div_ceil(pixels);
    let mut result = Vec::with_capacity(2 * pixels);
    for group in points.chunks(group) {
        let low = group.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = group.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        result.extend(low.into_iter().chain(high));
    }
    result
}

/// At most two points a pixel, evenly chosen; the last one is kept.
fn thinned(points: &[(f64, f64)], pixels: usize) -> Vec<(f64, f64)> {
    let stride = points.len().div_ceil(2 * pixels).max(1);
    let rest = points.last().filter(|_| !(points.len() % stride == 1 || stride == 1));
    points.iter().step_by(stride).chain(rest).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: impl IntoIterator<Item = f64>) -> Series {
        let points = values.into_iter().enumerate().map(|(step, value)| (step as f64, value));
        Series { name: "loss".into(), points: points.collect() }
    }

    #[test]
    fn smoothing_keeps_lines_and_quiets_noise() {
        let straight = series((0..400).map(|step| 2.0 * f64::from(step) + 1.0));
        for (before, after) in straight.points.iter().zip(smooth(&straight.points).unwrap()) {
            assert!((before.1 - after.1).abs() < 1e-9, "{before:?} {after:?}");
        }
        let noise = series((0..400).map(|step| f64::from(step % 2)));
        let inner = &smooth(&noise.points).unwrap()[20..380];
        assert!(inner.iter().all(|point| (point.1 - 0.5).abs() < 0.1));
    }

    #[test]
    fn not_a_number_leaves_a_gap_and_harms_nothing_else() {
        let mut with_gap = series((0..400).map(|_| 1.0));
        with_gap.points[200].1 = f64::NAN;
        let smoothed = smooth(&with_gap.points).unwrap();
        assert_eq!(smoothed.iter().filter(|point| point.1.is_nan()).count(), 1);
        assert!(
            smoothed
                .iter()
                .filter(|point| point.1.is_finite())
                .all(|point| (point.1 - 1.0).abs() < 1e-12)
        );
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_outliers() {
        let mut long = series((0..100_001).map(|_| 0.0));
        long.points[77_777].1 = 9.0;
        let thin = thinned(&long.points, 800);
        assert!(
            thin.len() <= 1601 && thin.last() == long.points.last() && thin[0] == long.points[0]
        );
        let raw = extremes(&long.points, 800);
        assert!(raw.len() <= 1600 && raw.iter().any(|point| point.1 == 9.0));
        assert_eq!(thinned(&[(1.0, 2.0)], 800), [(1.0, 2.0)]);
    }

    #[test]
    fn nothing_one_point_and_strange_values_are_drawn() {
        let panels = [
            Panel::default(),
            Panel { series: vec![series([])], ..Panel::default() },
            Panel { series: vec![series([3.0])], ..Panel::default() },
            Panel {
                series: vec![series([f64::NAN, f64::INFINITY, f64::MAX, f64::MIN])],
                ..Panel::default()
            },
            Panel { range: Some((1.0, 1.0)), series: vec![series([1.0; 100])], ..Panel::default() },
            Panel {
                range: Some((f64::NAN, 1.0)),
                marks: vec![("x".into(), f64::NAN)],
                ..Panel::default()
            },
        ];
        let canvas = curves(&panels, "step").unwrap();
        assert_eq!((canvas.width(), canvas.height()), (1000, 1824));
        assert_eq!(curves(&[], "step").unwrap().width(), 1000);
    }

    #[test]
    fn a_series_has_its_colour_on_the_picture() {
        let panel = Panel { series: vec![series((0..100).map(f64::from))], ..Panel::default() };
        let canvas = curves(&[panel], "step").unwrap();
        let blue = (300..700).any(|x| (60..250).any(|y| canvas.pixel(x, y) == Some(PALETTE[0])));
        assert!(blue);
    }
}
