//! Maps whose first member, `type`, says what the others are.
//!
//! serde's own way accepts the tag in any place, and for that copies every member first. Ours always
//! comes first (msgspec writes it so), which halves the cost of reading a specification.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};

/// What such a map describes.
pub(super) trait Tagged<'de>: Sized {
    /// Reads the members that belong to that tag.
    fn members<D: Deserializer<'de>>(tag: &str, members: D) -> Result<Self, D::Error>;
}

/// Reads the tag, then what it says.
pub(super) fn read<'de, T: Tagged<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Map<T>(PhantomData<T>);

    impl<'de, T: Tagged<'de>> Visitor<'de> for Map<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map that begins with its type")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            match map.next_entry::<&str, &str>()? {
                Some(("type", tag)) => T::members(tag, MapAccessDeserializer::new(map)),
                _ => Err(Error::custom("the type must come first")),
            }
        }
    }

    deserializer.deserialize_map(Map(PhantomData))
}

/// The refusal of a tag that is none of those.
pub(super) fn unknown<E: Error>(tag: &str, known: &'static [&'static str]) -> E {
    E::unknown_variant(tag, known)
}
