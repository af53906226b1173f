//! Messages of one program to itself on another host.

/// Gives a type a serialised form that is its text: what writes it, what reads it, and what is said where it cannot be read.
macro_rules! message_is_text {
    ($type:ty, $write:expr, $read:expr, $wrong:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$write(self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                $read(&text).ok_or_else(|| serde::de::Error::custom($wrong))
            }
        }
    };
}

pub(crate) use message_is_text;
