//! Images of two kinds: an input and the target that belongs to it, or two collections that only share a subject.

use super::folder::{self, Place};
use super::image::Image;
use super::{Dataset, ValueRange, shapes};
use crate::digest::Digest;
use crate::error::{Error, Result};
use std::path::Path;

/// How many images a run shows that it does not train on.
pub const SHOWN: usize = 8;

/// Two collections of images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Two {
    /// Inputs, or images of the first kind: `[n, h, w, c]`.
    pub first: Dataset,
    /// Targets, or images of the second kind.
    pub second: Dataset,
    /// Whether image i of the one belongs to image i of the other.
    pub paired: bool,
    /// Up to [`SHOWN`] images of each kind to show results on: not trained on where there are enough.
    pub shown: [Dataset; 2],
}

/// The extents and meaning of the images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Form {
    /// Side of the square that images are brought to.
    pub side: usize,
    /// Channels of the first kind.
    pub input_channels: usize,
    /// Channels of the second kind.
    pub channels: usize,
    /// What the numbers mean.
    pub range: ValueRange,
}

impl Two {
    fn new(
        pairs: Vec<[Image; 2]>,
        shown: Vec<[Image; 2]>,
        paired: bool,
        range: ValueRange,
    ) -> Result<Two> {
        let [first, second] = halves(pairs, range)?;
        let shown = if shown.is_empty() {
            [start(&first)?, start(&second)?]
        } else {
            halves(shown, range)?
        };
        Ok(Two { first, second, paired, shown })
    }

    /// Two collections in memory, the first images of each shown. Whether they are of a recipe's extents is for
    /// [`TwoBatches`](crate::batches::TwoBatches) to say; fails when images that should belong together are not as many.
    pub fn of(first: Dataset, second: Dataset, paired: bool) -> Result<Two> {
        let counts = (first.samples(), second.samples());
        if paired && counts.0 != counts.1 {
            let message =
                format!("{} images of one kind belong to {} of the other", counts.0, counts.1);
            return Err(Error::data(message));
        }
        let shown = [start(&first)?, start(&second)?];
        Ok(Two { first, second, paired, shown })
    }

    /// How many images of the first kind there are.
    pub fn samples(&self) -> usize {
        self.first.samples()
    }

    /// Says whether two runs saw the same data.
    pub fn digest(&self) -> String {
        let mut digest = Digest::new();
        for data in [&self.first, &self.second, &self.shown[0], &self.shown[1]] {
            digest.update(data.digest.as_bytes());
        }
        digest.hex()
    }
}

fn collected(images: impl Iterator<Item = Image>, range: ValueRange) -> Result<Dataset> {
    let (mut bytes, mut count, mut shape) = (Vec::new(), 0, [0; 3]);
    for image in images {
        shape = [image.height, image.width, image.channels];
        bytes.extend(image.bytes);
        count += 1;
    }
    Dataset::from_bytes(&bytes, &[count, shape[0], shape[1], shape[2]], None, range)
}

fn halves(pairs: Vec<[Image; 2]>, range: ValueRange) -> Result<[Dataset; 2]> {
    let (first, second): (Vec<_>, Vec<_>) = pairs.into_iter().map(|[a, b]| (a, b)).unzip();
    Ok([collected(first.into_iter(), range)?, collected(second.into_iter(), range)?])
}

/// The first images of a collection.
fn start(data: &Dataset) -> Result<Dataset> {
    part(data, 0, SHOWN.min(data.samples()))
}

fn part(data: &Dataset, first: usize, count: usize) -> Result<Dataset> {
    let elements = data.sample_elements();
    let images = data.images[first * elements..(first + count) * elements].to_vec();
    let shape = [&[count], &data.shape[1..]].concat();
    Dataset::new(images, &shape, None, data.range)
}

/// The square around the centre of an image, brought to a side.
fn square(image: &Image, side: usize, channels: usize) -> Image {
    let bytes = image.square(side, channels);
    Image { width: side, height: side, channels, bytes }
}

/// Splits off what is shown and not trained on: the last [`SHOWN`], where that is at most a tenth.
fn held_out<T>(mut all: Vec<T>) -> (Vec<T>, Vec<T>) {
    let shown = if all.len() >= 10 * SHOWN { all.split_off(all.len() - SHOWN) } else { Vec::new() };
    (all, shown)
}

