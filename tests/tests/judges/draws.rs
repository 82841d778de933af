//! Numbers that the scripts and the tests draw alike, so that no file has to hold them.

/// Multiples of 1/1024 in [−1, 1), none of them 0: FNV-1a of the text seeds SplitMix64, as `draws` in
/// `tests/python/make_judges_pytorch.py`.
pub(crate) fn draws(text: &str, count: usize) -> Vec<f64> {
    let seed = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let draw = |place: usize| {
        let mut z = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let value = (z >> 53) as f64 - 1024.0;
        if value == 0.0 { 1.0 / 1024.0 } else { value / 1024.0 }
    };
    (0..count).map(draw).collect()
}
