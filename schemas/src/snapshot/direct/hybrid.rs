//! Parquet's hybrid of run-length encoding and bit-packing: levels, dictionary keys and booleans.

/// Appends exactly `count` values of `width` bits. None where the bytes hold fewer or are malformed.
pub(super) fn decode(mut bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) -> Option<()> {
    (width <= 24).then_some(())?;
    let end = out.len().checked_add(count)?;
    while out.len() < end {
        let header = varint(&mut bytes)?;
        let left = end - out.len();
        let run = usize::try_from(header >> 1).ok()?;
        if header & 1 == 0 {
            (run > 0).then_some(())?;
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8) as usize)?;
            bytes = rest;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            (value >> width == 0).then_some(())?;
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
    Some(())
}

fn unpack(packed: &[u8], width: u32, values: usize, out: &mut Vec<u32>) {
    let mask = (1_u64 << width) - 1;
    let (mut held, mut bits) = (0_u64, 0);
    let mut bytes = packed.iter();
    out.extend((0..values).map(|_| {
        while bits < width {
            held |= u64::from(bytes.next().copied().unwrap_or(0)) << bits;
            bits += 8;
        }
        let value = held & mask;
        held >>= width;
        bits -= width;
        u32::try_from(value).unwrap_or(u32::MAX)
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
        decode(bytes, width, count, &mut out).map(|()| out)
    }

    #[test]
    fn runs_and_groups_as_the_specification_has_them() {
        // The example of the Parquet specification: 0 to 7 in three bits each.
        assert_eq!(decoded(&[0x03, 0x88, 0xc6, 0xfa], 3, 8), Some((0..8).collect()));
        assert_eq!(decoded(&[0x08, 0x05, 0x03, 0x88, 0xc6, 0xfa], 3, 6), Some(vec![5, 5, 5, 5, 0, 1]));
        assert_eq!(decoded(&[0x14], 0, 10), Some(vec![0; 10]));
    }

    #[test]
    fn too_little_is_nothing() {
        for bytes in [&[][..], &[0x03], &[0x08], &[0x00, 0x05], &[0xff; 8], &[0x02, 0xff]] {
            assert_eq!(decoded(bytes, 3, 8), None, "{bytes:?}");
        }
        assert_eq!(decoded(&[0x08, 0x00], 25, 4), None);
    }
}
