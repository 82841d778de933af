//! XXH64: a fast 64-bit digest that notices damage (it is no protection against forgery).
//!
//! Yann Collet's XXH64 (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>), at several GB/s, so that
//! a checkpoint's digest costs next to nothing beside flushing it to disk. `xxhsum` and PyPI's `xxhash` give the
//! same values.

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;
const STRIPE: usize = 32;

/// An XXH64 digest in the making, seed 0, fed in pieces of any size.
///
#[derive(Clone, Debug)]
pub struct Digest {
    lanes: [u64; 4],
    /// Bytes that do not fill a stripe yet.
    pending: [u8; STRIPE],
    pending_bytes: usize,
    total_bytes: u64,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest::new()
    }
}

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Digest {
        let lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u64.wrapping_sub(PRIME_1)];
        Digest { lanes, pending: [0; STRIPE], pending_bytes: 0, total_bytes: 0 }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.total_bytes = self.total_bytes.wrapping_add(bytes.len() as u64);
        if self.pending_bytes > 0 {
            let taken = bytes.len().min(STRIPE - self.pending_bytes);
            self.pending[self.pending_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.pending_bytes += taken;
            bytes = &bytes[taken..];
            if self.pending_bytes < STRIPE {
                return;
            }
            let stripe = self.pending;
            self.take_stripe(&stripe);
        }
        let (stripes, rest) = bytes.as_chunks::<STRIPE>();
        for stripe in stripes {
            self.take_stripe(stripe);
        }
        self.pending[..rest.len()].copy_from_slice(rest);
        self.pending_bytes = rest.len();
    }

    fn take_stripe(&mut self, stripe: &[u8; STRIPE]) {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }

    /// The digest of all bytes so far.
    pub fn value(&self) -> u64 {
        let mut hash = if self.total_bytes >= STRIPE as u64 {
            let [a, b, c, d] = self.lanes;
            let mixed = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            self.lanes.iter().fold(mixed, |hash, &lane| {
                (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4)
            })
        } else {
            PRIME_5
        };
        hash = hash.wrapping_add(self.total_bytes);
        let (words, rest) = self.pending[..self.pending_bytes].as_chunks::<8>();
        for word in words {
            hash ^= round(0, u64::from_le_bytes(*word));
            hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
            hash = hash.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
        }
        for &byte in rest {
            hash ^= u64::from(byte).wrapping_mul(PRIME_5);
            hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
        hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
        hash ^ (hash >> 32)
    }

    /// The digest as 16 hexadecimal digits, as `xxhsum -H64` prints it.
    pub fn hex(&self) -> String {
        format!("{:016x}", self.value())
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

/// The digest of one piece of bytes as 16 hexadecimal digits.
pub fn digest_hex(bytes: &[u8]) -> String {
    let mut digest = Digest::new();
    digest.update(bytes);
    digest.hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_reference_implementation() {
        // From PyPI's xxhash 3: xxhash.xxh64_hexdigest(bytes(i * 7 % 251 for i in range(n))).
        let cases = [
            (0, "ef46db3751d8e999"),
            (1, "e934a84adb052768"),
            (3, "9ff70a635a6209ab"),
            (4, "ae5acdc00a55ac41"),
            (8, "87116b3365b924eb"),
            (15, "02c53ab1e360882f"),
            (31, "0f187c62b1e722b7"),
            (32, "91b0cb0931a8c629"),
            (33, "931b043cf8d65b94"),
            (63, "575186c12dcebcfd"),
            (64, "ab64977b5af9d022"),
            (100, "b7fe1d84b2f23a05"),
            (1000, "023fd2ed1ff957d5"),
        ];
        for (length, expected) in cases {
            let bytes: Vec<u8> = (0..length).map(|i: usize| (i * 7 % 251) as u8).collect();
            assert_eq!(digest_hex(&bytes), expected, "{length} bytes");
            for piece in [1, 3, 31, 33, 100] {
                let mut digest = Digest::new();
                bytes.chunks(piece).for_each(|chunk| digest.update(chunk));
                assert_eq!(digest.hex(), expected, "{length} bytes in pieces of {piece}");
            }
        }
    }
}
