//! The roofline plot (Williams, Waterman and Patterson, 2009): what each work reaches, over how many operations it
//! makes with a byte, below the ceilings of its device.
//!
//! One panel a device, drawn once as strokes and texts, and written as SVG or PNG.

use crate::ceilings::Ceilings;
use crate::measure::Outcome;
use crate::session::{Cell, Report};
use belamy_gan::pictures::canvas::{Anchor, Canvas, Colour, FAINT_INK, INK, PALETTE, Rectangle};
use std::fmt::Write;

const WIDTH: f32 = 960.0;
const PANEL: f32 = 560.0;
const TEXT: f32 = 10.0;
const GRID: Colour = [230, 230, 230];
/// The families that have a colour of their own; the others share the last one.
const FAMILIES: [&str; 5] = ["conv2d", "matmul", "norm", "pointwise", "optimizer"];

/// One thing to draw.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    Line { points: [(f32, f32); 2], width: f32, colour: Colour, dashed: bool },
    Disc { centre: (f32, f32), radius: f32, colour: Colour, opacity: f32 },
    Text { at: (f32, f32), size: f32, anchor: Anchor, colour: Colour, text: String, upwards: bool },
}

/// A finished plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline {
    height: f32,
    marks: Vec<Mark>,
}

/// A work's place in the plot.
struct Point<'a> {
    flop_per_byte: f64,
    gflop_s: f64,
    /// The kernel's family, or `None` for a step.
    family: Option<&'a str>,
    name: &'a str,
}

/// A logarithmic axis: an interval of whole decades on an interval of pixels.
#[derive(Clone, Copy)]
struct Axis {
    decades: (i32, i32),
    pixels: (f32, f32),
}

impl Axis {
    fn holding(values: impl Iterator<Item = f64>, pixels: (f32, f32)) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        let decades = match low <= high {
            true => (low.log10().floor() as i32, high.log10().ceil() as i32),
            false => (0, 1),
        };
        Axis { decades: (decades.0, decades.1.max(decades.0 + 1)), pixels }
    }

    fn place(self, value: f64) -> f32 {
        let (low, high) = self.decades;
        let part = (value.log10() - f64::from(low)) / f64::from(high - low);
        self.pixels.0 + part as f32 * (self.pixels.1 - self.pixels.0)
    }

    fn ends(self) -> (f64, f64) {
        (10f64.powi(self.decades.0), 10f64.powi(self.decades.1))
    }
}

/// 0.01, 1, 100, 10k.
fn number(decade: i32) -> String {
    match decade {
        ..0 => format!("{:.*}", decade.unsigned_abs() as usize, 10f64.powi(decade)),
        0..4 => format!("{}", 10u32.pow(decade as u32)),
        4..6 => format!("{}k", 10u32.pow(decade as u32 - 3)),
        _ => format!("1e{decade}"),
    }
}

fn points<'a>(report: &'a Report, device: &str) -> (Vec<Point<'a>>, usize) {
    let measured = |cells: &'a [Cell]| {
        cells.iter().find(|cell| cell.device == device).and_then(|cell| match &cell.outcome {
            Outcome::Measured(figures) => Some(figures.gflop_s),
            _ => None,
        })
    };
    let mut points = Vec::new();
    let mut moving = 0;
    for row in &report.kernels {
        let Some(gflop_s) = measured(&row.devices) else { continue };
        if row.flop == 0 {
            moving += 1;
            continue;
        }
        let flop_per_byte = row.flop as f64 / row.bytes.max(1) as f64;
        points.push(Point { flop_per_byte, gflop_s, family: Some(row.family), name: row.op });
    }
    for row in &report.steps {
        let Some(gflop_s) = measured(&row.devices) else { continue };
        let flop_per_byte = row.flop as f64 / row.bytes.max(1) as f64;
        points.push(Point { flop_per_byte, gflop_s, family: None, name: &row.recipe });
    }
    (points, moving)
}

fn colour(family: &str) -> Colour {
    let place = FAMILIES.iter().position(|name| *name == family).unwrap_or(FAMILIES.len());
    PALETTE[place % PALETTE.len()]
}

