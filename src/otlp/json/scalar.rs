//! Single values of OTLP/JSON, and how objects and lists are walked without building them.
//!
//! JSON senders differ: 64-bit numbers come as strings or numbers, enums as numbers or names, and `null`
//! stands for absent. All of that is read here; what the fields mean is not known here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Something whose fields are taken one by one, in whatever order they come.
pub(in crate::otlp) trait Object<'de> {
    /// For error messages.
    const WHAT: &'static str;

    /// Takes the value of the field `name` from `map`: exactly one value, wanted or not.
    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error>;
}

/// Something whose elements are taken one by one.
pub(in crate::otlp) trait List<'de> {
    /// For error messages.
    const WHAT: &'static str;

    /// Takes one element from `list`; false if there was none.
    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error>;
}

/// Walks an object; yields false for `null`.
pub(in crate::otlp) struct Fill<'s, T>(pub(in crate::otlp) &'s mut T);

/// Walks a list; `null` is the empty list.
pub(in crate::otlp) struct Each<'s, T>(pub(in crate::otlp) &'s mut T);

impl<'de, T: Object<'de>> DeserializeSeed<'de> for Fill<'_, T> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for Fill<'_, T> {
    type Value = bool;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(T::WHAT)
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(name) = map.next_key_seed(Text)? {
            self.0.field(&name.unwrap_or_default(), &mut map)?;
        }
        Ok(true)
    }
}

impl<'de, T: List<'de>> DeserializeSeed<'de> for Each<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: List<'de>> Visitor<'de> for Each<'_, T> {
    type Value = ();
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(T::WHAT)
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.0.item(&mut list)? {}
        Ok(())
    }
}

/// A string as bytes, borrowed where it holds no escapes. Bytes, because half a surrogate pair can be
/// escaped, which is no UTF-8: that is repaired with the name. `None` is `null`.
pub(in crate::otlp) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<Cow<'de, [u8]>>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<Cow<'de, [u8]>>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_bytes(self)
    }
    fn visit_borrowed_bytes<E>(self, text: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_bytes<E>(self, text: &[u8]) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_vec())))
    }
    // Object keys come this way.
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text.as_bytes())))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.as_bytes().to_vec())))
    }
}

/// A whole number of 64 bits, as number or as string. `None` is `null`.
pub(in crate::otlp) struct Whole;

/// The same, signed.
pub(in crate::otlp) struct SignedWhole;

/// A JSON number with a fraction or an exponent, if it is a whole number all the same.
fn whole(value: f64) -> Option<i128> {
    #[allow(clippy::cast_possible_truncation)] // saturates, and the range is checked after it
    let number = value as i128;
    (value.is_finite() && value.fract() == 0.0).then_some(number)
}

macro_rules! whole_number {
    ($name:ident, $number:ty, $expected:literal) => {
        impl<'de> DeserializeSeed<'de> for $name {
            type Value = Option<$number>;
            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
                json.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for $name {
            type Value = Option<$number>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str($expected)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                <$number>::try_from(value)
                    .map(Some)
                    .map_err(|_| E::custom(concat!("expected ", $expected)))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                <$number>::try_from(value)
                    .map(Some)
                    .map_err(|_| E::custom(concat!("expected ", $expected)))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                let number = whole(value).and_then(|number| <$number>::try_from(number).ok());
                number.map(Some).ok_or_else(|| E::custom(concat!("expected ", $expected)))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
                value.parse().map(Some).map_err(|_| E::custom(concat!("expected ", $expected)))
            }
        }
    };
}

whole_number!(Whole, u64, "a whole number of 64 bits, or a string of it");
whole_number!(SignedWhole, i64, "a signed whole number of 64 bits, or a string of it");

/// An enum value: its number, or its name as the given list writes it. Unknown ones are 0, as in protobuf.
pub(in crate::otlp) struct Enumeration(pub(in crate::otlp) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Enumeration {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<u64, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Enumeration {
    type Value = u64;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the number or the name of an enum value")
    }
    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(0)
    }
    fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }
    fn visit_i64<E>(self, _negative: i64) -> Result<u64, E> {
        Ok(0)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        let number = whole(value).and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| E::custom("expected the number or the name of an enum value"))
    }
    fn visit_str<E>(self, value: &str) -> Result<u64, E> {
        let named = self.0.iter().position(|name| *name == value);
        Ok(named.map_or_else(|| value.parse().unwrap_or(0), |index| index as u64))
    }
}

/// A truth value. `None` is `null`.
pub(in crate::otlp) struct Flag;

impl<'de> DeserializeSeed<'de> for Flag {
    type Value = Option<bool>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<bool>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flag {
    type Value = Option<bool>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("true or false")
    }
    fn visit_unit<E>(self) -> Result<Option<bool>, E> {
        Ok(None)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Option<bool>, E> {
        Ok(Some(value))
    }
}
