//! The body of an HTTP request: read and inflated, never beyond the limit.
//!
//! What a header or a trailer says of lengths is not believed, only counted bytes are.

use std::io::Read;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The compressions that are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Why there is no body to decode.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("body larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("invalid {0} body")]
    Inflate(&'static str),
    #[error("the body ended early")]
    Aborted,
}

impl Encoding {
    /// By the request's header; `None` if it names anything else.
    pub(super) fn of(headers: &HeaderMap) -> Option<Encoding> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
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

/// The bytes of a body as sent.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Err(_) => Err(BodyError::Aborted),
    }
}

/// The bytes of a body as meant.
pub(super) fn inflate(body: Bytes, encoding: Encoding, limit: usize) -> Result<Bytes, BodyError> {
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => bounded(flate2::bufread::MultiGzDecoder::new(&body[..]), "gzip", limit),
        Encoding::Zstd => bounded(zstd_decoder(&body)?, "zstd", limit),
    }
}

fn zstd_decoder(body: &[u8]) -> Result<zstd::stream::read::Decoder<'static, &[u8]>, BodyError> {
    /// The window is memory of ours that the sender chooses: 8 MiB, which is what a decoder ought to
    /// support (RFC 8878, section 3.1.1.1.2), and more than any level below "ultra" uses.
    const MAX_WINDOW_LOG: u32 = 23;
    let invalid = |_| BodyError::Inflate("zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(invalid)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(invalid)?;
    Ok(decoder)
}

fn bounded(input: impl Read, encoding: &'static str, limit: usize) -> Result<Bytes, BodyError> {
    let mut inflated = Vec::new();
    // One byte more than allowed tells "full" from "too large".
    let mut input = input.take(limit as u64 + 1);
    input.read_to_end(&mut inflated).map_err(|_| BodyError::Inflate(encoding))?;
    if inflated.len() > limit {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(Bytes::from(inflated))
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

    #[test]
    fn a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        for (encoding, pack) in
            [(Encoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Encoding::Zstd, zstd_of)]
        {
            let body = |len| Bytes::from(pack(&vec![7; len]));
            assert_eq!(inflate(body(1000), encoding, 1000), Ok(Bytes::from(vec![7; 1000])));
            let too_large = Err(BodyError::TooLarge { limit: 1000 });
            assert_eq!(inflate(body(1001), encoding, 1000), too_large);
            assert_eq!(inflate(body(50_000_000), encoding, 1000), too_large);
        }
    }

    fn zstd_of(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn members_and_frames_are_joined() {
        let joined = [gzip(b"ab"), gzip(b"cd")].concat();
        assert_eq!(inflate(joined.into(), Encoding::Gzip, 4), Ok(Bytes::from_static(b"abcd")));
        let joined = [zstd_of(b"ab"), zstd_of(b"cd")].concat();
        assert_eq!(inflate(joined.into(), Encoding::Zstd, 4), Ok(Bytes::from_static(b"abcd")));
    }

    #[test]
    fn broken_streams_are_the_senders_fault() {
        for end in 0..gzip(b"hello").len() {
            let cut = Bytes::from(gzip(b"hello")[..end].to_vec());
            assert_eq!(inflate(cut, Encoding::Gzip, 100), Err(BodyError::Inflate("gzip")), "{end}");
        }
        for end in 1..zstd_of(b"hello").len() {
            let cut = Bytes::from(zstd_of(b"hello")[..end].to_vec());
            assert_eq!(inflate(cut, Encoding::Zstd, 100), Err(BodyError::Inflate("zstd")), "{end}");
        }
        let mut lying = gzip(b"hello");
        let last = lying.len() - 1;
        lying[last] ^= 1;
        assert_eq!(inflate(lying.into(), Encoding::Gzip, 100), Err(BodyError::Inflate("gzip")));
    }

    #[test]
    fn a_maximal_zstd_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&[7; 1000]).unwrap();
        let body = Bytes::from(encoder.finish().unwrap());
        assert_eq!(inflate(body, Encoding::Zstd, 10_000), Err(BodyError::Inflate("zstd")));
    }
}
