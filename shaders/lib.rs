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
    ("conv2d.software", include_str!("conv2d.software.wgsl")),
];

/// A line of a shader, and what stands in its place.
pub type Replaced = (&'static str, &'static str);

/// Tiles of 128 x 128.
const LARGE: &[Replaced] = &[("const TILE = 64u;", "const TILE = 128u;")];

/// Variants that are a family's text but for a few declarations: `<family>.<variant>`, the family, and the lines that
/// are replaced. The entry points keep their names.
pub const SPECIALISED: &[(&str, &str, &[Replaced])] =
    &[("matmul.large", "matmul", LARGE), ("conv2d.large", "conv2d", LARGE)];

/// The WGSL of a family, or of one of its variants.
///
/// ```
/// assert!(belamy_shaders::source("matmul").is_some_and(|text| text.contains("fn matmul(")));
/// assert!(belamy_shaders::source("matmul.software").is_some());
/// assert!(belamy_shaders::source("matmul.large").is_some_and(|text| text.contains("TILE = 128u")));
/// ```
pub fn source(name: &str) -> Option<Cow<'static, str>> {
    if let Some((_, family, replaced)) = SPECIALISED.iter().find(|(known, ..)| *known == name) {
        let whole = source(family)?.into_owned();
        let replace = |text: String, (line, by): &Replaced| {
            text.replacen(&format!("\n{line}\n"), &format!("\n{by}\n"), 1)
        };
        return Some(Cow::Owned(replaced.iter().fold(whole, replace)));
    }
    let known = SOURCES.iter().chain(VARIANTS).find(|(known, _)| *known == name);
    known.map(|(_, text)| Cow::Borrowed(*text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_lines_are_there_once() {
        for (name, family, replaced) in SPECIALISED {
            let (plain, special) = (source(family).unwrap(), source(name).unwrap());
            for (line, by) in *replaced {
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
