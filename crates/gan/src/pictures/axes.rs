//! Axes with ticks and numbers, shared by scatter plots and curves.

use super::canvas::{Anchor, Canvas, Colour, FAINT_INK, INK, Rectangle};

const GRID: Colour = [230, 230, 230];
/// The height of capitals of numbers and labels in pixels.
pub(crate) const TEXT: f32 = 11.0;

/// A frame in pixels, and the intervals of numbers that it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axes {
    pub(crate) frame: Rectangle,
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
}

impl Axes {
    /// Where a point of the plane lies on the canvas.
    pub(crate) fn place(&self, x: f64, y: f64) -> (f32, f32) {
        let part = |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)) as f32;
        let frame = self.frame;
        (
            frame.left + part(x, self.x) * (frame.right - frame.left),
            frame.bottom - part(y, self.y) * (frame.bottom - frame.top),
        )
    }

    /// Draws frame, grid, ticks and numbers, and the labels unless they are empty.
    pub(crate) fn draw(&self, canvas: &mut Canvas, x_label: &str, y_label: &str) {
        let frame = self.frame;
        let (across, down) = ((frame.right - frame.left) / 90.0, (frame.bottom - frame.top) / 40.0);
        let (x_ticks, y_ticks) = (ticks(self.x, across as usize), ticks(self.y, down as usize));
        for &tick in &x_ticks {
            let (x, _) = self.place(tick, self.y.0);
            canvas.line(&[(x, frame.top), (x, frame.bottom)], 1.0, GRID, 1.0);
            canvas.line(&[(x, frame.bottom), (x, frame.bottom + 5.0)], 1.0, INK, 1.0);
        }
        for &tick in &y_ticks {
            let (_, y) = self.place(self.x.0, tick);
            canvas.line(&[(frame.left, y), (frame.right, y)], 1.0, GRID, 1.0);
            canvas.line(&[(frame.left - 5.0, y), (frame.left, y)], 1.0, INK, 1.0);
        }
        let Rectangle { left, top, right, bottom } = frame;
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], 1.2, INK, 1.0);
        for (tick, text) in x_ticks.iter().zip(numbers(&x_ticks)) {
            let (x, _) = self.place(*tick, self.y.0);
            canvas.text((x, bottom + 11.0 + TEXT), TEXT, Anchor::Middle, INK, &text);
        }
        let mut widest = 0.0f32;
        for (tick, text) in y_ticks.iter().zip(numbers(&y_ticks)) {
            let (_, y) = self.place(self.x.0, *tick);
            widest = widest.max(Canvas::text_width(TEXT, &text));
            canvas.text((left - 10.0, y + TEXT / 2.0), TEXT, Anchor::End, INK, &text);
        }
        let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
        canvas.text((middle.0, bottom + 34.0 + TEXT), TEXT, Anchor::Middle, FAINT_INK, x_label);
        let column = left - 22.0 - widest;
        if y_label.len() == 1 {
            canvas.text((column, middle.1), TEXT, Anchor::End, FAINT_INK, y_label);
        } else {
            canvas.text_upwards((column, middle.1), TEXT, Anchor::Middle, FAINT_INK, y_label);
        }
    }
}

/// About `count` round numbers (1, 2 or 5 times a power of ten apart) within an interval.
pub(crate) fn ticks((low, high): (f64, f64), count: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return Vec::new();
    }
    let rough = span / count.clamp(1, 50) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let slack = step * 1e-6;
    let first = ((low - slack) / step).ceil();
    let last = ((high + slack) / step).floor();
    (0..=(last - first).clamp(0.0, 100.0) as u32)
        .map(|index| (first + f64::from(index)) * step)
        .filter(|tick| tick.is_finite() && *tick <= high + slack)
        .collect()
}

/// The ticks' numbers with as many decimals as their distance needs; thousands and millions are shortened.
fn numbers(ticks: &[f64]) -> Vec<String> {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).next();
    let step = step.unwrap_or_else(|| ticks.first().map_or(1.0, |tick| tick.abs()));
    let largest = ticks.iter().fold(0.0f64, |largest, tick| largest.max(tick.abs()));
    let (unit, ending) = match largest {
        1e6..1e10 if step >= 1e4 => (1e6, "M"),
        2e4..1e10 if step >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let format = |tick: &f64| {
        let value = tick / unit;
        if largest >= 1e10 || (largest > 0.0 && largest < 1e-4) {
            return format!("{value:.1e}");
        }
        let decimals = (-(step / unit * 1.000_001).log10().floor()).clamp(0.0, 8.0) as usize;
        let text = format!("{value:.decimals$}");
        // What rounds to zero has no sign.
        let zero = text.bytes().all(|letter| matches!(letter, b'-' | b'0' | b'.'));
        if zero { "0".into() } else { text + ending }
    };
    ticks.iter().map(format).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let text = |interval, count| numbers(&ticks(interval, count));
        assert_eq!(text((0.0, 1.0), 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(text((-3.5, 3.5), 7), ["-3", "-2", "-1", "0", "1", "2", "3"]);
        assert_eq!(text((0.0, 5000.0), 5), ["0", "1000", "2000", "3000", "4000", "5000"]);
        assert_eq!(text((0.0, 60_000.0), 3), ["0", "20k", "40k", "60k"]);
        assert_eq!(text((0.0, 2e6), 4), ["0", "0.5M", "1.0M", "1.5M", "2.0M"]);
        assert_eq!(text((0.68, 0.705), 3), ["0.68", "0.69", "0.70"]);
    }

    #[test]
    fn strange_intervals_have_few_or_no_ticks() {
        let cases =
            [(0.0, 0.0), (1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)];
        for interval in cases {
            assert!(ticks(interval, 5).is_empty(), "{interval:?}");
        }
        for interval in [(1e300, 2e300), (1e-300, 2e-300), (1e15, 1e15 + 1.0)] {
            assert!(ticks(interval, 5).len() <= 101);
            numbers(&ticks(interval, 5));
        }
    }
}
