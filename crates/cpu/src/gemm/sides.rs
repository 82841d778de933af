//! How a product's sides are packed, as its micro-kernel wants them: copied, rounded or taken apart.

use super::kernel::Operands;
use super::pack::panels_to_runs;
use super::parts::{self, Order, Source};
use super::{GemmElement, Layout, Multiply, Operand, RUN, Side, scratch};
use std::ops::Range;

impl<E: GemmElement, A: Operand<E>, B: Operand<E>> Multiply<'_, E, A, B> {
    /// The layout in which A is packed.
    pub(super) fn layout(&self) -> Layout {
        match self.kernel.operands {
            Operands::Parts => Layout::Panels,
            _ if self.kernel.takes_runs => Layout::Runs,
            _ => self.a.layout(),
        }
    }

    /// Elements of `lanes` x `depth` of a side, packed; `depth` is at most a block.
    pub(super) fn packed_elements(&self, side: Side, lanes: usize, depth: usize) -> usize {
        if side == Side::A && self.layout() == Layout::Runs {
            let lanes =
                if self.kernel.takes_runs { lanes.next_multiple_of(self.kernel.mr) } else { lanes };
            lanes * RUN
        } else {
            let (depth_a, depth_b) = self.kernel.operands.packed_depth(depth);
            let depth = if side == Side::A { depth_a } else { depth_b };
            lanes.next_multiple_of(self.width(side)) * depth
        }
    }

    /// Packs `lanes` x `depth` of a side, within a block of k; not those that are `zeros`, of all micro-tiles' lanes.
    pub(super) fn pack(
        &self,
        side: Side,
        lanes: Range<usize>,
        depth: Range<usize>,
        zeros: &[bool],
        packed: &mut [E],
    ) {
        let (deep, width, operands) = (depth.len(), self.width(side), self.kernel.operands);
        let are_zeros = |tile: usize| zeros.get(tile) == Some(&true);
        match side {
            Side::A if operands == Operands::Parts => {
                self.pack_parts(self.a, Order::Lanes, lanes, depth, zeros, packed);
            }
            Side::B if operands == Operands::Parts => {
                self.pack_parts(self.b, Order::Pairs, lanes, depth, zeros, packed);
            }
            Side::A if self.a.layout() == Layout::Runs => {
                if operands == Operands::Pairs && self.pair_lanes(&lanes, &depth, zeros, packed) {
                    return;
                }
                // Some lanes at a time: they are rounded while they are in the nearest cache.
                for (tile, packed) in packed.chunks_mut(width * RUN).enumerate() {
                    let first = lanes.start + tile * width;
                    let lanes = first..lanes.end.min(first + width);
                    if are_zeros(tile) || lanes.is_empty() {
                        continue;
                    }
                    self.a.pack_runs(lanes, depth.clone(), packed);
                    E::round_packed(operands, Layout::Runs, deep, width, packed);
                }
            }
            Side::A if self.kernel.takes_runs => {
                let size = lanes.len().next_multiple_of(width) * deep;
                scratch::with(size, |panels| {
                    self.pack_panels(self.a, lanes, depth, width, panels);
                    panels_to_runs(panels, deep, deep.div_ceil(operands.in_one()), width, packed);
                });
            }
            Side::A => self.pack_panels(self.a, lanes, depth, width, packed),
            Side::B => self.pack_panels(self.b, lanes, depth, width, packed),
        }
    }

    /// [`Multiply::pack`] of lanes of A as pairs from where they lie, if they can be read there.
    fn pair_lanes(
        &self,
        lanes: &Range<usize>,
        depth: &Range<usize>,
        zeros: &[bool],
        packed: &mut [E],
    ) -> bool {
        scratch::with(lanes.len() * depth.len(), |space| {
            let Some(lanes) = self.a.lanes_in_place(lanes.clone(), depth.clone(), space) else {
                return false;
            };
            let mr = self.kernel.mr;
            for (tile, (lanes, runs)) in
                lanes.chunks(mr).zip(packed.chunks_mut(mr * RUN)).enumerate()
            {
                if zeros.get(tile) != Some(&true) {
                    let runs = runs.chunks_exact_mut(RUN);
                    lanes.iter().zip(runs).for_each(|(lane, run)| E::pair_lane(lane, run));
                }
            }
            true
        })
    }

    /// Packs `lanes` x `depth` of an operand as [`Operands::Parts`], from where they lie if they can be read there.
    fn pack_parts(
        &self,
        operand: &impl Operand<E>,
        order: Order,
        lanes: Range<usize>,
        depth: Range<usize>,
        zeros: &[bool],
        packed: &mut [E],
    ) {
        let deep = depth.len();
        let size = parts::WIDTH
            * match order {
                Order::Lanes => parts::packed_lane(deep),
                Order::Pairs => parts::packed_depth(deep),
            };
        let mut panels = packed.chunks_exact_mut(size).enumerate();
        let mut split = |source: Source<'_, E>| {
            let (tile, panel) = panels.next().expect("a panel for all lanes");
            if zeros.get(tile) != Some(&true) {
                E::split_panel(source, order, panel);
            }
        };
        let is_whole = |part: &Range<usize>| part.len().is_multiple_of(parts::WIDTH);
        let pieces = operand.parts(lanes.clone());
        let pieces = pieces.filter(|pieces| pieces[..pieces.len() - 1].iter().all(is_whole));
        if let Some(pieces) = pieces {
            for piece in pieces {
                let count = piece.len();
                scratch::with(count * deep, |space| {
                    let rows = operand.rows(piece, depth.clone(), space);
                    for first in (0..count).step_by(parts::WIDTH) {
                        split(Source::Rows(&rows, parts::WIDTH.min(count - first), first));
                    }
                });
            }
            return;
        }
        scratch::with(lanes.len().next_multiple_of(parts::WIDTH) * RUN, |space| {
            if let Some(lanes) = operand.lanes_in_place(lanes.clone(), depth.clone(), space) {
                return lanes.chunks(parts::WIDTH).for_each(|lanes| split(Source::Lanes(lanes)));
            }
            for first in lanes.clone().step_by(parts::WIDTH) {
                let lanes = first..lanes.end.min(first + parts::WIDTH);
                if operand.layout() == Layout::Runs {
                    let runs = &mut space[..lanes.len() * RUN];
                    operand.pack_runs(lanes, depth.clone(), runs);
                    let runs: Vec<&[E]> = runs.chunks_exact(RUN).map(|run| &run[..deep]).collect();
                    split(Source::Lanes(&runs));
                } else {
                    let panel = &mut space[..parts::WIDTH * deep];
                    operand.pack(lanes, depth.clone(), panel, parts::WIDTH);
                    let rows: Vec<&[E]> = panel.chunks_exact(parts::WIDTH).collect();
                    split(Source::Rows(&rows, parts::WIDTH, 0));
                }
            }
        });
    }

    /// Packs `lanes` x `depth` of an operand as [`Layout::Panels`].
    fn pack_panels(
        &self,
        operand: &impl Operand<E>,
        lanes: Range<usize>,
        depth: Range<usize>,
        width: usize,
        panels: &mut [E],
    ) {
        let operands = self.kernel.operands;
        let parts = operand.parts(lanes.clone()).filter(|parts| {
            operands == Operands::Pairs
                && parts[..parts.len() - 1].iter().all(|part| part.len().is_multiple_of(width))
        });
        let Some(parts) = parts else {
            operand.pack(lanes, depth.clone(), panels, width);
            return E::round_packed(operands, Layout::Panels, depth.len(), width, panels);
        };
        let mut rest = panels;
        for part in parts {
            let used = part.len().next_multiple_of(width) * depth.len();
            let (panels, further) = std::mem::take(&mut rest).split_at_mut(used);
            rest = further;
            scratch::with(part.len() * depth.len(), |space| {
                let count = part.len();
                let rows = operand.rows(part, depth.clone(), space);
                E::deal_pairs(&rows, count, width, panels);
            });
        }
    }
}
