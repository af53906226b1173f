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
pub(super) fn decode(mut bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) -> Option<Stretch> {
    (width <= 24).then_some(())?;
    out.clear();
    while out.len() < count {
        let header = varint(&mut bytes)?;
        let left = count - out.len();
        let run = usize::try_from(header >> 1).ok()?;
        if header & 1 == 0 {
            (run > 0).then_some(())?;
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8) as usize)?;
            bytes = rest;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            (value >> width == 0).then_some(())?;
            if run >= count && out.is_empty() {
                return Some(Stretch::Of(value));
            }
            out.resize(out.len() + run.min(left), value);
        } else {
            // Groups of eight values; the last one may be padded, and a writer may cut its bytes.
            let size = run.checked_mul(width as usize)?;
            let (packed, rest) = bytes.split_at_checked(size.min(bytes.len()))?;
            bytes = rest;
            let values = run.checked_mul(8)?.min(left);
            (packed.len() >= (values * width as usize).div_ceil(8)).then_some(())?;
            unpack(packed, width, values, out);
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
            let values: Vec<u32> = (0..88_u32).map(|n| n.wrapping_mul(2_654_435_761) >> (32 - width)).collect();
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
    fn too_little_is_nothing() {
        for bytes in [&[][..], &[0x03], &[0x08], &[0x00, 0x05], &[0xff; 8], &[0x02, 0xff]] {
            assert_eq!(decoded(bytes, 3, 8), None, "{bytes:?}");
        }
        assert_eq!(decoded(&[0x08, 0x00], 25, 4), None);
    }
}
