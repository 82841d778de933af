//! Folders and zip archives of PNG, JPEG and PPM images, brought to one size.

use super::archive::{Archive, Member};
use super::image::{Image, LARGEST_SIDE};
use super::{Dataset, ValueRange, idx::open_regular};
use crate::error::{Error, Result, bytes_in_words};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LARGEST_FILE: u64 = 64 << 20;

/// Where an image is: a file, or a member of an archive.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A member of a zip archive.
    Member(Arc<Archive>, Member),
}

impl Place {
    /// The image. Fails, naming the place, if it cannot be decoded, is above 8192 pixels a side or needs more than
    /// 64 MiB.
    pub fn decode(&self) -> Result<Image> {
        match self {
            Place::File(path) => decode_file(path),
            Place::Member(archive, member) => {
                Image::decode(archive.name(member), &archive.read(member)?)
            }
        }
    }

    /// The name of the folder that it lies in, and its own without the ending; not quite what they are where they are
    /// no Unicode.
    pub fn folder_and_name(&self) -> [String; 2] {
        let path = match self {
            Place::File(path) => path.as_path(),
            Place::Member(_, member) => Path::new(&member.name),
        };
        let text = |name: Option<&std::ffi::OsStr>| {
            name.map_or(String::new(), |name| name.to_string_lossy().into_owned())
        };
        [text(path.parent().and_then(Path::file_name)), text(path.file_stem())]
    }
}

/// The images of a folder or a zip archive as `[n, side, side, channels]`, with 1 channel (grey) or 3 (RGB).
///
/// Reads `*.png`, `*.jpg`, `*.jpeg`, `*.ppm` and `*.pgm`, sorted by name. If the images lie in sub-folders (one
/// level), each sub-folder is a class, numbered in the order of the names. Each image is cropped to the square around
/// its centre and resized with a triangle filter that averages when it shrinks. Transparency is dropped.
///
/// Fails, naming the file, on an image that cannot be decoded, is above 8192 pixels a side or needs more than 64 MiB;
/// and if the folder holds no image, or holds images both beside and inside sub-folders.
pub fn load(
    path: impl AsRef<Path>,
    side: usize,
    channels: usize,
    range: ValueRange,
) -> Result<Dataset> {
    let path = path.as_ref();
    check_size(side, channels)?;
    let (places, labels) = find(path)?;
    of_places(path, &places, labels, side, channels, range)
}

/// As [`load`], of the first `most` images only and without their classes; one image file will do.
pub fn load_some(
    path: impl AsRef<Path>,
    most: usize,
    side: usize,
    channels: usize,
    range: ValueRange,
) -> Result<Dataset> {
    let path = path.as_ref();
    check_size(side, channels)?;
    let mut places = if path.is_file() && is_image(path) {
        vec![Place::File(path.to_path_buf())]
    } else {
        find(path)?.0
    };
    places.truncate(most.max(1));
    of_places(path, &places, None, side, channels, range)
}

fn of_places(
    path: &Path,
    places: &[Place],
    labels: Option<Vec<u32>>,
    side: usize,
    channels: usize,
    range: ValueRange,
) -> Result<Dataset> {
    check_room(path, places.len(), side * side * channels)?;
    let images = each(places, |place| Ok(place.decode()?.square(side, channels)))?.concat();
    Dataset::from_bytes(&images, &[places.len(), side, side, channels], labels, range)
}

/// Refuses sizes that no image is brought to.
pub(super) fn check_size(side: usize, channels: usize) -> Result<()> {
    if !(1..=LARGEST_SIDE).contains(&side) || !matches!(channels, 1 | 3) {
        let message = format!(
            "images of {side} x {side} x {channels} cannot be loaded: sides of 1 to {LARGEST_SIDE}, 1 or 3 channels can"
        );
        return Err(Error::data(message));
    }
    Ok(())
}

/// Refuses more numbers than 32-bit indices count.
pub(super) fn check_room(path: &Path, count: usize, elements: usize) -> Result<()> {
    if count.checked_mul(elements).is_none_or(|total| total > u32::MAX as usize) {
        let needed = bytes_in_words(4 * count as u128 * elements as u128);
        let what = format!("its {count} images need {needed} at this size");
        return Err(Error::file(path, what));
    }
    Ok(())
}

/// What `work` makes of each of the places, in their order. Decoding is most of the work: threads share it.
pub(super) fn each<T: Send>(
    places: &[Place],
    work: impl Fn(&Place) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = places.len().div_ceil(threads).max(1);
    let work = &work;
    let parts: Vec<Result<Vec<T>>> = std::thread::scope(|scope| {
        let parts: Vec<_> = places
            .chunks(share)
            .map(|places| scope.spawn(move || places.iter().map(work).collect()))
            .collect();
        let failed = |_| Err(Error::data("the image decoder failed on one of the images"));
        parts.into_iter().map(|part| part.join().unwrap_or_else(failed)).collect()
    });
    let mut results = Vec::with_capacity(places.len());
    for part in parts {
        results.extend(part?);
    }
    Ok(results)
}

