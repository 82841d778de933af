//! `matmul`: a group of invocations owns a tile of y; where tiles are few, several groups share the depth of one.

use super::variant::Products;
use super::{GROUP, Pass, Run};
use crate::memory::Storage;
use crate::textures::Textures;
use belamy_tensor::Result;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::matmul::MatmulParams;

/// Rows and columns of a tile, in all products by tiles.
pub(super) const TILE: u32 = 64;
/// Groups that keep a large device busy; fewer, and the depth is split.
const BUSY_GROUPS: u32 = 256;
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
    let tiles = params.m.div_ceil(TILE) * params.n.div_ceil(TILE) * params.batch;
    product(run, ["matmul", "matmul_add_splits"], inputs, tiles, params.k)
}

/// Records a product by tiles: the entry point, with as many groups a tile as are worth it, and if there are several,
/// the one that adds their sums.
pub(super) fn product(
    run: &mut Run<'_>,
    [entry, add_splits]: [&'static str; 2],
    inputs: &[&Storage],
    tiles: u32,
    depth: u32,
) -> Result<()> {
    let (outputs, elements) = (run.outputs, run.output_elements[0]);
    let splits = splits(tiles, depth);
    let (words, groups) = ([splits, 0, 0], tiles * splits);
    if splits == 1 {
        return run.pass(&Pass { entry, inputs, outputs, elements, words, groups });
    }
    let parts = run.scratch(elements * splits)?;
    run.pass(&Pass { entry, inputs, outputs: &[&parts], elements, words, groups })?;
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

/// How many groups share the depth of a tile. It depends on shapes alone, so that sums repeat on every device.
fn splits(tiles: u32, depth: u32) -> u32 {
    // A part is at most as large as its tiles, so that the scratch stays below 2^20 numbers.
    (BUSY_GROUPS / tiles.max(1)).min(depth / LEAST_DEPTH).max(1)
}

#[cfg(test)]
mod tests {
    use super::splits;

    #[test]
    fn few_tiles_share_their_depth() {
        // A weight gradient of 64 x 48 over 16,384 pixels; one of 128 x 1,024 over 4,096.
        assert_eq!(splits(1, 16_384), 64);
        assert_eq!(splits(32, 4096), 8);
        // Many tiles, or a short depth, are not shared; nor are those that are not there.
        assert_eq!(splits(1000, 1 << 20), 1);
        assert_eq!(splits(1, 511), 1);
        assert_eq!(splits(0, 0), 1);
    }
}
