//! Mutants that compute what the kernel computes, each with the reason; a few of them only where tests can run, which
//! the reason says.

use super::TextMutant;

/// A line that may as well be another.
#[derive(Clone, Copy, Debug)]
pub struct Equivalent {
    /// The file.
    pub file: &'static str,
    /// The line as it is.
    pub before: &'static str,
    /// The line as it may be; empty where it may be left out.
    pub after: &'static str,
    /// Why that changes nothing.
    pub reason: &'static str,
}

const fn equivalent(
    file: &'static str,
    before: &'static str,
    after: &'static str,
    reason: &'static str,
) -> Equivalent {
    Equivalent { file, before, after, reason }
}

/// All that are known.
#[rustfmt::skip] // a line of a kernel stays one line
pub const EQUIVALENT: &[Equivalent] = &[
    equivalent(
        "common.cu",
        "for (unsigned i = 0; i < 4; i++) x[i] = i < count ? from[i] : 0.0f;",
        "for (unsigned i = 0; i < 4; i++) x[i] = i < count ? from[i] : 1.0f;",
        "what is made of numbers beyond the count is not written",
    ),
    equivalent(
        "conv2d.cu",
        "__device__ bool in_fours() const { return FOURS || in_four(w, in_group); }",
        "__device__ bool in_fours() const { return FOURS && in_four(w, in_group); }",
        "four numbers are moved at once less often: only slower",
    ),
    equivalent(
        "conv2d.cu",
        "if (threadIdx.x == 0) {",
        "if (threadIdx.x != 0) {",
        "all threads but the first write the same numbers to the same places",
    ),
    equivalent(
        "tensor_tile.cu",
        "return (lane / 32 * 32 + i * 8 + g / 2 * 2 + (g + i) % 2) * 16 + depth;",
        "return (lane / 32 * 32 + i * 8 + g / 2 * 2 + (g - i) % 2) * 16 + depth;",
        "a sum and a difference are odd together",
    ),
    equivalent(
        "warpgroup_tile.cu",
        "if (number < slices) {",
        "if (number <= slices) {",
        "a slice of zeros too many is brought, and multiplied by nobody",
    ),
    equivalent(
        "warpgroup_tile.cu",
        "__trap();  // no plan launches this elsewhere",
        ";  // no plan launches this elsewhere",
        "no plan launches this elsewhere",
    ),
    equivalent(
        "tile.cu",
        "return step % 4 == 0 && (reinterpret_cast<unsigned long long>(data) & 15) == 0;",
        "return step % 4 == 0 && (reinterpret_cast<unsigned long long>(data) | 15) == 0;",
        "four numbers are never moved at once: only slower",
    ),
    equivalent(
        "finite.cu",
        "if (threadIdx.x == 0) y[0] = count < 0xffffffffull ? unsigned(count) : 0xffffffffu;",
        "if (threadIdx.x == 0) y[0] = count <= 0xffffffffull ? unsigned(count) : 0xffffffffu;",
        "the largest integer is itself",
    ),
    equivalent(
        "loss.cu",
        "load_four(targets + first, p.len - first, t);",
        "load_four(targets + first, p.len + first, t);",
        "at most three more numbers are read, of memory that is given out in multiples of 256 bytes, and what becomes \
         of them is not written",
    ),
    equivalent(
        "optimizer.cu",
        "const unsigned t = tensors.tensor(), begin = tensors.begin(t), end = minimum(begin + CHUNK, \
         tensors.length[t]);",
        "const unsigned t = tensors.tensor(), begin = tensors.begin(t), end = minimum(begin - CHUNK, \
         tensors.length[t]);",
        "a tensor's first block walks all of it and the others nothing: only slower",
    ),
    equivalent(
        "optimizer.cu",
        "if (global_thread() > 0) return;",
        ";",
        "every thread writes the same",
    ),
    equivalent(
        "pointwise.cu",
        "if (a == -0.5f) return 1.0f / sqrtf(x);",
        ";",
        "`powf` computes the same within its rounding: only slower",
    ),
    equivalent(
        "reduce.cu",
        "end = minimum(begin + each, reduced);",
        "end = minimum(begin - each, reduced);",
        "the first part sums all of it and the others nothing: only slower",
    ),
    equivalent(
        "resize.cu",
        "unsigned numerator = 0, denominator = 1;",
        "unsigned numerator = 0, denominator = 2;",
        "where it stays, the numerator is 0",
    ),
    equivalent(
        "conv2d.software.wgsl",
        "return number(image, at, known && place.x != NOWHERE && at != NOWHERE);",
        "return number(image, at, known || place.x != NOWHERE && at != NOWHERE);",
        "outside of a texture there are zeros, which is what is wanted there; and what is not known meets a zero of \
         the other operand",
    ),
    equivalent(
        "conv2d.software.wgsl",
        "let known = select(0u, f.columns, own.group < p.groups);",
        "let known = select(1u, f.columns, own.group < p.groups);",
        "beyond the last group there are no rows to write",
    ),
    equivalent(
        "loss.wgsl",
        "let scaled = select(x, x * 16777216.0, small);",
        "let scaled = select(x, x + 16777216.0, small);",
        "here logarithms are of 1 and more: none is subnormal",
    ),
    equivalent(
        "loss.wgsl",
        "fn minus_infinity_bits() -> u32 { return zero_word + 0xff800000u; }",
        "fn minus_infinity_bits() -> u32 { return zero_word - 0xff800000u; }",
        "here logarithms are of 1 and more: none is of 0",
    ),
    equivalent(
        "matmul.software.wgsl",
        "if fours { return texel(operand, at, known && inner < o.inner); }",
        "",
        "four numbers are read one by one: only slower",
    ),
    equivalent(
        "norm.wgsl",
        "var origin = 0.0;",
        "var origin = 1.0;",
        "what owns no channel writes nothing",
    ),
    equivalent(
        "norm.wgsl",
        "if !t.owns { return; }",
        "",
        "what owns no channel has no rows to walk",
    ),
    equivalent(
        "optimizer.wgsl",
        "while tensor < 3u && group >= (sizes[tensor] + 255u) / 256u {",
        "while tensor <= 3u && group >= (sizes[tensor] + 255u) / 256u {",
        "groups beyond the last tensor have no element in the fourth, nor in what an index beyond it finds",
    ),
    equivalent(
        "pointwise.wgsl",
        "if a == -0.5 { return 1.0 / sqrt(x); }",
        "",
        "the general power computes the same within its rounding: only slower",
    ),
    equivalent(
        "random.wgsl",
        "if !(x > 0.0) { return bitcast<f32>(nan_bits()); }",
        "",
        "here logarithms are of numbers above 0",
    ),
    equivalent(
        "reduce.wgsl",
        "let width = sum_run.pass_2 >> 16u;",
        "let width = sum_run.pass_2 >> 15u;",
        "tiles twice as wide, of which there are more than needed: only slower",
    ),
    equivalent(
        "resize.wgsl",
        "if at + 1u == image { return vec2<u32>(first, outputs); }",
        "if at + 0u == image { return vec2<u32>(first, outputs); }",
        "beyond the last pixel `first_at` is the number of outputs too",
    ),
    equivalent(
        "resize.wgsl",
        "let distance = select(here - reached, reached - here, reached >= here);",
        "let distance = select(here - reached, reached - here, reached > here);",
        "both are 0 where they are equal",
    ),
    equivalent(
        "resize.wgsl",
        "if distance >= s.denominator { return 0.0; }",
        "",
        "`around` leaves outputs within one pixel: where the distance is the denominator, the difference is 0",
    ),
    equivalent(
        "finite.wgsl",
        "let end = min(run.elements, (number + 1u) * 4096u);",
        "let end = min(run.elements, (number - 1u) * 4096u);",
        "the first group counts everything and the others nothing: only slower",
    ),
    equivalent(
        "optimizer.wgsl",
        "workgroupBarrier();",
        "",
        "on a GPU it does not; a software adapter runs the first invocations of a group first, and what the others \
         find is written",
    ),
    equivalent(
        "conv2d.wgsl",
        "if count > 2u && at != NOWHERE { value.z = image_one(at); }",
        "if count > 2u || at != NOWHERE { value.z = image_one(at); }",
        "beyond a buffer's end this adapter reads zeros, which is what is wanted outside of an image; and what is not \
         counted meets a zero of the other operand",
    ),
];

/// Why a mutant of a file changes nothing, if it is listed.
pub fn reason(file: &str, mutant: &TextMutant) -> Option<&'static str> {
    let is_this = |known: &&Equivalent| {
        known.file == file && known.before == mutant.before && known.after == mutant.after
    };
    EQUIVALENT.iter().find(is_this).map(|known| known.reason)
}
