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

/// The WGSL of a family.
///
/// ```
/// assert!(belamy_shaders::source("matmul").is_some_and(|text| text.contains("fn matmul(")));
/// ```
pub fn source(family: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(name, _)| *name == family).map(|(_, text)| *text)
}
