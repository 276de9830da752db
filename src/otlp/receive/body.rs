//! What a body is compressed with, and its inflation: never beyond the limit, and no memory before it
//! has been asked for.
//!
//! What a trailer says of lengths is not believed, only counted bytes are.

use std::io::Read;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;

use super::intake::Overloaded;
use super::refusal::Refusal;

/// The compressions that are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// By the header of that name; `None` if it names anything else.
    pub(super) fn of(headers: &HeaderMap, name: HeaderName) -> Option<Encoding> {
        let mut values = headers.get_all(name).iter();
        let encoding = match values.next() {
            None => Encoding::Identity,
            Some(value) => match value.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => Encoding::Identity,
                "gzip" => Encoding::Gzip,
                "zstd" => Encoding::Zstd,
                _ => return None,
            },
        };
        values.next().is_none().then_some(encoding)
    }
}

/// The bytes of a body as meant. `room` is asked for all memory before it is used.
pub(super) fn inflate(
    body: Bytes,
    encoding: Encoding,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Refusal> {
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(&body[..]);
            bounded(decoder, "gzip", body.len(), limit, room)
        }
        Encoding::Zstd => bounded(zstd_decoder(&body)?, "zstd", body.len(), limit, room),
    }
}

/// Asks for so many bytes more.
pub(super) type Room<'a> = dyn FnMut(usize) -> Result<(), Overloaded> + 'a;

fn zstd_decoder(body: &[u8]) -> Result<zstd::stream::read::Decoder<'static, &[u8]>, Refusal> {
    /// The window is memory of ours that the sender chooses: 8 MiB, which is what a decoder ought to
    /// support (RFC 8878, section 3.1.1.1.2), and more than any level below "ultra" uses.
    const MAX_WINDOW_LOG: u32 = 23;
    let invalid = |_| Refusal::Inflate("zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(invalid)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(invalid)?;
    Ok(decoder)
}

fn bounded(
    mut input: impl Read,
    encoding: &'static str,
    compressed: usize,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Refusal> {
    /// Spans compress to a tenth or so; less room than needed costs a copy, more costs others theirs.
    const USUAL_RATIO: usize = 8;
    /// Below this, asking costs more than the memory does.
    const LEAST: usize = 16 * 1024;
    let mut inflated = Vec::new();
    loop {
        let more = if inflated.is_empty() {
            compressed.saturating_mul(USUAL_RATIO)
        } else {
            inflated.len()
        };
        // One byte more than allowed tells "full" from "too large".
        let more = more.max(LEAST).min(limit + 1 - inflated.len());
        room(more)?;
        inflated.reserve_exact(more);
        let read = input.by_ref().take(more as u64).read_to_end(&mut inflated);
        let read = read.map_err(|_| Refusal::Inflate(encoding))?;
        if inflated.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        if read < more {
            return Ok(Bytes::from(inflated));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(body: Bytes, encoding: Encoding, limit: usize) -> Result<Bytes, Refusal> {
        inflate(body, encoding, limit, &mut |_| Ok(()))
    }

    #[test]
    fn all_memory_is_asked_for_before_it_is_used() {
        for (size, limit) in [(0, 10), (10, 10), (70_000, 1 << 20), (1 << 20, 1 << 20)] {
            let body = Bytes::from(gzip(&vec![7; size]));
            let mut asked = 0;
            let mut room = |bytes| {
                asked += bytes;
                Ok(())
            };
            let inflated = inflate(body, Encoding::Gzip, limit, &mut room).unwrap();
            assert_eq!(inflated.len(), size);
            // Doubling asks for less than twice of it, or for the least there is.
            assert!((size..=(2 * size).max(16 * 1024).min(limit + 1)).contains(&asked), "{asked}");
        }
    }

    #[test]
    fn without_room_it_ends_there() {
        let body = Bytes::from(gzip(&vec![7; 1 << 20]));
        let mut left: usize = 100_000;
        let mut room = |bytes| match left.checked_sub(bytes) {
            Some(rest) => {
                left = rest;
                Ok(())
            }
            None => Err(Overloaded { retry_after: crate::model::Nanos::from_secs(3) }),
        };
        let refused = inflate(body, Encoding::Gzip, 1 << 20, &mut room).unwrap_err();
        assert_eq!(refused.retry_after(), Some(crate::model::Nanos::from_secs(3)));
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        for (encoding, pack) in
            [(Encoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Encoding::Zstd, zstd_of)]
        {
            let body = |len| Bytes::from(pack(&vec![7; len]));
            assert_eq!(inflated(body(1000), encoding, 1000), Ok(Bytes::from(vec![7; 1000])));
            let too_large = Err(Refusal::TooLarge { limit: 1000 });
            assert_eq!(inflated(body(1001), encoding, 1000), too_large);
            assert_eq!(inflated(body(50_000_000), encoding, 1000), too_large);
        }
    }

    fn zstd_of(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn members_and_frames_are_joined() {
        let joined = [gzip(b"ab"), gzip(b"cd")].concat();
        assert_eq!(inflated(joined.into(), Encoding::Gzip, 4), Ok(Bytes::from_static(b"abcd")));
        let joined = [zstd_of(b"ab"), zstd_of(b"cd")].concat();
        assert_eq!(inflated(joined.into(), Encoding::Zstd, 4), Ok(Bytes::from_static(b"abcd")));
    }

    #[test]
    fn broken_streams_are_the_senders_fault() {
        for end in 0..gzip(b"hello").len() {
            let cut = Bytes::from(gzip(b"hello")[..end].to_vec());
            assert_eq!(inflated(cut, Encoding::Gzip, 100), Err(Refusal::Inflate("gzip")), "{end}");
        }
        for end in 1..zstd_of(b"hello").len() {
            let cut = Bytes::from(zstd_of(b"hello")[..end].to_vec());
            assert_eq!(inflated(cut, Encoding::Zstd, 100), Err(Refusal::Inflate("zstd")), "{end}");
        }
        let mut lying = gzip(b"hello");
        let last = lying.len() - 1;
        lying[last] ^= 1;
        assert_eq!(inflated(lying.into(), Encoding::Gzip, 100), Err(Refusal::Inflate("gzip")));
    }

    #[test]
    fn a_maximal_zstd_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&[7; 1000]).unwrap();
        let body = Bytes::from(encoder.finish().unwrap());
        assert_eq!(inflated(body, Encoding::Zstd, 10_000), Err(Refusal::Inflate("zstd")));
    }
}
