//! From a family's text to what a GPU loads: NVRTC, a cache on disk, kernels compiled beforehand.
//!
//! A kernel is looked for, in this order:
//!
//! 1. in the folder that `BELAMY_KERNELS` names, as [`build`] writes it: for machines with a driver and no compiler;
//! 2. in the cache, `BELAMY_CACHE` or `belamy` in the user's cache folder, by the text, the options, the architecture and
//!    the compiler's version;
//! 3. by NVRTC, which needs neither a GPU nor CUDA's headers; the result goes to the cache under its name only when it
//!    is whole, so that any number of processes may do this at once.

mod nvrtc;

pub use nvrtc::{Compiled, architectures, compile, present, version};

use crate::source::{SOURCES, Source};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What the compiler is told besides the architecture.
///
/// No fast arithmetic: divisions and roots are rounded correctly, as the bounds of the tests expect.
pub const OPTIONS: &[&str] = &["--std=c++17", "--fmad=true"];

/// 32 hexadecimal digits that stand for some texts.
pub(crate) fn key(texts: &[&str]) -> String {
    // FNV-1a in 128 bits; each text ends with a byte that UTF-8 does not have.
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for text in texts {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    format!("{hash:032x}")
}

/// The name of a family's kernels for an architecture, in a folder that [`build`] writes.
fn prebuilt_name(source: &Source, architecture: &str) -> String {
    let key = key(&[&source.text(), &OPTIONS.join(" ")]);
    format!("{}.{architecture}.{key}.cubin", source.family)
}

/// What [`build`] made of one family for one architecture.
#[derive(Clone, Debug)]
pub struct Built {
    /// The family.
    pub family: &'static str,
    /// The architecture, such as `sm_90a`.
    pub architecture: String,
    /// The file.
    pub path: PathBuf,
    /// The compiler's messages; empty when it had none.
    pub log: String,
}

/// Compiles every family for every architecture (`sm_80`, `sm_90a`, ..) into a folder, for `BELAMY_KERNELS` to name on
/// machines without a compiler. Needs NVRTC and no GPU. Stops at the first error, which names family and architecture.
pub fn build(wanted: &[&str], folder: &Path) -> Result<Vec<Built>, String> {
    let families: Vec<&str> = SOURCES.iter().map(|source| source.family).collect();
    build_families(&families, wanted, folder)
}

/// As [`build`], for some families.
pub fn build_families(
    families: &[&str],
    wanted: &[&str],
    folder: &Path,
) -> Result<Vec<Built>, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut built = Vec::new();
    for architecture in wanted {
        let digits = architecture.strip_prefix("sm_").unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!(
                "`{architecture}` is no architecture: they are named as sm_80 or sm_90a"
            ));
        }
        for family in families {
            let source =
                Source::of(family).ok_or_else(|| format!("there is no family `{family}`"))?;
            let compiled = compile(source, architecture, &[])
                .map_err(|error| format!("{family} for {architecture}: {error}"))?;
            let path = folder.join(prebuilt_name(source, architecture));
            write_whole(&path, &compiled.image)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            built.push(Built {
                family: source.family,
                architecture: architecture.to_string(),
                path,
                log: compiled.log,
            });
        }
    }
    Ok(built)
}

/// Writes a file under a name of its own, then gives it its right one: nobody sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // A process's number says nothing on another machine that shares the folder: the time does, nearly.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    let unique = path.with_extension(format!("{}-{count}-{now}", std::process::id()));
    std::fs::write(&unique, bytes)?;
    std::fs::rename(&unique, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&unique);
    })
}

/// The folder of compiled kernels, if the user has one.
fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = named("BELAMY_CACHE") {
        return Some(PathBuf::from(folder).join("kernels"));
    }
    let base = named("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| named("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("belamy").join("kernels"))
}

