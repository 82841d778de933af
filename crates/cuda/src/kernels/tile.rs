//! How a product by tiles is cut into blocks: see `kernels/tile.cu`.

use super::{Result, Run, THREADS, VECTOR, arguments};
use crate::driver::Argument;

/// How operands of products are rounded before they are multiplied. Sums are in f32 whichever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Not at all, on CUDA cores.
    #[default]
    F32,
    /// To 10 bits after the point, the rest of which are not looked at, on the tensor cores of sm_80 and later.
    Tf32,
    /// To the nearest of 7 bits after the point, likewise.
    Bf16,
}

impl Precision {
    /// The precision of a name: `f32`, `tf32` or `bf16`.
    pub fn named(name: &str) -> Option<Precision> {
        match name {
            "f32" => Some(Precision::F32),
            "tf32" => Some(Precision::Tf32),
            "bf16" => Some(Precision::Bf16),
            _ => None,
        }
    }

    /// What an entry point's name has before its tile.
    fn infix(self) -> &'static str {
        match self {
            Precision::F32 => "",
            Precision::Tf32 => "tf32_",
            Precision::Bf16 => "bf16_",
        }
    }
}

/// Multiprocessors of a large GPU: fewer blocks than it takes at once, and the depth is split.
const PROCESSORS: usize = 132;
/// Multiplications that keep large tiles busy: with fewer, the time goes into filling them.
const WORTH_LARGE: usize = 1 << 29;
/// The least depth that is worth a block of its own.
const LEAST_DEPTH: usize = 256;
/// The most blocks that share a tile.
const MOST_SPLITS: usize = 256;

/// A tile that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: usize,
    pub(super) columns: usize,
    threads: u32,
    /// Blocks that a multiprocessor takes at once.
    at_once: usize,
}

const fn tile(rows: usize, columns: usize, threads: u32, at_once: usize) -> Tile {
    Tile { rows, columns, threads, at_once }
}

const SMALL: Tile = tile(32, 32, THREADS, 3);
const MIDDLE: Tile = tile(64, 64, THREADS, 3);
const LARGE: Tile = tile(128, 128, THREADS, 2);
const TALL: Tile = tile(128, 64, THREADS, 2);
/// The most columns that tiles of few columns are for: those alone need not be in fours.
pub(super) const NARROW: usize = 16;
const NARROW_TILE: Tile = tile(256, NARROW, THREADS, 2);
const TENSOR_LARGE: Tile = tile(128, 128, THREADS, 2);
const TENSOR_TALL: Tile = tile(128, 64, 128, 3);
const TENSOR_NARROW: Tile = tile(256, 32, 128, 2);
const WARPGROUPS: [Tile; 3] =
    [tile(128, 8, THREADS, 4), tile(128, 64, THREADS, 3), tile(128, 128, THREADS, 2)];

/// What is multiplied: `products` products of `m` rows, `n` columns and `depth`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) depth: usize,
    pub(super) products: usize,
    /// Whether operands are read in fours: the small tile on CUDA cores alone does not ask for it.
    pub(super) fours: bool,
    /// Whether the kernel has tiles of few columns.
    pub(super) narrow: bool,
    /// Whether both operands lie along depths, for warpgroups that multiply in tf32 where the device has them.
    pub(super) along_depth: bool,
}

/// The tile, and the number of blocks that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) tile: Tile,
    precision: Precision,
    /// Whether warpgroups multiply.
    pub(super) warpgroups: bool,
    /// Over how many blocks the depth is split.
    pub(super) splits: usize,
    /// Tiles of all products together.
    pub(super) tiles: usize,
}

impl Plan {
    /// The plan for a product.
    ///
    /// A large tile reads less but wants many rows and columns; it is taken where enough of them, with the splits of
    /// their depth, leave no processor idle.
    pub(super) fn new(run: &Run<'_>, product: Product) -> Plan {
        Plan::of(run.precision, run.warpgroups, product)
    }

