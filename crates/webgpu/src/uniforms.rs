//! A kernel's parameters as its WGSL struct has them.
//!
//! Every kernel's uniform block is `Run { elements, pass_0, pass_1, pass_2, params }`: how many elements the first
//! output has (or what the pass says instead), three words for the pass, and the struct of the kernel's parameters
//! with the names it has in Rust. In a uniform block an array's elements lie 16 bytes apart, so `[u32; 2]` travels
//! as `vec2<u32>` and `[u32; 6]` as `array<vec4<u32>, 2>`, of which the last two words are not used. Entry points that
//! bind several tensors have the lengths of these behind the parameters, as `sizes`.

use belamy_tensor::kernel::{Layout, Params};

/// Bytes of a block: the alignment of a dynamic offset.
pub(crate) const BLOCK: usize = 256;
/// Words before the parameters.
const HEAD: usize = 4;

/// Where a field of the parameters begins and how many words it takes there, from its length in words.
fn place(at: usize, words: usize) -> (usize, usize) {
    match words {
        1 => (at, 1),
        2 => (at.next_multiple_of(2), 2),
        _ => (at.next_multiple_of(4), words.next_multiple_of(4)),
    }
}

/// The block of one dispatch: `head` is the elements and the pass's words; `sizes`, which only wide entry points have,
/// stand behind the parameters, from a multiple of 16 bytes.
pub(crate) fn block(
    head: [u32; 4],
    layout: &Layout,
    params: &Params,
    sizes: &[u32],
) -> [u8; BLOCK] {
    let mut block = [0u32; BLOCK / 4];
    block[..HEAD].copy_from_slice(&head);
    let (mut at, mut from) = (HEAD, 0);
    for &(_, words) in layout.integers {
        let (start, length) = place(at, words);
        block[start..start + words].copy_from_slice(&params.integers[from..from + words]);
        (at, from) = (start + length, from + words);
    }
    let scalars = &params.scalars[..layout.scalars.len()];
    for (word, scalar) in block[at..].iter_mut().zip(scalars) {
        *word = (*scalar as f32).to_bits();
    }
    let at = (at + scalars.len()).next_multiple_of(4);
    block[at..at + sizes.len()].copy_from_slice(sizes);
    bytemuck::cast(block)
}
