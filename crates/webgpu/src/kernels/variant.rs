//! In which of several ways products are computed: one place for the rule.
//!
//! | adapter | product | way |
//! |---|---|---|
//! | software with subgroups of eight | any | [`Products::Software`] |
//! | a GPU of any kind | of more than 64 rows and columns, and of 128 large tiles or more | [`Products::Large`] |
//! | any other | any other | [`Products::Portable`] |
//!
//! In [`Precision::F16`], adapters that have the blocks of [`Blocks::ALL`] take [`Products::Cooperative`] for matrices
//! of whole blocks; for convolutions, other matrices and on other adapters, the rule is that of f32 without `Software`,
//! which knows f32 alone.
//!
//! `Software` was chosen by measurement, on the software adapter itself. `Large` was not measured, for want of a GPU;
//! it follows from counting. A number read from memory serves 128 multiplications in a large tile and 64 in a small
//! one. Per depth, an invocation reads 4 vectors from workgroup memory for 64 multiplications, instead of 2 for 16. In
//! return it keeps 128 sums in registers (64 of the block of depths at hand, 64 totals) instead of 32, so that a
//! processor of 64 Ki registers, as GPUs have, holds one large group or three small ones at a time. So large tiles gain
//! only where there is one for every processor: large GPUs have about 128.

/// How matrix products and convolutions are computed. All give the same numbers but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Tiles of 64 x 64 through workgroup memory, within WebGPU's default limits: for every adapter.
    Portable,
    /// Tiles of 128 x 128, within the same limits: for GPUs, and products that fill them. Faster than `Portable` by
    /// count of what is read, but not yet measured on a GPU.
    Large,
    /// Blocks that a subgroup multiplies at once, for matrices of whole blocks in f16; for other products, as `Large`
    /// and `Portable` share them: for adapters with cooperative matrices. It has run on a software adapter alone.
    Cooperative,
    /// Tiles of 32 x 32 to a subgroup of eight, read through textures and shared by broadcast, without workgroup memory:
    /// for software adapters with vectors of eight.
    Software,
}

/// What the operands of products are rounded to before they are multiplied. Sums are in f32 either way, and so is
/// whatever is kept: weights, activations, gradients and what an optimiser remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing: they stay as they are.
    #[default]
    F32,
    /// The nearest 11 bits or those beside them, as an adapter rounds. An operand beyond 65,504 becomes infinite, so
    /// that training meets a value that is not finite and stops; one below 6e-5 loses bits or becomes 0, and one below
    /// 3e-8 becomes 0: losses are not scaled against that. Never chosen but when asked for. On a software adapter it is
    /// for checking: its own way to multiply in f32 is many times faster.
    F16,
}

impl Precision {
    /// What a device must be opened with.
    pub(crate) fn features(self) -> wgpu::Features {
        match self {
            Precision::F32 => wgpu::Features::empty(),
            Precision::F16 => wgpu::Features::SHADER_F16,
        }
    }

    /// Why an adapter of this name with these features cannot multiply so, if it cannot.
    pub(crate) fn lacking(self, name: &str, features: wgpu::Features) -> Option<String> {
        let lacks = !features.contains(self.features());
        lacks.then(|| format!("{name} has no f16 in shaders, which precision f16 needs: use f32"))
    }
}

/// Rows and columns of a tile.
pub(crate) const TILE: u32 = 64;
/// The same of a large one.
pub(crate) const LARGE_TILE: u32 = 128;
/// Small tiles that keep a large GPU busy.
pub(crate) const BUSY_GROUPS: u32 = 256;
/// Large tiles that do.
pub(crate) const LEAST_LARGE_TILES: u32 = 128;

/// A size of cooperative matrices in f16 with sums in f32, and the shader that is written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Rows, columns and depths of a block.
    pub(crate) side: u32,
    /// How many invocations hold one together.
    subgroup: u32,
    pub(crate) shader: &'static str,
}

impl Blocks {
    /// Every size, the best first.
    const ALL: [Blocks; 1] = [Blocks { side: 8, subgroup: 8, shader: "matmul.cooperative" }];