/// The images of a folder, each of which is a target (left half) and the input that belongs to it (right half), as
/// the facades are. A folder with the sub-folders `train` and `test` (or `val`) is read as such.
///
/// Fails, naming the file, as [`folder::load`] does, and on an image that is not wider than high.
pub fn side_by_side(path: &Path, form: Form) -> Result<Two> {
    folder::check_size(form.side, 3)?;
    let pairs = |path: &Path, most: usize| -> Result<Vec<[Image; 2]>> {
        let (mut places, _) = folder::find(path)?;
        places.truncate(most);
        folder::check_room(path, places.len(), form.side * form.side * 3)?;
        folder::each(&places, |place| {
            let image = place.decode()?;
            let half = image.width / 2;
            if image.width < 2 || image.width <= image.height {
                let what = format!(
                    "{} x {} pixels are no target and input side by side",
                    image.width, image.height
                );
                return Err(match place {
                    Place::File(path) => Error::file(path, what),
                    Place::Member(archive, member) => Error::file(archive.name(member), what),
                });
            }
            let target = image.part(0, 0, half, image.height);
            let input = image.part(half, 0, half, image.height);
            Ok([
                square(&input, form.side, form.input_channels),
                square(&target, form.side, form.channels),
            ])
        })
    };
    let train = path.join("train");
    if !train.is_dir() {
        let (all, shown) = held_out(pairs(path, usize::MAX)?);
        return Two::new(all, shown, true, form.range);
    }
    let unseen = ["test", "val"].map(|name| path.join(name)).into_iter().find(|path| path.is_dir());
    let shown = unseen.map_or(Ok(Vec::new()), |path| pairs(&path, SHOWN))?;
    Two::new(pairs(&train, usize::MAX)?, shown, true, form.range)
}

/// The images of a folder, or a zip archive of them, as grey inputs and coloured targets.
pub fn grey_to_colour(path: &Path, form: Form) -> Result<Two> {
    folder::check_size(form.side, 3)?;
    let (places, _) = folder::find(path)?;
    folder::check_room(path, places.len(), form.side * form.side * 3)?;
    let pairs = folder::each(&places, |place| {
        let image = place.decode()?;
        Ok([
            square(&image, form.side, form.input_channels),
            square(&image, form.side, form.channels),
        ])
    })?;
    let (all, shown) = held_out(pairs);
    Two::new(all, shown, true, form.range)
}

/// The images of the folders `trainA` and `trainB`; those of `testA` and `testB`, if there are any, are shown.
pub fn two_folders(path: &Path, form: Form) -> Result<Two> {
    let load = |name: &str, channels: usize| {
        folder::load(path.join(name), form.side, channels, form.range).map(without_labels)
    };
    let first = load("trainA", form.input_channels)?;
    let second = load("trainB", form.channels)?;
    let shown = if path.join("testA").is_dir() && path.join("testB").is_dir() {
        [start(&load("testA", form.input_channels)?)?, start(&load("testB", form.channels)?)?]
    } else {
        [start(&first)?, start(&second)?]
    };
    let count = shown[0].samples().min(shown[1].samples());
    let shown = [part(&shown[0], 0, count)?, part(&shown[1], 0, count)?];
    Ok(Two { first, second, paired: false, shown })
}

fn without_labels(mut data: Dataset) -> Dataset {
    data.labels = None;
    data.classes = 0;
    data
}

/// `count` pairs of violet circles and green rectangles; those shown come after them.
pub fn circles_and_rectangles(count: usize, seed: u64, form: Form) -> Result<Two> {
    let image = |bytes: Vec<u8>, channels: usize| {
        square(
            &Image { width: form.side, height: form.side, channels: 3, bytes },
            form.side,
            channels,
        )
    };
    let pair = |index: u32| {
        let [input, target] = shapes::circles_and_rectangles(form.side, seed, index);
        [image(input, form.input_channels), image(target, form.channels)]
    };
    let count = checked(count, form)?;
    let shown = (count..count + SHOWN as u32).map(pair).collect();
    Two::new((0..count).map(pair).collect(), shown, true, form.range)
}

/// `count` images of circles and as many of squares; those shown come after them.
pub fn circles_and_squares(count: usize, seed: u64, form: Form) -> Result<Two> {
    let image = |bytes: Vec<u8>, channels: usize| {
        square(
            &Image { width: form.side, height: form.side, channels: 3, bytes },
            form.side,
            channels,
        )
    };
    let pair = |index: u32| {
        let circles = shapes::circles(form.side, seed, index);
        let squares = shapes::squares(form.side, seed, index);
        [image(circles, form.input_channels), image(squares, form.channels)]
    };
    let count = checked(count, form)?;
    let shown = (count..count + SHOWN as u32).map(pair).collect();
    Two::new((0..count).map(pair).collect(), shown, false, form.range)
}