impl Roofline {
    /// Draws a panel for each device of a report.
    pub fn new(report: &Report) -> Roofline {
        let height = PANEL * report.ceilings.len().max(1) as f32;
        let mut plot = Roofline { height, marks: Vec::new() };
        for (index, ceilings) in report.ceilings.iter().enumerate() {
            plot.panel(report, ceilings, PANEL * index as f32);
        }
        plot
    }

    fn line(&mut self, from: (f32, f32), to: (f32, f32), width: f32, colour: Colour, dashed: bool) {
        self.marks.push(Mark::Line { points: [from, to], width, colour, dashed });
    }

    fn text(&mut self, at: (f32, f32), anchor: Anchor, colour: Colour, text: impl Into<String>) {
        let text = text.into();
        self.marks.push(Mark::Text { at, size: TEXT, anchor, colour, text, upwards: false });
    }

    fn panel(&mut self, report: &Report, ceilings: &Ceilings, top: f32) {
        let frame = Rectangle {
            left: 80.0,
            top: top + 60.0,
            right: WIDTH - 30.0,
            bottom: top + PANEL - 75.0,
        };
        let (points, moving) = points(report, &ceilings.device);
        let peak = ceilings.flop_per_second() / 1e9;
        let x = Axis::holding(
            points.iter().map(|point| point.flop_per_byte).chain([0.1, 100.0]),
            (frame.left, frame.right),
        );
        let y = Axis::holding(
            points.iter().map(|point| point.gflop_s).chain([1.2 * peak, peak / 100.0]),
            (frame.bottom, frame.top),
        );
        self.axes(frame, x, y, &ceilings.device);
        self.ceilings(ceilings, x, y, frame);
        for point in &points {
            let centre = (x.place(point.flop_per_byte), y.place(point.gflop_s));
            match point.family {
                Some(family) => {
                    let colour = colour(family);
                    self.marks.push(Mark::Disc { centre, radius: 3.0, colour, opacity: 0.7 });
                }
                None => {
                    self.marks.push(Mark::Disc { centre, radius: 5.0, colour: INK, opacity: 1.0 });
                    let at = (centre.0 + 8.0, centre.1 + TEXT / 2.0);
                    self.text(at, Anchor::Start, INK, point.name);
                }
            }
        }
        let mut at = frame.left;
        let names = FAMILIES.into_iter().chain(["other kernels"]).map(|name| (name, colour(name)));
        for (name, colour) in names.chain([("a whole step", INK)]) {
            let centre = (at + 4.0, top + 42.0 - TEXT / 2.0);
            self.marks.push(Mark::Disc { centre, radius: 4.0, colour, opacity: 1.0 });
            self.text((at + 14.0, top + 42.0), Anchor::Start, INK, name);
            at += 14.0 + Canvas::text_width(TEXT, name) + 22.0;
        }
        if moving > 0 {
            let note = format!("{moving} kernels that only move numbers are not shown");
            self.text((frame.right, top + PANEL - 12.0), Anchor::End, FAINT_INK, note);
        }
    }

    fn axes(&mut self, frame: Rectangle, x: Axis, y: Axis, device: &str) {
        for decade in x.decades.0..=x.decades.1 {
            let at = x.place(10f64.powi(decade));
            self.line((at, frame.top), (at, frame.bottom), 1.0, GRID, false);
            self.text((at, frame.bottom + 20.0), Anchor::Middle, INK, number(decade));
        }
        for decade in y.decades.0..=y.decades.1 {
            let at = y.place(10f64.powi(decade));
            self.line((frame.left, at), (frame.right, at), 1.0, GRID, false);
            self.text((frame.left - 8.0, at + TEXT / 2.0), Anchor::End, INK, number(decade));
        }
        self.line((frame.left, frame.top), (frame.left, frame.bottom), 1.2, INK, false);
        self.line((frame.left, frame.bottom), (frame.right, frame.bottom), 1.2, INK, false);
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        self.text((middle.0, frame.bottom + 42.0), Anchor::Middle, FAINT_INK, "operations a byte");
        let label = Mark::Text {
            at: (24.0, middle.1),
            size: TEXT,
            anchor: Anchor::Middle,
            colour: FAINT_INK,
            text: "GFLOP/s".into(),
            upwards: true,
        };
        self.marks.push(label);
        self.text((frame.left, frame.top - 42.0), Anchor::Start, INK, device);
    }

