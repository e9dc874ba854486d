//! Maps whose first member, `type`, says what the others are; or, members by position, sequences
//! that begin with the type.
//!
//! serde's own way accepts the tag in any place, and for that copies every member first. Ours
//! always comes first (msgspec writes it so), which halves the cost of reading a specification.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};

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
            f.write_str("a map or a sequence that begins with its type")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            match map.next_entry::<&str, &str>()? {
                Some(("type", tag)) => T::members(tag, MapAccessDeserializer::new(map)),
                _ => Err(Error::custom("the type must come first")),
            }
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<T, A::Error> {
            match sequence.next_element::<&str>()? {
                Some(tag) => T::members(tag, SeqAccessDeserializer::new(sequence)),
                None => Err(Error::custom("the type must come first")),
            }
        }
    }

    deserializer.deserialize_any(Map(PhantomData))
}

#[cfg(test)]
mod tests {
    use crate::model::spec::TriggerSpec;

    fn read(members: &[(&str, &str)]) -> Result<TriggerSpec, String> {
        let mut packed = vec![0x80 | u8::try_from(members.len()).unwrap()];
        for (name, value) in members {
            packed.extend(rmp_serde::to_vec(name).unwrap());
            match value.parse::<i64>() {
                Ok(number) => packed.extend(rmp_serde::to_vec(&number).unwrap()),
                Err(_) => packed.extend(rmp_serde::to_vec(value).unwrap()),
            }
        }
        rmp_serde::from_slice(&packed).map_err(|error| error.to_string())
    }

    #[test]
    fn the_tag_says_what_follows_and_comes_first() {
        let (tag, delay) = (("type", "one_time"), ("initial_delay_ms", "5"));
        assert_eq!(read(&[tag, delay]), Ok(TriggerSpec::OneTime { initial_delay_ms: 5 }));
        assert!(read(&[delay, tag]).is_err());
        assert!(read(&[("other", "x"), tag]).unwrap_err().contains("must come first"));
        assert!(read(&[tag]).unwrap_err().contains("initial_delay_ms"));
        assert!(read(&[("type", "never"), delay]).unwrap_err().contains("never"));
        assert!(read(&[]).is_err());
    }

    #[test]
    fn members_by_position_follow_the_tag() {
        let read = |packed: &[u8]| rmp_serde::from_slice::<TriggerSpec>(packed);
        let packed = rmp_serde::to_vec(&("one_time", 5)).unwrap();
        assert_eq!(read(&packed).unwrap(), TriggerSpec::OneTime { initial_delay_ms: 5 });
        for (wrong, why) in [
            (rmp_serde::to_vec(&("never", 5)).unwrap(), "never"),
            (rmp_serde::to_vec(&("one_time",)).unwrap(), "invalid length"),
            (rmp_serde::to_vec(&("one_time", 5, 6)).unwrap(), "length"),
            (rmp_serde::to_vec::<[u8]>(&[]).unwrap(), "must come first"),
        ] {
            let error = read(&wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