/// The images of a folder or a zip archive in order, and the class of each if they lie in sub-folders.
pub fn find(path: &Path) -> Result<(Vec<Place>, Option<Vec<u32>>)> {
    let is_zip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    if is_zip && !path.is_dir() { find_in_archive(path) } else { find_in_folder(path) }
}

fn find_in_folder(folder: &Path) -> Result<(Vec<Place>, Option<Vec<u32>>)> {
    let mut direct = Vec::new();
    let mut inside = Vec::new();
    let mut labels = Vec::new();
    let mut classes = 0;
    for path in sorted_entries(folder)? {
        if path.is_dir() {
            let images: Vec<_> =
                sorted_entries(&path)?.into_iter().filter(|path| is_image(path)).collect();
            if !images.is_empty() {
                labels.extend(images.iter().map(|_| classes));
                inside.extend(images.into_iter().map(Place::File));
                classes += 1;
            }
        } else if is_image(&path) {
            direct.push(Place::File(path));
        }
    }
    chosen(folder, direct, inside, labels)
}

/// As in a folder; folders that everything lies in do not count.
fn find_in_archive(path: &Path) -> Result<(Vec<Place>, Option<Vec<u32>>)> {
    let archive = Arc::new(Archive::open(path)?);
    let is_hidden =
        |name: &str| name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    let mut members: Vec<&Member> = archive
        .members()
        .iter()
        .filter(|member| is_image(Path::new(&member.name)) && !is_hidden(&member.name))
        .collect();
    // Part by part, as paths are sorted: `a/x` before `a-b/x`.
    let parts = |a: &str, b: &str| a.split('/').cmp(b.split('/'));
    members.sort_by(|a, b| parts(&a.name, &b.name));
    fn folder(member: &Member) -> &str {
        member.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
    let mut folders: Vec<&str> = members.iter().map(|member| folder(member)).collect();
    folders.sort_by(|a, b| parts(a, b));
    folders.dedup();
    let (mut direct, mut inside, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        let place = Place::Member(Arc::clone(&archive), member.clone());
        if folders.len() == 1 {
            direct.push(place);
        } else {
            let class = folders.binary_search_by(|found| parts(found, folder(member)));
            labels.push(class.unwrap_or(0) as u32);
            inside.push(place);
        }
    }
    chosen(path, direct, inside, labels)
}

fn chosen(
    folder: &Path,
    direct: Vec<Place>,
    inside: Vec<Place>,
    labels: Vec<u32>,
) -> Result<(Vec<Place>, Option<Vec<u32>>)> {
    match (direct.is_empty(), inside.is_empty()) {
        (true, true) => Err(Error::file(
            folder,
            "it holds no image (*.png, *.jpg, *.jpeg, *.ppm or *.pgm, in it or in its sub-folders)",
        )),
        (false, false) => Err(Error::file(
            folder,
            format!(
                "it holds {} images of its own and {} in sub-folders; sub-folders are classes, so move one kind away",
                direct.len(),
                inside.len()
            ),
        )),
        (false, true) => Ok((direct, None)),
        (true, false) => Ok((inside, Some(labels))),
    }
}

/// A folder's visible entries, sorted by name, so that the order is the same on every machine.
fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error: std::io::Error| Error::file(folder, error.to_string());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg" | "ppm" | "pgm"))
}