    /// The slanted lines of the bandwidths up to the peak, and the level ones of the peaks.
    fn ceilings(&mut self, ceilings: &Ceilings, x: Axis, y: Axis, frame: Rectangle) {
        let peak = ceilings.flop_per_second() / 1e9;
        let (left, right) = x.ends();
        let (bottom, _) = y.ends();
        let mut sizes: Vec<usize> =
            ceilings.bandwidths.iter().map(|line| line.working_set).collect();
        sizes.dedup();
        let mut knees = right;
        let mut labels = vec!["the slopes:".to_owned()];
        for size in sizes {
            let rate = ceilings.bytes_per_second(size as u64, false) / 1e9;
            let (from, to) = (left.max(bottom / rate), (peak / rate).min(right));
            knees = knees.min(to);
            let place = |value: f64| (x.place(value), y.place(value * rate));
            self.line(place(from), place(to), 1.5, FAINT_INK, false);
            labels.push(format!("{rate:.0} GB/s in {}", size_in_words(size)));
        }
        // The slopes in a corner that few works reach, the steepest above.
        for (index, label) in labels.iter().rev().enumerate() {
            let at = (frame.right - 8.0, frame.bottom - 10.0 - 18.0 * index as f32);
            self.text(at, Anchor::End, FAINT_INK, label);
        }
        let most = ceilings.peaks.iter().map(|line| line.threads).max().unwrap_or(0);
        for line in ceilings.peaks.iter().filter(|line| line.threads == most) {
            let rate = line.flop_per_second / 1e9;
            if rate < bottom {
                continue;
            }
            let (from, at) = (x.place(knees.max(left)), y.place(rate));
            self.line((from, at), (frame.right, at), 1.5, FAINT_INK, rate < peak);
            let threads = match line.threads {
                0 => String::new(),
                1 => ", 1 thread".to_owned(),
                threads => format!(", {threads} threads"),
            };
            let label = format!("{rate:.0} GFLOP/s {}{threads}", line.how.replace('×', "x"));
            self.text((frame.right - 4.0, at - 4.0), Anchor::End, FAINT_INK, label);
        }
    }

    /// The plot as a canvas, to be saved as PNG. Fails without memory for it.
    pub fn canvas(&self) -> belamy_gan::Result<Canvas> {
        let mut canvas = Canvas::new(WIDTH as u32, self.height as u32)?;
        for mark in &self.marks {
            match mark {
                Mark::Line { points, width, colour, dashed: false } => {
                    canvas.line(points, *width, *colour, 1.0);
                }
                Mark::Line { points: [from, to], width, colour, dashed: true } => {
                    canvas.dashes(*from, *to, *width, *colour);
                }
                Mark::Disc { centre, radius, colour, opacity } => {
                    canvas.disc(*centre, *radius, *colour, *opacity);
                }
                Mark::Text { at, size, anchor, colour, text, upwards: false } => {
                    canvas.text(*at, *size, *anchor, *colour, text);
                }
                Mark::Text { at, size, anchor, colour, text, upwards: true } => {
                    canvas.text_upwards(*at, *size, *anchor, *colour, text);
                }
            }
        }
        Ok(canvas)
    }

