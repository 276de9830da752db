//! The protobuf wire format, one field at a time, over borrowed bytes.
//!
//! Knows tags, wire types, varints and lengths; knows no message. Every error is an error of the sender.

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

/// What a field holds, by its wire type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// A field: its number and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
}

/// What remains to be read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field, or `None` at the end of the message.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key).map_err(|_| WireError::FieldNumber)? >> 3;
        if number == 0 {
            return Err(WireError::FieldNumber);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            3 | 4 => return Err(WireError::Group),
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            _ => return Err(WireError::WireType),
        };
        Ok(Some(Field { number, value }))
    }

    /// The lengths of strangers are compared before they are used: nothing is allocated by them.
    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        // Keys and most lengths fit one byte.
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte has room for one bit.
            if index == 9 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::WireType),
        }
    }

    pub(super) fn varint(self) -> Result<u64, WireError> {
        match self {
            Value::Varint(value) => Ok(value),
            _ => Err(WireError::WireType),
        }
    }

    /// An enum on the wire: as every protobuf library does, only the low 32 bits count.
    pub(super) fn enumeration(self) -> Result<u64, WireError> {
        Ok(self.varint()? & 0xffff_ffff)
    }

    pub(super) fn fixed64(self) -> Result<u64, WireError> {
        match self {
            Value::Fixed64(value) => Ok(value),
            _ => Err(WireError::WireType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<Field<'_>>, WireError> {
        Fields::new(bytes).next()
    }

    #[test]
    fn each_wire_type_is_read() {
        let field = |number, value| Ok(Some(Field { number, value }));
        assert_eq!(first(&[]), Ok(None));
        assert_eq!(first(&[0x08, 0x96, 0x01]), field(1, Value::Varint(150)));
        assert_eq!(first(&[0x09, 1, 0, 0, 0, 0, 0, 0, 0]), field(1, Value::Fixed64(1)));
        assert_eq!(first(&[0x12, 2, b'h', b'i']), field(2, Value::Bytes(b"hi")));
        assert_eq!(first(&[0x1d, 1, 0, 0, 0]), field(3, Value::Fixed32));
    }

    #[test]
    fn the_largest_varint_is_read_and_one_more_bit_is_refused() {
        let mut bytes = vec![0x08];
        bytes.extend([0xff; 9]);
        bytes.push(0x01);
        assert_eq!(first(&bytes), Ok(Some(Field { number: 1, value: Value::Varint(u64::MAX) })));
        bytes[10] = 0x02;
        assert_eq!(first(&bytes), Err(WireError::Varint));
        bytes[10] = 0x81;
        bytes.push(0x00);
        assert_eq!(first(&bytes), Err(WireError::Varint), "eleven bytes");
    }

    #[test]
    fn what_is_no_field_is_refused_with_the_reason() {
        assert_eq!(first(&[0x00]), Err(WireError::FieldNumber));
        assert_eq!(first(&[0x0b]), Err(WireError::Group));
        assert_eq!(first(&[0x0c]), Err(WireError::Group));
        assert_eq!(first(&[0x0e]), Err(WireError::WireType));
        assert_eq!(first(&[0x80]), Err(WireError::Truncated));
        assert_eq!(first(&[0x09, 1]), Err(WireError::Truncated));
        assert_eq!(first(&[0x1d, 1]), Err(WireError::Truncated));
        assert_eq!(first(&[0x12, 3, b'h', b'i']), Err(WireError::Truncated));
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(first(&huge), Err(WireError::Truncated), "a length of 2^63-1");
        let wide_key = [0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(first(&wide_key), Err(WireError::FieldNumber));
    }
}