fn checked(count: usize, form: Form) -> Result<u32> {
    let most = u32::MAX as usize / (3 * form.side * form.side).max(1);
    if count == 0 || count > most {
        return Err(Error::data(format!("{count} samples cannot be made: 1 to {most} can")));
    }
    Ok(count as u32)
}

/// Crops of photographs of `form.side`², and the same at a `factor`-th of the resolution: every crop that steps of half
/// its side reach, or `most` of them, spread over all images; 0 for all. Each photograph is shrunk as a whole by
/// [`Image::bicubic`], so that a crop's border has seen what lies beyond it.
///
/// The crops of the last twentieth of the images are kept apart and shown. Images smaller than a crop are left out;
/// fails if none is larger.
pub fn super_resolution(path: &Path, factor: usize, most: usize, form: Form) -> Result<Two> {
    let side = form.side;
    folder::check_size(side, form.channels)?;
    let (places, _) = folder::find(path)?;
    let crops = folder::each(&places, |place| {
        let image = place.decode()?;
        let (width, height) = (image.width / factor * factor, image.height / factor * factor);
        if width < side || height < side {
            return Ok(Vec::new());
        }
        let image = with_channels(image.part(0, 0, width, height), form.channels);
        let small = image.bicubic(width / factor, height / factor);
        let starts = |extent: usize| (0..=extent - side).step_by(side / 2);
        let crops = starts(height).flat_map(|y| starts(width).map(move |x| (x, y)));
        Ok(crops
            .map(|(x, y)| {
                let (low, less) = ((x / factor, y / factor), side / factor);
                [small.part(low.0, low.1, less, less), image.part(x, y, side, side)]
            })
            .collect())
    })?;
    let usable: Vec<Vec<[Image; 2]>> =
        crops.into_iter().filter(|crops| !crops.is_empty()).collect();
    let kept =
        if usable.len() > 1 { usable.len() - (usable.len() / 20).max(1) } else { usable.len() };
    let mut all: Vec<[Image; 2]> = Vec::new();
    let mut shown = Vec::new();
    for (index, crops) in usable.into_iter().enumerate() {
        if index < kept { all.extend(crops) } else { shown.extend(crops) }
    }
    if all.is_empty() {
        let what = format!("none of its {} images holds {side} x {side} pixels", places.len());
        return Err(Error::file(path, what));
    }
    let shown = spread(shown, SHOWN);
    let all = if most == 0 { all } else { spread(all, most) };
    folder::check_room(path, all.len(), side * side * form.channels)?;
    Two::new(all, shown, true, form.range)
}

/// At most `most` of the items, evenly spread.
fn spread<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let count = items.len();
    if count <= most {
        return items;
    }
    let mut wanted = (0..most).map(|index| index * count / most).peekable();
    items
        .into_iter()
        .enumerate()
        .filter(|(index, _)| wanted.next_if_eq(index).is_some())
        .map(|(_, item)| item)
        .collect()
}