    /// The plot as the text of an SVG file.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0}\" width=\"{WIDTH}\" height=\"{0}\" \
             font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            self.height
        );
        let hex = |[red, green, blue]: &Colour| format!("#{red:02x}{green:02x}{blue:02x}");
        for mark in &self.marks {
            let element = match mark {
                Mark::Line { points: [from, to], width, colour, dashed } => format!(
                    "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{}\" stroke-width=\"{width}\"{}/>",
                    from.0,
                    from.1,
                    to.0,
                    to.1,
                    hex(colour),
                    if *dashed { " stroke-dasharray=\"5 5\"" } else { "" }
                ),
                Mark::Disc { centre, radius, colour, opacity } => format!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" fill=\"{}\" fill-opacity=\"{opacity}\"/>",
                    centre.0,
                    centre.1,
                    hex(colour)
                ),
                Mark::Text { at, size, anchor, colour, text, upwards } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    let turn = match upwards {
                        true => format!(" transform=\"rotate(-90 {:.1} {:.1})\"", at.0, at.1),
                        false => String::new(),
                    };
                    // `size` is the height of capitals, which are about 0.72 of a font's size.
                    format!(
                        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{}\"{turn}>{}</text>",
                        at.0,
                        at.1,
                        size / 0.72,
                        hex(colour),
                        escaped(text)
                    )
                }
            };
            // Writing to a string does not fail.
            let _ = writeln!(svg, "{element}");
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// 48 KiB, 8 MiB.
pub fn size_in_words(bytes: usize) -> String {
    match bytes {
        ..0x400 => format!("{bytes} B"),
        0x400..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceilings::{Bandwidth, Limit, Peak};
    use crate::clock::Timing;
    use crate::measure::Figures;
    use crate::session::{KernelRow, StepRow};

    fn cell(gflop_s: f64) -> Cell {
        let figures = Figures {
            timing: Timing::of(vec![1e-3], 1),
            spread: 0.0,
            gflop_s,
            gb_s: 1.0,
            share: 0.5,
            limit: Limit::Arithmetic,
        };
        Cell { device: "cpu".into(), outcome: Outcome::Measured(figures) }
    }

    fn report() -> Report {
        let kernel = |op, family, flop, gflop_s| KernelRow {
            op,
            kernel: op,
            family,
            shape: "4".into(),
            uses: Vec::new(),
            flop,
            bytes: 100,
            compared: 1.0,
            devices: vec![cell(gflop_s)],
        };
        Report {
            seconds: 1.0,
            threads: 2,
            instruction_set: "avx2",
            cold: false,
            ceilings: vec![Ceilings {
                device: "cpu".into(),
                peaks: vec![Peak { how: "a<b".into(), threads: 1, flop_per_second: 100e9 }],
                bandwidths: vec![Bandwidth {
                    how: "sum",
                    working_set: 1 << 20,
                    bytes_per_second: 50e9,
                }],
            }],
            steps: vec![StepRow {
                recipe: "sine".into(),
                batch: 4,
                flop: 1000,
                bytes: 1000,
                devices: vec![cell(10.0)],
            }],
            kernels: vec![kernel("conv2d", "conv2d", 1000, 100.0), kernel("pad", "pad", 0, 0.0)],
            left_out: Vec::new(),
            not_traced: Vec::new(),
            in_no_step: Vec::new(),
        }
    }

    #[test]
    fn a_point_lies_where_its_numbers_say() {
        let plot = Roofline::new(&report());
        let discs: Vec<(f32, f32)> = plot
            .marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Disc { centre, radius: 3.0, .. } => Some(*centre),
                _ => None,
            })
            .collect();
        // Ten operations a byte on an axis from 0.1 to 100; 100 GFLOP/s on one from 1 to 1000.
        let left = 80.0 + (WIDTH - 110.0) * 2.0 / 3.0;
        let top = 60.0 + (PANEL - 135.0) / 3.0;
        assert_eq!(discs.len(), 1, "what has no operations has no place");
        assert!((discs[0].0 - left).abs() < 0.1 && (discs[0].1 - top).abs() < 0.1, "{discs:?}");
        let canvas = plot.canvas().unwrap();
        assert_eq!((canvas.width(), canvas.height()), (WIDTH as u32, PANEL as u32));
        let (x, y) = (discs[0].0 as u32, discs[0].1 as u32);
        assert_ne!(canvas.pixel(x, y), Some([255; 3]));
    }

    #[test]
    fn svg_is_closed_and_escaped() {
        let svg = Roofline::new(&report()).svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.contains("1 kernels that only move numbers"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
