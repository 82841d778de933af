//! Drawn shapes whose verdict is known beforehand.

use super::*;
use crate::data::shapes::{self, Spot};

const SIDE: usize = 64;

/// An image of shapes of a form on black.
fn drawn(spots: &[(Spot, [u8; 3])], form: Form) -> Image {
    let mut bytes = vec![0; SIDE * SIDE * 3];
    for (place, pixel) in bytes.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((place % SIDE) as i64, (place / SIDE) as i64);
        for (spot, colour) in spots {
            let (a, b) = ((x - spot.x).abs(), (y - spot.y).abs());
            let inside = match form {
                Form::Disc => a * a + b * b <= spot.reach * spot.reach,
                Form::Square => a.max(b) <= spot.reach,
            };
            if inside {
                pixel.copy_from_slice(colour);
            }
        }
    }
    Image { width: SIDE, height: SIDE, channels: 3, bytes }
}

fn made(index: u32) -> Vec<(Spot, [u8; 3])> {
    shapes::spots(SIDE, 7, index, false)
}

/// What becomes of the recipe's own circles when `change` draws the answer.
fn card(change: impl Fn(Vec<(Spot, [u8; 3])>) -> Image) -> GeometryCard {
    let before: Vec<Image> = (0..60).map(|index| drawn(&made(index), Form::Disc)).collect();
    let after: Vec<Image> = (0..60).map(|index| change(made(index))).collect();
    judge(&before, &after, Form::Square).unwrap()
}

#[test]
fn the_right_answer_is_right_in_both_directions() {
    let found = card(|spots| drawn(&spots, Form::Square));
    assert_eq!((found.turned, found.placed, found.coloured, found.all), (1.0, 1.0, 1.0, 1.0));
    assert!(found.shapes >= 60 && found.shapes + found.skipped <= 180, "{found:?}");
    assert!(found.mean_shift < 1e-9 && found.mean_colour_difference < 1e-9, "{found:?}");
    assert!(found.fill_before < 0.75 && found.fill_after == 1.0 && found.lost == 0, "{found:?}");
    let squares: Vec<Image> = (0..60).map(|index| drawn(&made(index), Form::Square)).collect();
    let discs: Vec<Image> = (0..60).map(|index| drawn(&made(index), Form::Disc)).collect();
    let back = judge(&squares, &discs, Form::Disc).unwrap();
    assert_eq!((back.turned, back.all), (1.0, 1.0), "{back:?}");
    // The recipe's own drawings are the ones that this test draws.
    let bytes = shapes::circles(SIDE, 7, 3);
    assert_eq!(drawn(&made(3), Form::Disc).bytes, bytes);
}

#[test]
fn a_generator_that_changes_nothing_turns_nothing() {
    let found = card(|spots| drawn(&spots, Form::Disc));
    assert_eq!((found.turned, found.all), (0.0, 0.0), "{found:?}");
    assert_eq!((found.placed, found.coloured), (1.0, 1.0), "{found:?}");
}

#[test]
fn each_fault_is_seen_by_its_own_number() {
    let moved = card(|mut spots| {
        spots.iter_mut().for_each(|(spot, _)| spot.x = (spot.x + 4).min(60));
        drawn(&spots, Form::Square)
    });
    assert!(moved.placed < 0.1 && moved.coloured > 0.9, "{moved:?}");
    let grown = card(|mut spots| {
        spots.iter_mut().for_each(|(spot, _)| spot.reach += 2);
        drawn(&spots, Form::Square)
    });
    assert!(grown.placed < 0.1 && grown.turned > 0.9, "{grown:?}");
    let recoloured = card(|mut spots| {
        spots.iter_mut().for_each(|(_, colour)| colour.rotate_left(1));
        drawn(&spots, Form::Square)
    });
    assert_eq!((recoloured.turned, recoloured.placed), (1.0, 1.0), "{recoloured:?}");
    assert!(recoloured.coloured < 0.1 && recoloured.all < 0.1, "{recoloured:?}");
    let nothing = card(|_| drawn(&[], Form::Square));
    assert_eq!((nothing.lost, nothing.all, nothing.turned), (nothing.shapes, 0.0, 0.0));
    // An image that is full of a colour has shapes everywhere, and turned none of them.
    let full = card(|spots| {
        let whole = Spot { x: 32, y: 32, reach: 64 };
        drawn(&[(whole, spots[0].1)], Form::Square)
    });
    assert_eq!(full.all, 0.0, "{full:?}");
    // The answer to another question: squares, but of the next image.
    let before: Vec<Image> = (0..60).map(|index| drawn(&made(index), Form::Disc)).collect();
    let after: Vec<Image> = (1..61).map(|index| drawn(&made(index), Form::Square)).collect();
    let other = judge(&before, &after, Form::Square).unwrap();
    assert!(other.all < 0.1, "{other:?}");
}

#[test]
fn half_turned_shapes_are_told_by_what_they_cover_better() {
    // A square whose corners are cut by more and more pixels becomes a disc at some point, once.
    let cut = |corner: i64| {
        let spot = Spot { x: 32, y: 32, reach: 8 };
        let mut image = drawn(&[(spot, [255, 0, 90])], Form::Square);
        for (place, pixel) in image.bytes.chunks_exact_mut(3).enumerate() {
            let (x, y) = ((place % SIDE) as i64 - 32, (place / SIDE) as i64 - 32);
            if x.abs() + y.abs() > 16 - corner {
                pixel.fill(0);
            }
        }
        let whole = Window { left: 0, top: 0, right: SIDE, bottom: SIDE };
        regions(&image, whole)[0].form()
    };
    let forms: Vec<Form> = (0..=6).map(cut).collect();
    assert_eq!((forms[0], forms[1], forms[6]), (Form::Square, Form::Square, Form::Disc));
    assert!(forms.windows(2).all(|pair| pair != [Form::Disc, Form::Square]), "{forms:?}");
}

#[test]
fn shapes_that_touch_or_overlap_are_not_judged() {
    let disc = |x: i64, reach: i64| (Spot { x, y: 30, reach }, [255, 30, 30]);
    let judged = |spots: &[(Spot, [u8; 3])]| {
        let (alone, skipped) = lone(&drawn(spots, Form::Disc), Form::Disc);
        (alone.len(), skipped)
    };
    assert_eq!(judged(&[disc(12, 6), disc(45, 7)]), (2, 0));
    assert_eq!(judged(&[disc(12, 6), disc(20, 6)]), (0, 1));
    assert_eq!(judged(&[disc(12, 6), disc(27, 6)]), (0, 2));
    // One disc before another of another colour.
    let inner = (Spot { x: 14, y: 30, reach: 4 }, [30, 30, 255]);
    assert_eq!(judged(&[disc(12, 8), inner]), (0, 1));
    let empty = Image { width: 8, height: 8, channels: 3, bytes: vec![0; 192] };
    let error = judge(std::slice::from_ref(&empty), std::slice::from_ref(&empty), Form::Square)
        .unwrap_err()
        .to_string();
    assert!(error.contains("stands alone"), "{error}");
    assert!(judge(&[], &[], Form::Square).is_err());
}
