//! Parquet's hybrid of run-length encoding and bit-packing: levels, dictionary keys and booleans.

/// What a stretch of values is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stretch {
    /// One value throughout: it was not written out.
    Of(u32),
    /// Values of their own, which stand in the buffer.
    Mixed,
}

/// Reads exactly `count` values of `width` bits into an emptied buffer. None where the bytes hold fewer or are malformed.
pub(super) fn decode(bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) -> Option<Stretch> {
    out.clear();
    runs(bytes, width, count, |run, values| match run {
        Run::Same(value) if values == count => Some(Stretch::Of(value)),
        Run::Same(value) => {
            out.resize(out.len() + values, value);
            None
        }
        Run::Packed(bytes) => {
            unpack(bytes, width, values, out);
            None
        }
    })
}

/// Puts keys where levels of one bit say that there are values, and `null` elsewhere. None where there are more or fewer
/// of them than keys, and where the levels are malformed.
pub(super) fn spread(
    levels: &[u8],
    count: usize,
    keys: Stretch,
    mixed: &[u32],
    present: usize,
    null: u32,
    out: &mut Vec<u32>,
) -> Option<Stretch> {
    out.clear();
    let mut at = 0;
    let mut sound = true;
    let stretch = runs(levels, 1, count, |run, values| {
        match (run, keys) {
            (Run::Same(0), _) if values == count => return Some(Stretch::Of(null)),
            (Run::Same(_), Stretch::Of(key)) if values == count => {
                at = values;
                return Some(Stretch::Of(key));
            }
            (Run::Same(0), _) => out.resize(out.len() + values, null),
            (Run::Same(_), Stretch::Of(key)) => {
                out.resize(out.len() + values, key);
                at += values;
            }
            (Run::Same(_), Stretch::Mixed) => {
                match mixed.get(at..at + values) {
                    Some(keys) => out.extend_from_slice(keys),
                    None => sound = false,
                }
                at += values;
            }
            (Run::Packed(bytes), _) => out.extend((0..values).map(|bit| {
                let there = bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
                let key = match keys {
                    Stretch::Of(key) => key,
                    Stretch::Mixed => mixed.get(at).copied().unwrap_or(null),
                };
                at += usize::from(there);
                if there { key } else { null }
            })),
        }
        None
    })?;
    (sound && at == present).then_some(stretch)
}

/// How many of `count` levels of one bit are set.
pub(super) fn ones(levels: &[u8], count: usize) -> Option<usize> {
    let mut ones = 0;
    runs(levels, 1, count, |run, values| {
        ones += match run {
            Run::Same(0) => 0,
            Run::Same(_) => values,
            Run::Packed(bytes) => {
                let (whole, rest) = bytes[..values.div_ceil(8)].split_at(values / 8);
                let last = rest.first().map_or(0, |byte| byte & ((1 << (values % 8)) - 1));
                (whole.iter().map(|byte| byte.count_ones()).sum::<u32>() + last.count_ones()) as usize
            }
        };
        None
    })?;
    Some(ones)
}

enum Run<'a> {
    Same(u32),
    Packed(&'a [u8]),
}

/// Calls for every run with its number of values, until `count` are there or the callee knows what they are.
fn runs<'a>(
    mut bytes: &'a [u8],
    width: u32,
    count: usize,
    mut each: impl FnMut(Run<'a>, usize) -> Option<Stretch>,
) -> Option<Stretch> {
    (width <= 24).then_some(())?;
    let mut left = count;
    while left > 0 {
        let header = varint(&mut bytes)?;
        let run = usize::try_from(header >> 1).ok()?;
        let (run, values) = if header & 1 == 0 {
            (run > 0).then_some(())?;
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8) as usize)?;
            bytes = rest;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            (value >> width == 0).then_some(())?;
            (Run::Same(value), run.min(left))
        } else {
            // Groups of eight values; the last one may be padded, and a writer may cut its bytes.
            let size = run.checked_mul(width as usize)?;
            let (packed, rest) = bytes.split_at_checked(size.min(bytes.len()))?;
            bytes = rest;
            let values = run.checked_mul(8)?.min(left);
            (packed.len() >= (values * width as usize).div_ceil(8)).then_some(())?;
            (Run::Packed(packed), values)
        };
        left -= values;
        if let Some(stretch) = each(run, values) {
            return Some(stretch);
        }
    }
    Some(Stretch::Mixed)
}

