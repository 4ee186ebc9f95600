//! Reading settings as people write them: one that has a short form, a text, beside its long one, a table; and a number
//! whose bounds are worth saying.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads a priority; unlike a plain `i8` it says what was wrong of which setting.
///
/// # Errors
/// The bounds, and what was found.
pub fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i8, D::Error> {
    let given = i64::deserialize(deserializer)?;
    let (least, most) = (i8::MIN, i8::MAX);
    i8::try_from(given)
        .map_err(|_| Error::custom(format!("priority: expected {least} to {most}, not {given}")))
}

/// Reads either; unlike an untagged enum it keeps the place of what is wrong inside the table.
///
/// # Errors
/// What `from_text` says of a text, or the table's own reader of a table.
pub fn text_or_table<'de, D, T, F>(
    deserializer: D,
    expecting: &'static str,
    from_text: F,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    F: FnOnce(&str) -> Result<T, String>,
{
    struct Either<T, F>(&'static str, F, PhantomData<T>);

    impl<'de, T: Deserialize<'de>, F: FnOnce(&str) -> Result<T, String>> Visitor<'de> for Either<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Either(expecting, from_text, PhantomData))
}
