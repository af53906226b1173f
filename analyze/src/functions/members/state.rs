/// A set of snapshot ordinals, as the `members` column stores it: bit `n % 8` of byte `n / 8`, no trailing zero byte.
///
/// The empty set has no bytes. Union is associative, commutative and idempotent: that is what makes merging exact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct MemberSet(Vec<u8>);

/// Ordinals in a set are below this: bounds what a corrupt value can make us allocate.
const ORDINALS: u32 = 1 << 20;
/// Largest ordinal that a set takes.
pub const MAX_ORDINAL: u32 = ORDINALS - 1;

/// A value that is no member set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a member set: {0}")]
pub struct MemberSetError(String);

impl MemberSet {
    /// Reads a `members` value.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MemberSetError> {
        Self::check(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// Whether a `members` value is one.
    pub fn check(bytes: &[u8]) -> Result<(), MemberSetError> {
        if bytes.len() > ORDINALS as usize / 8 {
            return Err(MemberSetError(format!("{} bytes are more than {}", bytes.len(), ORDINALS / 8)));
        }
        if bytes.last() == Some(&0) {
            return Err(MemberSetError("ends in a zero byte".to_owned()));
        }
        Ok(())
    }

    /// The value of a `members` column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds one ordinal.
    pub fn insert(&mut self, ordinal: u32) -> Result<(), MemberSetError> {
        if ordinal > MAX_ORDINAL {
            return Err(MemberSetError(format!("ordinal {ordinal} is above {MAX_ORDINAL}")));
        }
        let (byte, bit) = (ordinal as usize / 8, ordinal % 8);
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= 1 << bit;
        Ok(())
    }

    /// Adds the members of another set, given as a `members` value.
    pub fn union(&mut self, bytes: &[u8]) -> Result<(), MemberSetError> {
        Self::check(bytes)?;
        if self.0.len() < bytes.len() {
            self.0.resize(bytes.len(), 0);
        }
        self.0.iter_mut().zip(bytes).for_each(|(mine, other)| *mine |= other);
        Ok(())
    }

    /// The ordinals, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().zip(0_u32..).flat_map(|(byte, at)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit)
        })
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.0.capacity()
    }
}

impl FromIterator<u32> for MemberSet {
    /// Ordinals beyond the limit are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(ordinals: I) -> Self {
        let mut set = Self::default();
        for ordinal in ordinals {
            let _ = set.insert(ordinal);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout_is_little_endian_bits_without_trailing_zeros() {
        let set: MemberSet = [0, 9, 15].into_iter().collect();
        assert_eq!(set.as_bytes(), [0b0000_0001, 0b1000_0010]);
        assert_eq!(MemberSet::default().as_bytes(), [0_u8; 0]);
    }

    #[test]
    fn corrupt_values_are_errors() {
        assert!(MemberSet::from_bytes(&[1, 0]).is_err());
        assert!(MemberSet::from_bytes(&vec![1; 200_000]).is_err());
        assert!(MemberSet::default().insert(MAX_ORDINAL + 1).is_err());
        assert!(MemberSet::default().union(&[0]).is_err());
    }

    fn ordinals() -> impl Strategy<Value = BTreeSet<u32>> {
        proptest::collection::btree_set(0..300_u32, 0..20)
    }

    proptest! {
        #[test]
        fn union_is_set_union(a in ordinals(), b in ordinals(), c in ordinals()) {
            let set = |ordinals: &BTreeSet<u32>| ordinals.iter().copied().collect::<MemberSet>();
            let join = |a: &MemberSet, b: &MemberSet| { let mut a = a.clone(); a.union(b.as_bytes()).unwrap(); a };
            let (sa, sb, sc) = (set(&a), set(&b), set(&c));
            prop_assert_eq!(join(&sa, &sb), set(&a.union(&b).copied().collect()));
            prop_assert_eq!(join(&sa, &sb), join(&sb, &sa));
            prop_assert_eq!(join(&join(&sa, &sb), &sc), join(&sa, &join(&sb, &sc)));
            prop_assert_eq!(sa.iter().collect::<BTreeSet<_>>(), a);
            prop_assert_eq!(join(&sa, &sa), sa);
        }
    }
}
