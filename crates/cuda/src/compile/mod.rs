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

pub use nvrtc::{Compiled, architectures, compile, present, usable, version};

use crate::source::{SOURCES, Source};
use belamy_tensor::cache::{self, write_whole};
use std::path::{Path, PathBuf};

pub(crate) use belamy_tensor::cache::key;

/// What the compiler is told besides the architecture.
///
/// No fast arithmetic: divisions and roots are rounded correctly, as the bounds of the tests expect.
pub const OPTIONS: &[&str] = &["--std=c++17", "--fmad=true"];

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

/// What a device of compute capability `major.minor` can be given, best first: its own architecture, with what only it
/// has; then those of its generation that are older.
pub(crate) fn candidates(major: u32, minor: u32) -> Vec<String> {
    let mut names = Vec::new();
    if major >= 9 {
        names.push(format!("sm_{major}{minor}a"));
    }
    if major == 9 {
        return names; // it is what kernels by warpgroups are made for, and nothing else does
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
    if let Err(why) = usable() {
        let (wanted, family) = (&candidates[0], source.family);
        return Err(match looked {
            Some(folder) => format!(
                "{} has no kernels `{family}` of this version for {}: build them with `belamy kernels build`",
                folder.display(),
                candidates.join(" or ")
            ),
            None => format!(
                "the kernels `{family}` must be compiled. {why}; or build them elsewhere with `belamy kernels build \
                 --arch {wanted}` and name the folder in BELAMY_KERNELS"
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
    cached(source, &target, cache::folder("kernels").as_deref())
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
    fn a_device_takes_its_own_architecture_first() {
        assert_eq!(candidates(9, 0), ["sm_90a"]);
        assert_eq!(candidates(10, 0), ["sm_100a", "sm_100"]);
        assert_eq!(candidates(8, 6).first().map(String::as_str), Some("sm_86"));
        assert_eq!(candidates(8, 6).last().map(String::as_str), Some("sm_80"));
    }
}
