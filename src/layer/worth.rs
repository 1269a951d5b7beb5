//! Whether a block is worth compressing.
//!
//! What is random, encrypted or compressed already costs the compressor more
//! time than anything else and gives nothing. Three looks at a block tell; all
//! depend on its bytes alone, so the same archive gives the same layer
//! everywhere. A block is stored only when all three find nothing to gain:
//!
//! 1. in every piece of it, all byte values are about equally frequent;
//! 2. none of a few samples becomes smaller;
//! 3. no long run of bytes comes again within reach of the format.
//!
//! Text, programs and the headers between files fail the first at the first
//! piece, so what is compressed costs hardly anything more.

/// Pieces whose frequencies are looked at, in bytes: small, so that a header of
/// an archive in one of them shows.
const PIECE: usize = 64 * 1024;

/// A piece is even if the squares of its frequencies are at most this much more than those
/// of perfectly equal ones (as 1/n of them). Random bytes have 255/65536 by chance; what
/// coding at twice that saves is 0.1 %.
const EVEN: u64 = 96;

/// How far back deflate reaches.
const REACH: usize = 32 * 1024;

/// Samples for a trial, spread evenly: long enough for what is found only far back.
const SAMPLES: usize = 2;
const SAMPLE: usize = REACH;

/// Positions after this byte are compared with earlier ones: one in 256 of random bytes,
/// chosen by content, so that a repetition is found whatever its distance.
const MARK: u8 = 0xa7;

/// How many repetitions of eight bytes a block may have by chance; a repetition of a
/// thousand bytes has four.
const REPETITIONS: usize = 3;

/// Whether compressing `block` gives anything; `compressed_size` tries it with a part.
pub(super) fn is_worth_compressing(
    block: &[u8],
    mut compressed_size: impl FnMut(&[u8]) -> Option<usize>,
) -> bool {
    // A small block costs little, and has no frequencies to speak of.
    let Some(last) = block.last_chunk::<PIECE>() else { return true };
    if !block.chunks_exact(PIECE).all(is_even) || !is_even(last) {
        return true;
    }
    let shrinks = |part: &[u8]| {
        let sample = &part[(part.len() - SAMPLE) / 2..][..SAMPLE];
        compressed_size(sample).is_none_or(|size| size < SAMPLE)
    };
    block.chunks_exact(block.len() / SAMPLES).any(shrinks) || repeats(block)
}

/// Whether all byte values are about equally frequent.
fn is_even(piece: &[u8]) -> bool {
    // Four tables: the same byte twice in a row would wait for itself in one.
    let mut counts = [[0_u32; 256]; 4];
    let (quads, _) = piece.as_chunks::<4>();
    for quad in quads {
        for (table, byte) in counts.iter_mut().zip(quad) {
            table[usize::from(*byte)] += 1;
        }
    }
    let frequency = |byte: usize| counts.iter().map(|table| u64::from(table[byte])).sum::<u64>();
    let squares: u64 = (0..256).map(frequency).map(|count| count * count).sum();
    let equal = (piece.len() * piece.len() / 256) as u64;
    squares - equal.min(squares) <= equal / EVEN
}

/// Whether long runs of bytes come again within reach.
fn repeats(block: &[u8]) -> bool {
    const WORD: usize = size_of::<u64>();
    const LINE: usize = 64;
    let mut last_seen = [u32::MAX; 4096];
    let mut found = 0;
    let (lines, _) = block.as_chunks::<LINE>();
    for (number, line) in lines.iter().enumerate() {
        // Without a branch for each byte, this is a few instructions for a line.
        if line.iter().map(|byte| u8::from(*byte == MARK)).sum::<u8>() == 0 {
            continue;
        }
        for (at, byte) in line.iter().enumerate() {
            let place = number * LINE + at;
            if *byte != MARK {
                continue;
            }
            let Some(word) = block[place + 1..].first_chunk::<WORD>() else { return false };
            let word = u64::from_le_bytes(*word);
            let slot = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize;
            let before = std::mem::replace(&mut last_seen[slot], place as u32) as usize;
            if before != u32::MAX as usize
                && place - before <= REACH
                && block[before + 1..].first_chunk() == Some(&word.to_le_bytes())
            {
                found += 1;
                if found > REPETITIONS {
                    return true;
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A megabyte that nothing compresses.
    fn random(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)).to_le_bytes()
        };
        std::iter::repeat_with(next).take(128 * 1024).flatten().collect()
    }

    fn gzip(level: i32, bytes: &[u8]) -> usize {
        let level = libdeflater::CompressionLvl::new(level).unwrap();
        let mut compressor = libdeflater::Compressor::new(level);
        let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
        compressor.gzip_compress(bytes, &mut out).unwrap()
    }

    fn is_worth(block: &[u8]) -> bool {
        is_worth_compressing(block, |sample| Some(gzip(6, sample)))
    }

    #[test]
    fn random_bytes_are_not_worth_it() {
        for seed in 1..4 {
            let block = random(seed);
            assert!(!is_worth(&block), "{seed}");
            assert!(!is_worth(&block[..PIECE]), "{seed}");
            assert!(!is_worth(&block[..PIECE * 3 + 77]), "{seed}");
        }
    }

    /// Whatever is stored, compressing it would have saved a thousandth at most.
    #[test]
    fn nothing_is_lost() {
        let noise = random(7);
        let header = [&b"some/file.jpg"[..], &[0; 499]].concat();
        let words = |every: usize| -> Vec<u8> {
            let mut block = noise.clone();
            for place in (0..block.len() - 600).step_by(every) {
                block[place..place + 512].copy_from_slice(&header);
            }
            block
        };
        let of_bytes = |f: fn(usize) -> u8| (0..noise.len()).map(f).collect::<Vec<u8>>();
        let blocks: Vec<(&str, Vec<u8>)> = vec![
            ("zeros", vec![0; noise.len()]),
            ("every value in a row", of_bytes(|n| n as u8)),
            ("numbers", of_bytes(|n| (n / 4).to_le_bytes()[n % 4])),
            (
                "random, doubled bytes",
                noise.iter().flat_map(|b| [*b; 2]).take(noise.len()).collect(),
            ),
            (
                "random in hexadecimal",
                noise
                    .iter()
                    .flat_map(|b| format!("{b:02x}").into_bytes())
                    .take(noise.len())
                    .collect(),
            ),
            ("random, seven bits", noise.iter().map(|b| b & 0x7f).collect()),
            ("the same random 32 KiB", noise[..REACH].repeat(noise.len() / REACH)),
            ("the same random 31 KB", noise[..31_000].repeat(40)[..noise.len()].to_vec()),
            ("the same random 5 KB", noise[..5_001].repeat(300)[..noise.len()].to_vec()),
            (
                "random and one repetition",
                [&noise[..500_000], &noise[480_000..noise.len() - 20_000]].concat(),
            ),
            ("half text", [&noise[..noise.len() / 2], &b"text ".repeat(noise.len() / 10)].concat()),
            ("files of 20 KB", words(20_000)),
            ("files of 60 KB", words(60_000)),
            ("files of 500 KB", words(500_000)),
            (
                "random floats",
                noise.chunks(3).flat_map(|c| [c[0], c[1], c[2], 0x3f]).take(noise.len()).collect(),
            ),
        ];
        for (name, block) in blocks {
            let size = gzip(6, &block);
            if size * 1000 < block.len() * 999 {
                assert!(is_worth(&block), "{name}: {size} of {}", block.len());
            }
        }
    }
}