/// The same pixels, grey or coloured.
fn with_channels(image: Image, channels: usize) -> Image {
    if image.channels == channels {
        return image;
    }
    let grey = |pixel: &[u8]| {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        (0.299 * red + 0.587 * green + 0.114 * blue).round() as u8
    };
    let bytes = if channels == 1 {
        image.bytes.chunks_exact(3).map(grey).collect()
    } else {
        image.bytes.iter().flat_map(|&value| [value; 3]).collect()
    };
    Image { channels, bytes, ..image }
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::tempfile_folder;
    use super::*;

    const FORM: Form =
        Form { side: 32, input_channels: 3, channels: 3, range: ValueRange::Unbounded };

    /// An image whose pixel (x, y) is (x, y, value).
    fn image(width: usize, height: usize, value: u8) -> Image {
        let pixel = |at: usize| [(at % width) as u8, (at / width) as u8, value];
        Image { width, height, channels: 3, bytes: (0..width * height).flat_map(pixel).collect() }
    }

    fn write(folder: &Path, name: &str, image: &Image) {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), image.png().unwrap()).unwrap();
    }

    #[test]
    fn the_right_half_is_the_input_and_the_left_one_the_target() {
        let folder = tempfile_folder("two-side");
        write(&folder, "train/1.png", &image(64, 32, 7));
        write(&folder, "test/1.png", &image(64, 32, 9));
        let two = side_by_side(&folder, FORM).unwrap();
        assert_eq!((two.samples(), two.paired), (1, true));
        assert_eq!(two.first.images[..3], [32.0, 0.0, 7.0]);
        assert_eq!(two.second.images[..3], [0.0, 0.0, 7.0]);
        assert_eq!(two.shown[0].images[..3], [32.0, 0.0, 9.0]);
        // A folder without train/ is read itself, and shows what it trains on if it is small.
        let two = side_by_side(&folder.join("train"), FORM).unwrap();
        assert_eq!(two.shown[1].images, two.second.images);
        write(&folder, "train/2.png", &image(32, 32, 0));
        let error = side_by_side(&folder, FORM).unwrap_err().to_string();
        assert!(error.contains("2.png") && error.contains("side by side"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn two_folders_need_not_be_of_one_size() {
        let folder = tempfile_folder("two-folders");
        for (name, value) in [("trainA/1.png", 1), ("trainB/1.png", 2), ("trainB/2.png", 3)] {
            write(&folder, name, &image(40, 32, value));
        }
        let two = two_folders(&folder, FORM).unwrap();
        assert_eq!((two.first.samples(), two.second.samples(), two.paired), (1, 2, false));
        assert_eq!((two.shown[0].samples(), two.shown[1].samples()), (1, 1));
        for (name, value) in [("testA/1.png", 4), ("testB/1.png", 5)] {
            write(&folder, name, &image(40, 32, value));
        }
        let shown = two_folders(&folder, FORM).unwrap();
        assert_eq!(shown.shown[0].images[2], 4.0);
        assert_ne!(two.digest(), shown.digest());
        let error = two_folders(&folder.join("trainA"), FORM).unwrap_err().to_string();
        assert!(error.contains("trainA"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_colour_has_its_grey() {
        let folder = tempfile_folder("two-grey");
        write(
            &folder,
            "1.png",
            &Image { width: 32, height: 32, channels: 3, bytes: [114, 115, 90].repeat(1024) },
        );
        let two = grey_to_colour(&folder, Form { input_channels: 1, ..FORM }).unwrap();
        assert_eq!((&two.first.shape[..], two.first.images[0]), (&[1, 32, 32, 1][..], 112.0));
        assert_eq!(two.second.images[..3], [114.0, 115.0, 90.0]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn crops_and_their_small_twins_show_the_same_place() {
        let folder = tempfile_folder("two-super");
        for index in 0..3 {
            write(&folder, &format!("{index}.png"), &image(100, 67, index));
        }
        write(&folder, "small.png", &image(31, 90, 0));
        let two = super_resolution(&folder, 4, 0, FORM).unwrap();
        // Steps of 16 on 100 × 64: 5 × 3 crops of each of two images; the third is shown.
        assert_eq!(
            (&two.first.shape[..], &two.second.shape[..]),
            (&[30, 8, 8, 3][..], &[30, 32, 32, 3][..])
        );
        assert_eq!((two.shown[0].samples(), two.shown[0].images[2]), (SHOWN, 2.0));
        for index in 0..30 {
            let (small, large) =
                (two.first.sample(index).unwrap(), two.second.sample(index).unwrap());
            // Pixel (4, 4) of the small image covers 16 .. 19 of the large one: the mean of a slope is its middle.
            let at = (16 * 32 + 16) * 3;
            let expected = [large[at] + 1.5, large[at + 1] + 1.5];
            let found = &small[(4 * 8 + 4) * 3..][..2];
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1.0),
                "{found:?} {expected:?}"
            );
        }
        assert_eq!(super_resolution(&folder, 4, 7, FORM).unwrap().samples(), 7);
        let error = super_resolution(&folder, 4, 0, Form { side: 128, ..FORM }).unwrap_err();
        assert!(error.to_string().contains("none of its 4 images"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn made_images_do_not_depend_on_the_count_and_those_shown_are_unseen() {
        let few = circles_and_rectangles(2, 5, FORM).unwrap();
        let many = circles_and_rectangles(4, 5, FORM).unwrap();
        assert_eq!(few.first.images[..], many.first.images[..2 * 32 * 32 * 3]);
        assert_eq!(few.shown[1].images[..3072], many.second.images[2 * 3072..3 * 3072]);
        let squares = circles_and_squares(2, 5, FORM).unwrap();
        assert!(!squares.paired && squares.first.images != squares.second.images);
        assert!(circles_and_rectangles(0, 5, FORM).is_err());
    }
}