    /// The blocks that an adapter multiplies, if it does.
    fn of(adapter: &wgpu::Adapter) -> Option<Blocks> {
        let info = adapter.get_info();
        let (subgroups, known) = (
            (info.subgroup_min_size, info.subgroup_max_size),
            adapter.cooperative_matrix_properties(),
        );
        Blocks::ALL.into_iter().find(|blocks| blocks.are_among(subgroups, &known))
    }

    fn are_among(self, subgroups: (u32, u32), known: &[wgpu::CooperativeMatrixProperties]) -> bool {
        let fits = |known: &wgpu::CooperativeMatrixProperties| {
            [known.m_size, known.n_size, known.k_size] == [self.side; 3]
                && known.ab_type == wgpu::CooperativeScalarType::F16
                && known.cr_type == wgpu::CooperativeScalarType::F32
        };
        subgroups == (self.subgroup, self.subgroup) && known.iter().any(fits)
    }

    /// Whether a matrix of so many rows and columns consists of them.
    pub(crate) fn make_up(self, rows: u32, columns: u32) -> bool {
        rows.is_multiple_of(self.side) && columns.is_multiple_of(self.side)
    }
}

impl Products {
    /// Every way, the most particular first.
    pub const ALL: [Products; 4] =
        [Products::Software, Products::Cooperative, Products::Large, Products::Portable];

    /// What a device must be opened with.
    pub(crate) fn features(self) -> wgpu::Features {
        match self {
            Products::Portable | Products::Large => wgpu::Features::empty(),
            Products::Software => wgpu::Features::SUBGROUP,
            Products::Cooperative => {
                wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
            }
        }
    }

    /// The blocks of cooperative matrices that are multiplied so on an adapter, if any.
    pub(crate) fn blocks(self, adapter: &wgpu::Adapter) -> Option<Blocks> {
        if self == Products::Cooperative { Blocks::of(adapter) } else { None }
    }

    /// wgpu's leave to use what it calls experimental, where that is needed.
    pub(crate) fn experiments(self) -> wgpu::ExperimentalFeatures {
        match self {
            // SAFETY: wgpu asks to be told that there may be errors in its own code for these features. All that is
            // used of them is loading, multiplying and storing whole blocks, whose places the shader keeps within the
            // operands and the output as it does without them; the suite compares with the oracle between canaries.
            Products::Cooperative => unsafe { wgpu::ExperimentalFeatures::enabled() },
            _ => wgpu::ExperimentalFeatures::disabled(),
        }
    }

    /// The limits that a device must be opened with.
    pub(crate) fn limits(self) -> wgpu::Limits {
        wgpu::Limits::default()
    }

    /// Whether the shaders mean the same on this adapter.
    pub(crate) fn can_run_on(self, adapter: &wgpu::Adapter) -> bool {
        let info = adapter.get_info();
        let of_eight = (info.subgroup_min_size, info.subgroup_max_size) == (8, 8);
        adapter.features().contains(self.features())
            && self.limits().check_limits(&adapter.limits())
            && (self != Products::Software || of_eight)
            && (self != Products::Cooperative || Blocks::of(adapter).is_some())
    }

    /// Whether there are shaders that multiply so in this precision.
    pub fn computes_in(self, precision: Precision) -> bool {
        match self {
            Products::Software => precision == Precision::F32,
            Products::Cooperative => precision == Precision::F16,
            Products::Large | Products::Portable => true,
        }
    }

    /// The way to go on this adapter, by the rule above.
    pub(crate) fn best_on(adapter: &wgpu::Adapter, precision: Precision) -> Products {
        let of_kind = Products::best_for(adapter.get_info().device_type);
        let can = |way: &Products| way.can_run_on(adapter) && way.computes_in(precision);
        [Products::Cooperative, of_kind].into_iter().find(can).unwrap_or(Products::Portable)
    }

    /// The way to go on adapters of a kind that have what it needs.
    fn best_for(kind: wgpu::DeviceType) -> Products {
        match kind {
            wgpu::DeviceType::Cpu => Products::Software,
            wgpu::DeviceType::DiscreteGpu
            | wgpu::DeviceType::IntegratedGpu
            | wgpu::DeviceType::VirtualGpu => Products::Large,
            wgpu::DeviceType::Other => Products::Portable,
        }
    }
}

