//! What the fuzz targets share.
//!
//! Bytes that are only noise fail at the first check. So most targets read their input's first byte as a choice: the
//! rest is a file as it stands, or a compact description of a file whose lengths, sums and digests are then made right.

pub mod containers;
pub mod edits;
pub mod folder;
pub mod pictures;
pub mod source;
pub mod tensors;

use std::path::PathBuf;
use std::sync::OnceLock;

/// Panics in crates that others maintain, as parts of their files' paths: known, reported, and an error of that image
/// for a user. `results.md` says which. Take one out when its crate is mended.
const KNOWN_PANICS: [&str; 1] = ["/png-0.18.1/src/decoder/transform/palette.rs"];

/// What each target does first. If `BELAMY_FUZZ_SEEDS` names a folder, writes the target's seeds there and ends.
pub fn begin(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    // Small kernels run on this thread: waking another for each of them takes longer than they do.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().expect("nobody has used rayon yet");
    // libFuzzer's ends the process.
    let ending = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !KNOWN_PANICS.iter().any(|known| file.contains(known)) {
            ending(panic);
        }
    }));
    let Some(folder) = std::env::var_os("BELAMY_FUZZ_SEEDS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("a folder for seeds");
    for (index, seed) in seeds().into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{index:02}")), seed).expect("a seed");
    }
    std::process::exit(0);
}

/// Writes the file that an input stands for where `BELAMY_FUZZ_WRITE` says, to be looked at.
pub fn written(file: &[u8]) {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(path) =
        PATH.get_or_init(|| std::env::var_os("BELAMY_FUZZ_WRITE").map(PathBuf::from))
    {
        std::fs::write(path, file).expect("a place for the file");
    }
}
