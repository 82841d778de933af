//! Belamy's WGSL kernels, as text: one file a family of kernels, with the family's name. See the README beside this
//! file for their laws.

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

/// The WGSL of a family, or of one of its variants.
///
/// ```
/// assert!(belamy_shaders::source("matmul").is_some_and(|text| text.contains("fn matmul(")));
/// assert!(belamy_shaders::source("matmul.software").is_some());
/// ```
pub fn source(name: &str) -> Option<&'static str> {
    SOURCES.iter().chain(VARIANTS).find(|(known, _)| *known == name).map(|(_, text)| *text)
}