fn decode_file(path: &Path) -> Result<Image> {
    let mut bytes = Vec::new();
    open_regular(path)?
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::file(path, error.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        let largest = bytes_in_words(LARGEST_FILE.into());
        return Err(Error::file(path, format!("it is larger than {largest}")));
    }
    Image::decode(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::tempfile_folder;
    use super::*;

    const GREY_JPEG: &[u8] = include_bytes!("../../assets/tests/grey.jpg");

    fn png(grey: u8) -> Vec<u8> {
        Image { width: 9, height: 12, channels: 3, bytes: vec![grey; 9 * 12 * 3] }.png().unwrap()
    }

    #[test]
    fn images_come_in_order_of_name_and_sub_folders_are_classes() {
        let folder = tempfile_folder("folder-classes");
        let files = [
            ("stop", "b.png", &png(30)[..]),
            ("stop", "a.JPG", GREY_JPEG),
            ("limit", "z.png", &png(10)),
            ("none", "x.txt", b"text"),
        ];
        for (class, name, bytes) in files {
            std::fs::create_dir_all(folder.join(class)).unwrap();
            std::fs::write(folder.join(class).join(name), bytes).unwrap();
        }
        std::fs::write(folder.join(".DS_Store"), "x").unwrap();
        let data = load(&folder, 4, 1, ValueRange::Unbounded).unwrap();
        assert_eq!(data.shape, [3, 4, 4, 1]);
        assert_eq!((data.labels.as_deref(), data.classes), (Some(&[0, 1, 1][..]), 2));
        for (index, grey) in [10.0, 20.0, 30.0].into_iter().enumerate() {
            let image = data.sample(index).unwrap();
            assert!(image.iter().all(|value| (value - grey).abs() <= 1.0), "{index}: {image:?}");
        }
        std::fs::write(folder.join("stray.png"), png(0)).unwrap();
        let error = load(&folder, 4, 1, ValueRange::Unit).unwrap_err().to_string();
        assert!(error.contains("sub-folders are classes"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn archives_are_read_like_folders() {
        use super::super::archive::tests::zip;
        let folder = tempfile_folder("folder-zip");
        let path = folder.join("signs.ZIP");
        let (dark, light) = (png(30), png(60));
        let flat = [("signs/b.png", &light[..]), ("signs/a.png", &dark), ("signs/.x.png", b"no")];
        std::fs::write(&path, zip(&flat)).unwrap();
        let data = load(&path, 4, 1, ValueRange::Unbounded).unwrap();
        assert_eq!((data.shape[0], data.labels.is_none(), data.images[0]), (2, true, 30.0));
        let classes = [("s/2/a.png", &light[..]), ("s/1/a.png", &dark), ("s/1/b.png", &dark)];
        std::fs::write(&path, zip(&classes)).unwrap();
        let data = load(&path, 4, 3, ValueRange::Unbounded).unwrap();
        assert_eq!(data.labels, Some(vec![0, 0, 1]));
        std::fs::write(&path, zip(&[("readme.txt", b"text")])).unwrap();
        let error = load(&path, 4, 3, ValueRange::Unit).unwrap_err().to_string();
        assert!(error.contains("holds no image"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn classes_of_an_archive_are_those_of_the_same_folder_and_leave_no_gap() {
        use super::super::archive::tests::zip;
        let folder = tempfile_folder("folder-order");
        let (path, unpacked) = (folder.join("x.zip"), folder.join("x"));
        let labels = |path: &Path| {
            let data = load(path, 4, 1, ValueRange::Unbounded).unwrap();
            let images = data.images.iter().step_by(16).copied().collect::<Vec<_>>();
            (data.labels.unwrap(), data.classes, images)
        };
        // By its letters `a-b/x` comes before `a/x`, by its folders after.
        let names = ["a-b/x.png", "a/x.png", "a.b/x.png", "b/y.png", "a/y.png"];
        let pictures: Vec<Vec<u8>> = (1..=5).map(|grey| png(20 * grey)).collect();
        let members: Vec<(&str, &[u8])> =
            names.into_iter().zip(pictures.iter().map(Vec::as_slice)).collect();
        std::fs::write(&path, zip(&members)).unwrap();
        for (name, bytes) in &members {
            let file = unpacked.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
        let found = labels(&path);
        assert_eq!(found, (vec![0, 0, 1, 2, 3], 4, vec![40.0, 100.0, 20.0, 60.0, 80.0]));
        assert_eq!(labels(&unpacked), found);
        // A folder in a folder, between images of the outer one: two classes, of which none is counted twice.
        let nested =
            [("a/1.png", &pictures[0]), ("a/2/x.png", &pictures[1]), ("a/3.png", &pictures[2])];
        std::fs::write(&path, zip(&nested.map(|(name, bytes)| (name, &bytes[..])))).unwrap();
        let (mut labels, classes, _) = labels(&path);
        labels.sort_unstable();
        assert_eq!((labels, classes), (vec![0, 0, 1], 2));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn empty_missing_and_damaged_are_told_with_the_path() {
        let folder = tempfile_folder("folder-errors");
        let message =
            |folder: &Path| load(folder, 8, 3, ValueRange::Signed).unwrap_err().to_string();
        assert!(message(&folder).contains("holds no image"), "{}", message(&folder));
        assert!(message(&folder.join("missing")).contains("missing"));
        std::fs::write(folder.join("good.png"), png(1)).unwrap();
        std::fs::write(folder.join("liar.png"), "this is text").unwrap();
        assert!(message(&folder).contains("liar.png"), "{}", message(&folder));
        assert!(load(&folder, 0, 3, ValueRange::Unit).is_err());
        assert!(load(&folder, 8, 2, ValueRange::Unit).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
