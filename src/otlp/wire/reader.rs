//! The protobuf wire format, one field at a time, over borrowed bytes.
//!
//! Knows keys, wire types, varints and lengths; knows no message. A message is walked by asking for a
//! key and then for what that key stands for. Every error is an error of the sender.

/// Why bytes are not a protobuf message of the expected shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("truncated message")]
    Truncated,
    /// A varint of more than ten bytes or more than 64 bits.
    #[error("varint too long")]
    Varint,
    /// Field number zero, or a key of more than 32 bits.
    #[error("invalid field number")]
    FieldNumber,
    /// A wire type that does not exist, or not the one of this field.
    #[error("wrong wire type")]
    WireType,
    /// Groups left protobuf before OTLP was there.
    #[error("groups are not supported")]
    Group,
    /// Messages within messages beyond a hundred levels.
    #[error("nested too deeply")]
    Depth,
    /// More of something than one request may hold.
    #[error("more than {limit} {what} in one request")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
}

/// The same without the figures: what the walk hands up, in a byte, field by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Truncated,
    Varint,
    FieldNumber,
    WireType,
    Group,
    Depth,
    TooManySpans,
    TooManyElements,
}

/// A field's number and wire type, as they stand on the wire: `number << 3 | type`.
pub(super) type Key = u32;

/// The key of a field that holds a varint.
pub(super) const fn varint(number: u32) -> Key {
    number << 3
}

/// The key of a field of eight bytes.
pub(super) const fn fixed64(number: u32) -> Key {
    number << 3 | 1
}

/// The key of a field of text, bytes or a message.
pub(super) const fn bytes(number: u32) -> Key {
    number << 3 | 2
}

/// The key of a field of four bytes.
pub(super) const fn fixed32(number: u32) -> Key {
    number << 3 | 5
}

/// What remains to be read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// Bytes not yet read.
    #[inline]
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The key of the next field, or `None` at the end of the message.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Option<Key>, Fault> {
        match self.rest {
            [] => Ok(None),
            // Numbers below 16 fit one byte; 8 is the least key there is.
            [key @ 0x08..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(Some(Key::from(*key)))
            }
            _ => self.long_key().map(Some),
        }
    }

    #[inline(never)]
    fn long_key(&mut self) -> Result<Key, Fault> {
        let key = Key::try_from(self.varint()?).map_err(|_| Fault::FieldNumber)?;
        if key < 8 { Err(Fault::FieldNumber) } else { Ok(key) }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        // Most numbers and lengths fit one byte, those of spans and of long texts two.
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*high) << 7 | u64::from(low & 0x7f))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte has room for one bit.
            if index == 9 && byte > 1 {
                return Err(Fault::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { Fault::Truncated } else { Fault::Varint })
    }

    /// An enum on the wire: as every protobuf library does, only the low 32 bits count.
    #[inline]
    pub(super) fn enumeration(&mut self) -> Result<u64, Fault> {
        Ok(self.varint()? & 0xffff_ffff)
    }

    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    /// Text, bytes or a message. The lengths of strangers are compared before they are used: nothing is
    /// allocated by them.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The bytes not yet read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next bytes, if there are as many, without going past them.
    #[inline]
    pub(super) fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.rest.first_chunk()
    }

    /// Goes past bytes that have been looked at.
    #[inline]
    pub(super) fn pass(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Passes over what a key stands for.
    #[inline]
    pub(super) fn skip(&mut self, key: Key) -> Result<(), Fault> {
        match key & 7 {
            0 => self.varint().map(drop),
            1 => self.array::<8>().map(drop),
            2 => self.bytes().map(drop),
            3 | 4 => Err(Fault::Group),
            5 => self.array::<4>().map(drop),
            _ => Err(Fault::WireType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wire_type_is_read() {
        let mut fields = Fields::new(&[0x08, 0x96, 0x01]);
        assert_eq!((fields.key(), fields.varint()), (Ok(Some(varint(1))), Ok(150)));
        assert_eq!((fields.key(), fields.remaining()), (Ok(None), 0));
        let mut fields = Fields::new(&[0x09, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((fields.key(), fields.fixed64()), (Ok(Some(fixed64(1))), Ok(1)));
        let mut fields = Fields::new(&[0x12, 2, b'h', b'i']);
        assert_eq!((fields.key(), fields.bytes()), (Ok(Some(bytes(2))), Ok(&b"hi"[..])));
        let mut fields = Fields::new(&[0x85, 0x01, 1, 0, 0, 0]);
        assert_eq!((fields.key(), fields.skip(fixed32(16))), (Ok(Some(fixed32(16))), Ok(())));
        assert_eq!(fields.remaining(), 0);
    }

    /// The first field, passed over.
    fn skipped(message: &[u8]) -> Result<usize, Fault> {
        let mut fields = Fields::new(message);
        let key = fields.key()?.expect("there is one");
        fields.skip(key)?;
        Ok(fields.remaining())
    }

    #[test]
    fn the_largest_varint_is_read_and_one_more_bit_is_refused() {
        let mut bytes = vec![0x08];
        bytes.extend([0xff; 9]);
        bytes.push(0x01);
        let mut fields = Fields::new(&bytes);
        assert_eq!((fields.key(), fields.varint()), (Ok(Some(varint(1))), Ok(u64::MAX)));
        bytes[10] = 0x02;
        assert_eq!(skipped(&bytes), Err(Fault::Varint));
        bytes[10] = 0x81;
        bytes.push(0x00);
        assert_eq!(skipped(&bytes), Err(Fault::Varint), "eleven bytes");
    }

    #[test]
    fn what_is_no_field_is_refused_with_the_reason() {
        assert_eq!(skipped(&[0x00]), Err(Fault::FieldNumber));
        assert_eq!(skipped(&[0x07]), Err(Fault::FieldNumber));
        assert_eq!(skipped(&[0x80, 0x00]), Err(Fault::FieldNumber), "zero in two bytes");
        assert_eq!(skipped(&[0x0b]), Err(Fault::Group));
        assert_eq!(skipped(&[0x0c]), Err(Fault::Group));
        assert_eq!(skipped(&[0x0e]), Err(Fault::WireType));
        assert_eq!(skipped(&[0x80]), Err(Fault::Truncated));
        assert_eq!(skipped(&[0x09, 1]), Err(Fault::Truncated));
        assert_eq!(skipped(&[0x1d, 1]), Err(Fault::Truncated));
        assert_eq!(skipped(&[0x12, 3, b'h', b'i']), Err(Fault::Truncated));
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(skipped(&huge), Err(Fault::Truncated), "a length of 2^63-1");
        let wide_key = [0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(skipped(&wide_key), Err(Fault::FieldNumber));
    }
}
