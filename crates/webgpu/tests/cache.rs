//! Compiled shaders on disk: found by the next device, never trusted when damaged, and not in the way of others.

mod common;

use belamy_tensor::{Device, Tensor};
use belamy_webgpu::{Options, WebGpu};
use common::{open, say};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of its own that goes away with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens the adapter with a cache, computes something, and returns how many bytes it found there.
fn used(folder: &Path) -> usize {
    let gpu = Arc::new(WebGpu::open_with_cache(Options::default(), Some(folder)).unwrap());
    let device = Device::new(Arc::clone(&gpu));
    let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device).unwrap();
    let y = x.matmul(&x).unwrap().add(&x).unwrap().sum_all().unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [64.0]);
    gpu.found_in_cache()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn compiled_shaders_are_found_again_and_damaged_ones_are_not_looked_at() {
    let Some(_) = open("the pipeline cache", Options::default()) else { return };
    let name = format!("webgpu-cache-{}", std::process::id());
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let folder = folder.0.join("not/yet/there");
    assert_eq!(used(&folder), 0);
    let [file] = names(&folder).try_into().unwrap_or_else(|names: Vec<PathBuf>| {
        assert!(names.is_empty(), "{names:?}");
        [PathBuf::new()]
    });
    if file.as_os_str().is_empty() {
        say("skipped: the pipeline cache on webgpu: this adapter has none");
        return;
    }
    let bytes = std::fs::read(&file).unwrap();
    let found = used(&folder);
    say(format_args!("a pipeline cache of {} bytes, {found} of them the driver's", bytes.len()));
    assert!(found > 0 && found < bytes.len());
    // Damaged at either end or in the middle, cut short, empty, of other content, or no file at all.
    let damaged = |at: usize| {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        damaged
    };
    let (middle, last) = (bytes.len() / 2, bytes.len() - 1);
    for wrong in [damaged(0), damaged(40), damaged(middle), damaged(last), bytes[..middle].to_vec()]
    {
        std::fs::write(&file, wrong).unwrap();
        assert_eq!(used(&folder), 0);
        // And it has been replaced by a good one.
        assert_eq!(used(&folder), found);
    }
    for wrong in [Vec::new(), b"something else".to_vec(), vec![0; 5000]] {
        std::fs::write(&file, wrong).unwrap();
        assert_eq!(used(&folder), 0);
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(used(&folder), 0);
    std::fs::remove_dir(&file).unwrap();
    // A folder that cannot be made.
    assert_eq!(used(Path::new("/proc/no/such/folder")), 0);
    // Many at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| used(&folder));
        }
    });
    assert_eq!(names(&folder), [file]);
    assert_eq!(used(&folder), found);
}