/// Whether so many `products` of so many rows and columns each make large tiles enough, and full enough.
pub(crate) fn large_tiles_fill_a_gpu(rows: u32, columns: u32, products: u32) -> bool {
    let tiles = rows.div_ceil(LARGE_TILE) * columns.div_ceil(LARGE_TILE) * products;
    rows > TILE && columns > TILE && tiles >= LEAST_LARGE_TILES
}

/// The shader of a family of products that has such tiles, and rounds operands so.
pub(crate) fn shader(family: &'static str, large: bool, precision: Precision) -> &'static str {
    match (family, large, precision) {
        ("matmul", true, Precision::F32) => "matmul.large",
        ("matmul", false, Precision::F16) => "matmul.f16",
        ("matmul", true, Precision::F16) => "matmul.large.f16",
        ("conv2d", true, Precision::F32) => "conv2d.large",
        ("conv2d", false, Precision::F16) => "conv2d.f16",
        ("conv2d", true, Precision::F16) => "conv2d.large.f16",
        _ => family,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_take_large_tiles_for_large_products() {
        assert_eq!(Products::best_for(wgpu::DeviceType::DiscreteGpu), Products::Large);
        assert_eq!(Products::best_for(wgpu::DeviceType::Cpu), Products::Software);
        assert_eq!(Products::best_for(wgpu::DeviceType::Other), Products::Portable);
        // DCGAN-64's second convolution at batch 128: 32,768 pixels to 128 channels; at batch 32 it is too small.
        assert!(large_tiles_fill_a_gpu(128 * 256, 128, 1));
        assert!(!large_tiles_fill_a_gpu(32 * 256, 128, 1));
        // Its gradient to 64 channels, in four phases, would leave half of each large tile empty.
        assert!(!large_tiles_fill_a_gpu(128 * 256, 64, 4));
        assert!(large_tiles_fill_a_gpu(128 * 256, 65, 1));
        // Many products of one tile each.
        assert!(large_tiles_fill_a_gpu(128, 128, 128));
    }

    #[test]
    fn blocks_are_taken_of_one_size_and_type() {
        let [eight] = Blocks::ALL;
        let known = |m_size, ab_type, cr_type| wgpu::CooperativeMatrixProperties {
            m_size,
            n_size: 8,
            k_size: 8,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        let (f16, f32) = (wgpu::CooperativeScalarType::F16, wgpu::CooperativeScalarType::F32);
        assert!(eight.are_among((8, 8), &[known(8, f16, f16), known(8, f16, f32)]));
        assert!(!eight.are_among((8, 16), &[known(8, f16, f32)]));
        assert!(!eight.are_among((32, 32), &[known(8, f16, f32)]));
        for other in [known(16, f16, f32), known(8, f16, f16), known(8, f32, f32)] {
            assert!(!eight.are_among((8, 8), &[other]), "{other:?}");
        }
        assert!(eight.make_up(64, 8) && !eight.make_up(64, 100) && !eight.make_up(4, 8));
    }

    #[test]
    fn adapters_without_f16_say_so() {
        let (none, f16) = (wgpu::Features::empty(), wgpu::Features::SHADER_F16);
        assert_eq!(Precision::F32.lacking("an adapter", none), None);
        assert_eq!(Precision::F16.lacking("an adapter", f16), None);
        let why = Precision::F16.lacking("an adapter", none).unwrap();
        assert!(why.starts_with("an adapter has no f16"), "{why}");
    }

    #[test]
    fn every_shader_of_products_is_there() {
        for family in ["matmul", "conv2d"] {
            let mut names = Vec::new();
            for large in [false, true] {
                names.extend([Precision::F32, Precision::F16].map(|p| shader(family, large, p)));
            }
            assert!(names.iter().all(|name| belamy_shaders::source(name).is_some()), "{names:?}");
            names.dedup();
            assert_eq!(names.len(), 4);
        }
    }
}