/// A value of at most 24 bits lies within the eight bytes that begin where it does.
fn unpack(packed: &[u8], width: u32, values: usize, out: &mut Vec<u32>) {
    let mask = (1_u64 << width) - 1;
    let width = width as usize;
    let value = |word: u64, bit: usize| u32::try_from(word >> (bit % 8) & mask).unwrap_or(u32::MAX);
    // Values that have eight bytes from their first one on; the last few do not.
    let whole = match (packed.len().checked_sub(8), width) {
        (_, 0) | (None, _) => 0,
        (Some(last), _) => ((last * 8 + 7) / width + 1).min(values),
    };
    out.extend((0..whole).map(|at| {
        let bit = at * width;
        let word = packed.get(bit / 8..).and_then(|rest| rest.first_chunk::<8>());
        value(word.map_or(0, |word| u64::from_le_bytes(*word)), bit)
    }));
    out.extend((whole..values).map(|at| {
        let bit = at * width;
        let bytes = packed.iter().skip(bit / 8).take(8).zip((0..64).step_by(8));
        value(bytes.fold(0, |word, (byte, shift)| word | u64::from(*byte) << shift), bit)
    }));
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
        let mut out = Vec::new();
        match decode(bytes, width, count, &mut out)? {
            Stretch::Of(value) => Some(vec![value; count]),
            Stretch::Mixed => Some(out),
        }
    }

    #[test]
    fn runs_and_groups_as_the_specification_has_them() {
        // The example of the Parquet specification: 0 to 7 in three bits each.
        assert_eq!(decoded(&[0x03, 0x88, 0xc6, 0xfa], 3, 8), Some((0..8).collect()));
        assert_eq!(decoded(&[0x08, 0x05, 0x03, 0x88, 0xc6, 0xfa], 3, 6), Some(vec![5, 5, 5, 5, 0, 1]));
        assert_eq!(decoded(&[0x14], 0, 10), Some(vec![0; 10]));
    }

    #[test]
    fn all_widths_and_places() {
        for width in 1..=24_u32 {
            let values: Vec<u32> =
                (0..88_u32).map(|n| n.wrapping_mul(2_654_435_761) >> (32 - width)).collect();
            let bits = values.iter().flat_map(|value| (0..width).map(move |bit| value >> bit & 1));
            let bits: Vec<u32> = bits.collect();
            let mut bytes = vec![11 << 1 | 1];
            bytes.extend(bits.chunks(8).map(|byte| {
                byte.iter().zip(0..).fold(0, |byte, (bit, at)| byte | u8::try_from(bit << at).unwrap())
            }));
            for count in [1, 7, 8, 80, 87, 88] {
                // Bytes of values beyond the count may be missing.
                let cut = 1 + (count * width as usize).div_ceil(8);
                assert_eq!(decoded(&bytes[..cut], width, count), Some(values[..count].to_vec()), "{width}");
            }
        }
    }

    #[test]
    fn keys_stand_where_the_levels_are_set() {
        // Two zeros, eight bits, two ones.
        let levels = [0x04, 0x00, 0x03, 0b1010_0110, 0x04, 0x01];
        let spread = |keys, mixed: &[u32], present| {
            let mut out = Vec::new();
            spread(&levels, 12, keys, mixed, present, 9, &mut out).map(|stretch| (stretch, out))
        };
        let found = vec![9, 9, 9, 1, 2, 9, 9, 3, 9, 4, 5, 6];
        assert_eq!(spread(Stretch::Mixed, &[1, 2, 3, 4, 5, 6], 6), Some((Stretch::Mixed, found)));
        let found = vec![9, 9, 9, 7, 7, 9, 9, 7, 9, 7, 7, 7];
        assert_eq!(spread(Stretch::Of(7), &[], 6), Some((Stretch::Mixed, found)));
        // Levels and keys must agree.
        assert_eq!(spread(Stretch::Mixed, &[1, 2, 3, 4, 5], 5), None);
        assert_eq!(spread(Stretch::Of(7), &[], 5), None);
    }

    #[test]
    fn too_little_is_nothing() {
        for bytes in [&[][..], &[0x03], &[0x08], &[0x00, 0x05], &[0xff; 8], &[0x02, 0xff]] {
            assert_eq!(decoded(bytes, 3, 8), None, "{bytes:?}");
        }
        assert_eq!(decoded(&[0x08, 0x00], 25, 4), None);
    }
}
