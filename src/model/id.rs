//! Trace and span identifiers. All-zero ids do not exist: OpenTelemetry calls them invalid.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// Identifies a trace: 16 bytes, big-endian, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// Identifies a span within its trace: 8 bytes, big-endian, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// Why bytes are not an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdDefect {
    /// Not 16 (trace) or 8 (span) bytes.
    #[error("wrong length")]
    Length,
    /// All bytes are zero.
    #[error("all zero")]
    Zero,
    /// Not hexadecimal digits (JSON only).
    #[error("not hexadecimal")]
    Hex,
}

impl TraceId {
    /// From the number whose big-endian bytes are the id.
    #[inline]
    pub fn new(value: u128) -> Option<TraceId> {
        NonZeroU128::new(value).map(TraceId)
    }

    /// From the 16 bytes on the wire.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Result<TraceId, IdDefect> {
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| IdDefect::Length)?;
        TraceId::new(u128::from_be_bytes(bytes)).ok_or(IdDefect::Zero)
    }

    /// From 32 hexadecimal digits, or 16 as Zipkin and Jaeger shorten them; any case.
    pub fn from_hex(digits: &str) -> Result<TraceId, IdDefect> {
        match digits.len() {
            32 | 16 => TraceId::new(hex(digits)?).ok_or(IdDefect::Zero),
            _ => Err(IdDefect::Length),
        }
    }

    /// The number whose big-endian bytes are the id.
    #[inline]
    pub fn get(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// From the number whose big-endian bytes are the id.
    #[inline]
    pub fn new(value: u64) -> Option<SpanId> {
        NonZeroU64::new(value).map(SpanId)
    }

    /// From the 8 bytes on the wire.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Result<SpanId, IdDefect> {
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| IdDefect::Length)?;
        SpanId::new(u64::from_be_bytes(bytes)).ok_or(IdDefect::Zero)
    }

    /// From 16 hexadecimal digits, any case.
    pub fn from_hex(digits: &str) -> Result<SpanId, IdDefect> {
        match digits.len() {
            16 => {
                #[allow(clippy::cast_possible_truncation)] // sixteen digits are 64 bits
                SpanId::new(hex(digits)? as u64).ok_or(IdDefect::Zero)
            }
            _ => Err(IdDefect::Length),
        }
    }

    /// The number whose big-endian bytes are the id.
    #[inline]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// The number that at most 32 digits write.
fn hex(digits: &str) -> Result<u128, IdDefect> {
    let mut value = 0u128;
    for digit in digits.bytes() {
        let nibble = char::from(digit).to_digit(16).ok_or(IdDefect::Hex)?;
        value = value << 4 | u128::from(nibble);
    }
    Ok(value)
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SpanId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_print() {
        let trace = TraceId::new(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c).unwrap();
        assert_eq!(TraceId::from_hex("5B8EFFF798038103D269B633813FC60C"), Ok(trace));
        assert_eq!(TraceId::from_hex(&trace.to_string()), Ok(trace));
        assert_eq!(TraceId::from_bytes(&trace.get().to_be_bytes()), Ok(trace));
        let span = SpanId::new(0xeee1_9b7e_c3c1_b174).unwrap();
        assert_eq!(SpanId::from_hex(&span.to_string()), Ok(span));
        assert_eq!(SpanId::from_bytes(&span.get().to_be_bytes()), Ok(span));
    }

    #[test]
    fn a_short_trace_id_is_the_low_half() {
        let long = TraceId::from_hex("00000000000000001e223ff1f80f1c69");
        assert_eq!(TraceId::from_hex("1e223ff1f80f1c69"), long);
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_reason() {
        assert_eq!(TraceId::from_bytes(&[0; 16]), Err(IdDefect::Zero));
        assert_eq!(TraceId::from_bytes(&[1; 15]), Err(IdDefect::Length));
        assert_eq!(SpanId::from_bytes(&[]), Err(IdDefect::Length));
        assert_eq!(SpanId::from_hex("00000000000000zz"), Err(IdDefect::Hex));
        assert_eq!(SpanId::from_hex("€€€€€_"), Err(IdDefect::Hex));
    }
}
