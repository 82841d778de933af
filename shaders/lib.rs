//! Belamy's WGSL kernels, as text: one file a family of kernels, with the family's name. See the README beside this
//! file for their laws.

use std::borrow::Cow;

macro_rules! sources {
    ($($family:ident: [$($kernel:ident($params:ident)),* $(,)?];)*) => {
        /// Each family's name and WGSL, in the order of the kernel list. A family without a file does not compile.
        pub const SOURCES: &[(&str, &str)] =
            &[$((stringify!($family), include_str!(concat!(stringify!($family), ".wgsl"))),)*];
    };
}
belamy_tensor::for_each_kernel!(sources);

/// Further ways to compute some kernels of a family, for adapters that have what they need: `<family>.<variant>`, and
/// its WGSL. Its entry points are `<kernel>_<variant>`.
pub const VARIANTS: &[(&str, &str)] = &[
    ("matmul.software", include_str!("matmul.software.wgsl")),
    ("matmul.cooperative", include_str!("matmul.cooperative.wgsl")),
    ("conv2d.software", include_str!("conv2d.software.wgsl")),
];

/// A line of a shader, and what stands in its place.
pub type Replaced = (&'static str, &'static str);

/// Tiles of 128 x 128.
const LARGE: &[Replaced] = &[("const TILE = 64u;", "const TILE = 128u;")];

/// Operands in f16.
const HALVES: &[Replaced] = &[
    ("alias Stored = f32;", "alias Stored = f16;"),
    ("const HALVES = false;", "const HALVES = true;"),
];

/// A variant that is a family's text but for a few declarations. The entry points keep their names.
#[derive(Clone, Copy, Debug)]
pub struct Specialised {
    /// `<family>.<variant>`.
    pub name: &'static str,
    /// The family.
    pub family: &'static str,
    /// The lines that are replaced.
    pub replaced: &'static [&'static [Replaced]],
    /// What is enabled before the first line, if anything.
    pub enabled: &'static str,
}

/// All of them.
pub const SPECIALISED: &[Specialised] = &[
    specialised("matmul.large", "matmul", &[LARGE], ""),
    specialised("matmul.f16", "matmul", &[HALVES], "enable f16;\n"),
    specialised("matmul.large.f16", "matmul", &[LARGE, HALVES], "enable f16;\n"),
    specialised("conv2d.large", "conv2d", &[LARGE], ""),
    specialised("conv2d.f16", "conv2d", &[HALVES], "enable f16;\n"),
    specialised("conv2d.large.f16", "conv2d", &[LARGE, HALVES], "enable f16;\n"),
];

const fn specialised(
    name: &'static str,
    family: &'static str,
    replaced: &'static [&'static [Replaced]],
    enabled: &'static str,
) -> Specialised {
    Specialised { name, family, replaced, enabled }
}

/// The WGSL of a family, or of one of its variants.
///
/// ```
/// assert!(belamy_shaders::source("matmul").is_some_and(|text| text.contains("fn matmul(")));
/// assert!(belamy_shaders::source("matmul.software").is_some());
/// assert!(belamy_shaders::source("matmul.large").is_some_and(|text| text.contains("TILE = 128u")));
/// ```
pub fn source(name: &str) -> Option<Cow<'static, str>> {
    if let Some(special) = SPECIALISED.iter().find(|special| special.name == name) {
        let whole = format!("{}{}", special.enabled, source(special.family)?);
        let replace = |text: String, (line, by): &Replaced| {
            text.replacen(&format!("\n{line}\n"), &format!("\n{by}\n"), 1)
        };
        return Some(Cow::Owned(special.replaced.iter().copied().flatten().fold(whole, replace)));
    }
    let known = SOURCES.iter().chain(VARIANTS).find(|(known, _)| *known == name);
    known.map(|(_, text)| Cow::Borrowed(*text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_lines_are_there_once() {
        for Specialised { name, family, replaced, enabled } in SPECIALISED {
            let (plain, special) = (source(family).unwrap(), source(name).unwrap());
            assert!(special.starts_with(enabled), "{name}");
            assert_eq!(special.lines().count(), plain.lines().count() + enabled.lines().count());
            for (line, by) in replaced.iter().copied().flatten() {
                assert_eq!(
                    plain.lines().filter(|found| found == line).count(),
                    1,
                    "{name}: {line}"
                );
                assert_eq!(special.lines().filter(|found| found == line).count(), 0, "{name}");
                assert_eq!(special.matches(by).count(), 1, "{name}: {by}");
            }
        }
    }
}
