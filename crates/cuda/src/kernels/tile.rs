//! How a product by tiles is cut into blocks: see `kernels/tile.cu`.

use super::{Result, Run, THREADS, VECTOR, arguments};
use crate::driver::Argument;

/// Blocks that keep a large GPU busy; fewer, and the depth is split.
const BUSY_BLOCKS: usize = 264;
/// The least depth that is worth a block of its own.
const LEAST_DEPTH: usize = 256;
/// The most blocks that share a tile.
const MOST_SPLITS: usize = 32;

/// The size of a tile and the number of blocks that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// 64 or 128.
    pub(super) tile: usize,
    /// Over how many blocks the depth is split.
    pub(super) splits: usize,
    /// Tiles of all products together.
    pub(super) tiles: usize,
}

impl Plan {
    /// The plan for `products` products of `m` rows, `n` columns and `depth`.
    ///
    /// The large tile reads less but wants many rows and columns; it is taken where it leaves no processor idle.
    pub(super) fn new(m: usize, n: usize, depth: usize, products: usize) -> Plan {
        let tiles = |tile: usize| m.div_ceil(tile) * n.div_ceil(tile) * products;
        let tile = if m > 64 && n > 64 && tiles(128) >= BUSY_BLOCKS / 2 { 128 } else { 64 };
        let tiles = tiles(tile);
        let wanted = (BUSY_BLOCKS / tiles.max(1)).min(depth / LEAST_DEPTH).min(MOST_SPLITS);
        Plan { tile, splits: wanted.max(1), tiles }
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
        run.launch_bare(family, entry, blocks, THREADS, &all)
    };
    if plan.splits == 1 {
        return launch(output.into());
    }
    let sums = run.workspace(plan.splits * output.elements * size_of::<f32>())?;
    launch((&sums).into())?;
    let (len, splits) = (output.elements as u32, plan.splits as u32);
    let blocks = len.div_ceil(VECTOR).div_ceil(THREADS) as usize;
    let entry = format!("{family}_add_splits");
    run.launch_bare(family, &entry, blocks, THREADS, arguments![len, splits, &sums, output])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tiles_share_their_depth_and_many_are_large() {
        // DCGAN's second weight gradient at batch 128: 128 × 1,024 over 32,768 pixels.
        let wide = Plan::new(128, 1024, 32_768, 1);
        assert_eq!((wide.tile, wide.tiles, wide.splits), (64, 32, 8));
        // Its forward pass: 32,768 pixels, 128 channels, depth 1,024.
        assert_eq!(Plan::new(32_768, 128, 1024, 1), Plan { tile: 128, splits: 1, tiles: 256 });
        // A small layer's depth is too short to share.
        assert_eq!(Plan::new(16, 10, 128, 1), Plan { tile: 64, splits: 1, tiles: 1 });
    }
}