/// What a device of compute capability `major.minor` can be given, best first: its own architecture, with what only it
/// has; then those of its generation that are older.
pub(crate) fn candidates(major: u32, minor: u32) -> Vec<String> {
    let mut names = Vec::new();
    if major >= 9 {
        names.push(format!("sm_{major}{minor}a"));
    }
    names.extend((0..=minor).rev().map(|minor| format!("sm_{major}{minor}")));
    names
}

/// A family's kernels for a device of compute capability `major.minor`.
pub(crate) fn image(source: &Source, major: u32, minor: u32) -> Result<Vec<u8>, String> {
    let candidates = candidates(major, minor);
    let mut looked = None;
    if let Some(folder) = std::env::var_os("BELAMY_KERNELS").map(PathBuf::from) {
        for architecture in &candidates {
            let path = folder.join(prebuilt_name(source, architecture));
            if path.is_file() {
                return std::fs::read(&path)
                    .map_err(|error| format!("{}: {error}", path.display()));
            }
        }
        looked = Some(folder);
    }
    if !present() {
        let (wanted, family) = (&candidates[0], source.family);
        return Err(match looked {
            Some(folder) => format!(
                "{} has no kernels `{family}` of this version for {}: build them with `belamy kernels build`",
                folder.display(),
                candidates.join(" or ")
            ),
            None => format!(
                "the kernels `{family}` must be compiled, and NVRTC (libnvrtc) is not on the library path: install \
                 the package nvidia-cuda-nvrtc, or build them elsewhere with `belamy kernels build --arch {wanted}` \
                 and name the folder in BELAMY_KERNELS"
            ),
        });
    }
    let known = architectures()?;
    let own = candidates.iter().find(|name| {
        let digits = name.trim_start_matches("sm_").trim_end_matches('a');
        digits.parse().is_ok_and(|number: u32| known.contains(&number))
    });
    let target = match own {
        Some(name) => name.clone(),
        None => {
            // A generation that this compiler does not know: its newest intermediate code, which the driver finishes.
            let newest = known.iter().filter(|&&number| number <= 10 * major + minor).max();
            let (first, last) = (known.iter().min(), known.iter().max());
            let newest = newest.ok_or_else(|| {
                format!(
                    "this NVRTC compiles for sm_{} to sm_{}, and the device is sm_{major}{minor}",
                    first.unwrap_or(&0),
                    last.unwrap_or(&0)
                )
            })?;
            format!("compute_{newest}")
        }
    };
    cached(source, &target, cache_folder().as_deref())
}

/// A family's kernels from the cache, or compiled and put there. A cache that cannot be read or written is no error.
fn cached(source: &Source, target: &str, folder: Option<&Path>) -> Result<Vec<u8>, String> {
    let (major, minor) = version()?;
    let key = key(&[&source.text(), &OPTIONS.join(" "), target, &format!("{major}.{minor}")]);
    let path = folder.map(|folder| folder.join(format!("{}.{target}.{key}.cubin", source.family)));
    if let Some(bytes) = path.as_ref().and_then(|path| std::fs::read(path).ok())
        && !bytes.is_empty()
    {
        return Ok(bytes);
    }
    let compiled = compile(source, target, &[])?;
    if let (Some(folder), Some(path)) = (folder, path) {
        let _ = std::fs::create_dir_all(folder).and_then(|()| write_whole(&path, &compiled.image));
    }
    Ok(compiled.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_each_text_and_on_where_it_ends() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["b"]));
        assert_eq!(key(&["a"]).len(), 32);
        // The published FNV-1a of the empty text, with this house's closing byte.
        assert_ne!(key(&[]), key(&[""]));
    }

    #[test]
    fn a_device_takes_its_own_architecture_first() {
        assert_eq!(candidates(9, 0), ["sm_90a", "sm_90"]);
        assert_eq!(candidates(8, 6).first().map(String::as_str), Some("sm_86"));
        assert_eq!(candidates(8, 6).last().map(String::as_str), Some("sm_80"));
    }
}
