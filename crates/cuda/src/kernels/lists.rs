//! Many tensors in one launch: see `kernels/lists.cu`.

use super::Operand;
use crate::driver::Argument;

/// Elements of one tensor that a block owns.
const CHUNK: usize = 4096;

/// The tensors of one launch as a kernel takes them, and how many blocks they need.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) argument: Argument,
    pub(super) blocks: usize,
}

/// Cuts `lists`, of one length, into as many launches as a parameter block of 4 KB makes necessary: `CAPACITY` tensors
/// each. An empty list is null for every tensor, and empty tensors are left out.
pub(super) fn cut<const CAPACITY: usize>(lists: &[&[Operand]]) -> Vec<Lists> {
    let first = lists[0];
    let filled: Vec<usize> = (0..first.len()).filter(|&t| first[t].elements > 0).collect();
    filled.chunks(CAPACITY).map(|tensors| pack::<CAPACITY>(lists, tensors)).collect()
}

fn pack<const CAPACITY: usize>(lists: &[&[Operand]], tensors: &[usize]) -> Lists {
    let mut bytes = Vec::with_capacity(CAPACITY * 8 * (lists.len() + 1) + 8);
    for list in lists {
        for slot in 0..CAPACITY {
            let tensor = tensors.get(slot).and_then(|&t| list.get(t));
            let address = tensor.map_or(0, |operand| operand.address);
            bytes.extend_from_slice(&address.to_ne_bytes());
        }
    }
    let mut blocks = 0;
    let (mut lengths, mut first_blocks) = ([0u32; CAPACITY], [0u32; CAPACITY]);
    for (slot, &t) in tensors.iter().enumerate() {
        let elements = lists[0][t].elements;
        lengths[slot] = elements as u32;
        first_blocks[slot] = blocks as u32;
        blocks += elements.div_ceil(CHUNK);
    }
    let count = [tensors.len() as u32, 0];
    let words = lengths.iter().chain(&first_blocks).chain(&count);
    bytes.extend(words.flat_map(|word| word.to_ne_bytes()));
    Lists { argument: Argument::Struct(bytes), blocks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_fits_four_kilobytes_and_leaves_out_what_is_empty() {
        let operand = |address: u64, elements: usize| Operand { address, elements };
        let list: Vec<Operand> =
            (0..70).map(|t| operand(t, if t == 3 { 0 } else { 5000 })).collect();
        let cut = cut::<60>(&[&list, &[], &list, &[], &[], &[], &[]]);
        assert_eq!(cut.len(), 2);
        assert_eq!((cut[0].blocks, cut[1].blocks), (120, 18));
        for part in &cut {
            let Argument::Struct(bytes) = &part.argument else { panic!("a struct") };
            assert_eq!(bytes.len(), 60 * (7 * 8 + 8) + 8);
            assert!(bytes.len() + 64 <= 4096);
        }
        // Tensor 4 stands where the empty one would.
        let Argument::Struct(bytes) = &cut[0].argument else { panic!("a struct") };
        assert_eq!(bytes[24], 4);
    }
}
