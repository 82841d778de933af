//! Generated points over the true curve y = sin x.

use super::axes::{Axes, TEXT};
use super::canvas::{Anchor, Canvas, FAINT_INK, INK, PALETTE, Rectangle};
use crate::data::synthetic::SINE_REACH;
use crate::error::Result;

/// The same window at every step, so that pictures can be compared.
const X: (f64, f64) = (-5.0, 5.0);
const Y: (f64, f64) = (-2.0, 2.0);

/// Points [x, y] over the curve y = sin x on [-3.5, 3.5], with a title such as "step 5000".
///
/// Points outside the window of [-5, 5] by [-2, 2] (or not finite) are counted in the corner. Fails without memory for the
/// picture.
pub fn scatter(points: &[[f32; 2]], title: &str) -> Result<Canvas> {
    let mut canvas = Canvas::new(900, 460)?;
    let frame = Rectangle { left: 80.0, top: 48.0, right: 870.0, bottom: 395.0 };
    let axes = Axes { frame, x: X, y: Y };
    axes.draw(&mut canvas, "x", "y");
    let curve: Vec<_> = (0..=400)
        .map(|part| SINE_REACH * (f64::from(part) / 200.0 - 1.0))
        .map(|x| axes.place(x, x.sin()))
        .collect();
    let [blue, red, ..] = PALETTE;
    canvas.clip(Some(frame));
    canvas.line(&curve, 3.0, red, 0.55);
    let mut outside = 0;
    // Many points are drawn fainter, so that density shows.
    let opacity = (120.0 / points.len().max(1) as f32).sqrt().clamp(0.25, 0.75);
    for &[x, y] in points {
        let (x, y) = (f64::from(x), f64::from(y));
        if (X.0..=X.1).contains(&x) && (Y.0..=Y.1).contains(&y) {
            canvas.disc(axes.place(x, y), 3.2, blue, opacity);
        } else {
            outside += 1;
        }
    }
    canvas.clip(None);

    let line = frame.top - 17.0;
    canvas.text((frame.left, line), TEXT + 2.0, Anchor::Start, INK, title);
    let mut end = frame.right;
    for (name, colour, is_line) in [("y = sin x", red, true), ("generated", blue, false)] {
        canvas.text((end, line), TEXT, Anchor::End, INK, name);
        end -= Canvas::text_width(TEXT, name) + 10.0;
        let middle = line - TEXT / 2.0;
        if is_line {
            canvas.line(&[(end - 22.0, middle), (end, middle)], 3.0, colour, 0.55);
            end -= 22.0 + 24.0;
        } else {
            canvas.disc((end - 4.0, middle), 4.0, colour, 0.75);
            end -= 8.0 + 24.0;
        }
    }
    if outside > 0 {
        let text = format!("{outside} of {} points lie outside", points.len());
        let corner = (frame.right - 8.0, frame.bottom - 9.0);
        canvas.text(corner, TEXT, Anchor::End, FAINT_INK, &text);
    }
    Ok(canvas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_appears_where_it_belongs_and_strange_ones_are_counted() {
        let empty = scatter(&[], "step 0").unwrap();
        let one = scatter(&[[0.0, 1.0]], "step 0").unwrap();
        let axes = Axes {
            frame: Rectangle { left: 80.0, top: 48.0, right: 870.0, bottom: 395.0 },
            x: X,
            y: Y,
        };
        let (x, y) = axes.place(0.0, 1.0);
        assert_ne!(empty.pixel(x as u32, y as u32), one.pixel(x as u32, y as u32));
        let (x, y) = axes.place(2.5, 1.8);
        assert_eq!(empty.pixel(x as u32, y as u32), one.pixel(x as u32, y as u32));
        let strange = scatter(&[[f32::NAN, 0.0], [1e30, f32::INFINITY]], "").unwrap();
        assert_ne!(strange.png().unwrap(), scatter(&[], "").unwrap().png().unwrap());
    }
}