    fn of(precision: Precision, has_warpgroups: bool, product: Product) -> Plan {
        let Product { m, n, depth, products, fours, narrow, along_depth } = product;
        let warpgroups = precision == Precision::Tf32 && has_warpgroups && along_depth && fours;
        let tiles = |tile: Tile| m.div_ceil(tile.rows) * n.div_ceil(tile.columns) * products;
        let most_splits = (depth / LEAST_DEPTH).clamp(1, MOST_SPLITS);
        let fills = |tile: Tile| tiles(tile) * most_splits >= PROCESSORS;
        let (tile, precision) = match precision {
            _ if warpgroups => {
                let least = if narrow { 0 } else { 1 };
                let tile = WARPGROUPS[least..].iter().find(|tile| n <= tile.columns);
                (*tile.unwrap_or(&WARPGROUPS[2]), precision)
            }
            Precision::F32 => {
                let tile = match () {
                    () if !fours && tiles(MIDDLE) >= PROCESSORS => MIDDLE,
                    () if !fours => SMALL,
                    () if narrow && n <= NARROW && (fills(NARROW_TILE) || n % 4 != 0) => {
                        NARROW_TILE
                    }
                    () if narrow && n <= TALL.columns && fills(TALL) => TALL,
                    () if m > 64
                        && n > 64
                        && fills(LARGE)
                        && m * n * depth * products >= WORTH_LARGE =>
                    {
                        LARGE
                    }
                    () if tiles(MIDDLE) >= 2 * PROCESSORS => MIDDLE,
                    () => SMALL,
                };
                (tile, precision)
            }
            _ if !fours && tiles(MIDDLE) >= PROCESSORS => (MIDDLE, Precision::F32),
            _ if !fours => (SMALL, Precision::F32),
            _ if narrow && n <= NARROW => (TENSOR_NARROW, precision),
            _ if n > 64 && fills(TENSOR_LARGE) => (TENSOR_LARGE, precision),
            _ => (TENSOR_TALL, precision),
        };
        let tiles = tiles(tile);
        let wanted = PROCESSORS * tile.at_once / tiles.max(1);
        Plan { tile, precision, warpgroups, splits: wanted.clamp(1, most_splits), tiles }
    }

    /// The bytes of shared memory that a launch asks for: on tensor cores four slices of 16 depths, for warpgroups three
    /// of 32 that begin at a multiple of 1,024 bytes.
    fn shared(&self) -> u32 {
        let lanes = self.tile.rows + self.tile.columns;
        let bytes = match self.precision {
            Precision::F32 => 0,
            _ if self.warpgroups => 3 * 32 * lanes * size_of::<f32>() + 1024,
            _ => 4 * 16 * lanes * size_of::<f32>(),
        };
        bytes as u32
    }

    /// What an entry point's name says of the plan.
    pub(super) fn name(&self) -> String {
        let infix = if self.warpgroups { "warpgroups_" } else { self.precision.infix() };
        format!("{infix}{}x{}", self.tile.rows, self.tile.columns)
    }
}

/// Queues a product: `entry`'s variant for the plan's tile, and the sum over the splits if there are several.
///
/// `arguments` come between the parameters and the number of splits.
pub(super) fn product(
    run: &Run<'_>,
    plan: Plan,
    family: (&'static str, &str),
    params: Argument,
    arguments: &[Argument],
) -> Result<()> {
    let (family, entry) = family;
    let output = run.outputs[0];
    let blocks = plan.tiles * plan.splits;
    let launch = |to: Argument| {
        let mut all = vec![params.clone()];
        all.extend_from_slice(arguments);
        all.extend_from_slice(arguments![plan.splits as u32, run.inputs[0], run.inputs[1]]);
        all.push(to);
        run.launch_shared(family, entry, blocks, plan.tile.threads, plan.shared(), &all)
    };
    if plan.splits == 1 {
        return launch(output.into());
    }
    let sums = run.workspace(plan.splits * output.elements * size_of::<f32>())?;
    launch((&sums).into())?;
    let (len, splits) = (output.elements as u32, plan.splits as u32);
    let blocks = len.div_ceil(VECTOR).div_ceil(32) as usize;
    let entry = format!("{family}_add_splits");
    run.launch_bare(family, &entry, blocks, THREADS, arguments![len, splits, &sums, output])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(precision: Precision, m: usize, n: usize, depth: usize, fours: bool) -> (Tile, usize) {
        let product =
            Product { m, n, depth, products: 1, fours, narrow: false, along_depth: false };
        let plan = Plan::of(precision, true, product);
        (plan.tile, plan.splits)
    }

    #[test]
    fn few_tiles_share_their_depth_and_many_are_large() {
        // DCGAN's second weight gradient at batch 128: 128 × 1,024 over 32,768 pixels.
        assert_eq!(plan(Precision::F32, 128, 1024, 32_768, true), (LARGE, 33));
        // Its forward pass: 32,768 pixels, 128 channels, depth 1,024.
        assert_eq!(plan(Precision::F32, 32_768, 128, 1024, true), (LARGE, 1));
        assert_eq!(plan(Precision::Bf16, 32_768, 128, 1024, true), (TENSOR_LARGE, 1));
        // A small layer's depth is too short to share.
        assert_eq!(plan(Precision::F32, 16, 10, 128, true), (SMALL, 1));
        // What is not in fours is multiplied in f32.
        assert_eq!(plan(Precision::Tf32, 32_768, 128, 1023, false), (MIDDLE, 1));
        let product = Product {
            m: 131_072,
            n: 3,
            depth: 256,
            products: 4,
            fours: true,
            narrow: true,
            along_depth: true,
        };
        assert_eq!(Plan::of(Precision::F32, true, product).name(), "256x16");
        assert_eq!(Plan::of(Precision::Tf32, false, product).name(), "tf32_256x32");
        assert_eq!(Plan::of(Precision::Tf32, true, product).name(), "warpgroups_128x8");
    }
}
