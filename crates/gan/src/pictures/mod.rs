//! Pictures for people: grids of samples, points over their true curve, and training curves, as PNG.

pub mod animation;
pub mod axes;
pub mod canvas;
pub mod curves;
mod font;
pub mod grid;
pub mod scatter;

pub use canvas::{Canvas, Colour};
pub use curves::{Panel, Series, curves};
pub use grid::grid;
pub use scatter::scatter;
