//! `matmul`: a group of invocations owns a tile of y; where tiles are few, several groups share the depth of one.

use super::variant::{BUSY_GROUPS, Blocks, LARGE_TILE, LEAST_LARGE_TILES, Products, TILE};
use super::{GROUP, Pass, Run, variant};
use crate::memory::Storage;
use crate::textures::Textures;
use belamy_tensor::Result;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::matmul::MatmulParams;

/// The least depth that is worth a group of its own.
const LEAST_DEPTH: u32 = 256;

pub(super) fn matmul(run: &mut Run<'_>) -> Result<()> {
    let params = MatmulParams::decode(&run.params);
    let inputs = run.inputs;
    multiply(run, params, inputs)
}

/// The product of any two buffers, into the run's output: also for kernels that come down to one.
pub(super) fn multiply(run: &mut Run<'_>, params: MatmulParams, inputs: &[&Storage]) -> Result<()> {
    run.kernel = KernelId::matmul;
    run.params = params.encode();
    if in_software(run, inputs) {
        let MatmulParams { batch, m, n, k, transpose_a, transpose_b, .. } = params;
        // What memory runs along in each operand, and in y.
        let along = [[k, m][transpose_a as usize], [n, k][transpose_b as usize], n];
        let fours = along.iter().all(|extent| extent % 4 == 0);
        let entry = if fours { "matmul_software" } else { "matmul_software_ones" };
        let groups = software_tiles(m, n) * batch;
        return software_product(run, "matmul.software", entry, inputs, groups);
    }
    let (tile, entry) = match run.gpu.blocks() {
        Some(blocks) if blocks.make_up(params.m, params.n) => {
            (Tile::of_blocks(blocks), "matmul_cooperative")
        }
        _ => (Tile::new(run, params.m, params.n, params.batch), "matmul"),
    };
    let tiles = tile.count(params.m, params.n) * params.batch;
    product(run, tile, [entry, "matmul_add_splits"], inputs, tiles, params.k)
}

/// The tile by which a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: u32,
    pub(super) columns: u32,
    /// The shader whose entry points have such tiles.
    pub(super) shader: &'static str,
}

impl Tile {
    /// The square tile for so many `products` of so many rows and columns each, of the kernel that runs.
    pub(super) fn new(run: &Run<'_>, rows: u32, columns: u32, products: u32) -> Tile {
        let large = run.gpu.takes_large_tiles(rows, columns, products);
        let tile = if large { LARGE_TILE } else { TILE };
        Tile {
            rows: tile,
            columns: tile,
            shader: variant::shader(run.kernel.family(), large, run.gpu.precision()),
        }
    }

    /// The tile of eight subgroups with four blocks each.
    fn of_blocks(blocks: Blocks) -> Tile {
        Tile { rows: 8 * blocks.side, columns: 4 * blocks.side, shader: blocks.shader }
    }

    /// How many such tiles one product has.
    pub(super) fn count(self, rows: u32, columns: u32) -> u32 {
        rows.div_ceil(self.rows) * columns.div_ceil(self.columns)
    }

    /// Groups that keep a large device busy; fewer, and the depth is split.
    fn busy_groups(self) -> u32 {
        if self.rows.min(self.columns) < LARGE_TILE { BUSY_GROUPS } else { LEAST_LARGE_TILES }
    }
}

/// Records a product by tiles: the entry point, with as many groups a tile as are worth it, and if there are several,
/// the one that adds their sums.
pub(super) fn product(
    run: &mut Run<'_>,
    tile: Tile,
    [entry, add_splits]: [&'static str; 2],
    inputs: &[&Storage],
    tiles: u32,
    depth: u32,
) -> Result<()> {
    let (outputs, elements) = (run.outputs, run.output_elements[0]);
    let (shader, splits) = (tile.shader, splits(tile.busy_groups(), tiles, depth));
    let (words, groups) = ([splits, 0, 0], tiles * splits);
    if splits == 1 {
        return run.pass_of(shader, &Pass { entry, inputs, outputs, elements, words, groups });
    }
    let parts = run.scratch(elements * splits)?;
    run.pass_of(shader, &Pass { entry, inputs, outputs: &[&parts], elements, words, groups })?;
    let (inputs, groups) = (&[&parts], elements.div_ceil(GROUP));
    run.pass(&Pass { entry: add_splits, inputs, outputs, elements, words, groups })
}

/// Rows and columns of a software adapter's tile.
const SOFTWARE_TILE: u32 = 32;

/// Whether this product is computed as [`Products::Software`] says.
pub(super) fn in_software(run: &Run<'_>, inputs: &[&Storage]) -> bool {
    run.gpu.products() == Products::Software && Textures::can_hold(inputs)
}

/// How many tiles of a software adapter a product of `rows` and `columns` has.
pub(super) fn software_tiles(rows: u32, columns: u32) -> u32 {
    rows.div_ceil(SOFTWARE_TILE) * columns.div_ceil(SOFTWARE_TILE)
}

/// Records a product by a software adapter's tiles. Its depth is not split: a processor has few cores to keep busy.
pub(super) fn software_product(
    run: &mut Run<'_>,
    shader: &'static str,
    entry: &'static str,
    inputs: &[&Storage],
    groups: u32,
) -> Result<()> {
    let (outputs, elements) = (run.outputs, run.output_elements[0]);
    run.pass_through_textures(
        shader,
        &Pass { entry, inputs, outputs, elements, words: [0; 3], groups },
    )
}

/// How many groups share the depth of a tile. It depends on the shapes and the tile alone, so that sums repeat.
fn splits(busy_groups: u32, tiles: u32, depth: u32) -> u32 {
    // A part is at most as large as its tiles, so that the scratch stays below 2^21 numbers.
    (busy_groups / tiles.max(1)).min(depth / LEAST_DEPTH).max(1)
}

#[cfg(test)]
mod tests {
    use super::splits;

    #[test]
    fn few_tiles_share_their_depth() {
        // A weight gradient of 64 x 48 over 16,384 pixels; one of 128 x 1,024 over 4,096.
        assert_eq!(splits(256, 1, 16_384), 64);
        assert_eq!(splits(256, 32, 4096), 8);
        assert_eq!(splits(128, 32, 4096), 4);
        // Many tiles, or a short depth, are not shared; nor are those that are not there.
        assert_eq!(splits(256, 1000, 1 << 20), 1);
        assert_eq!(splits(256, 1, 511), 1);
        assert_eq!(splits(256, 0, 0), 1);
    }
}
