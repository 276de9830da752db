//! Undoes `Content-Encoding`, never beyond a limit, whatever the stream says about itself.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// How a body is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    /// Not at all.
    Identity,
    /// gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
}

/// Why a body could not be inflated.
#[derive(Debug, thiserror::Error)]
pub(super) enum InflateError {
    /// It would be larger than the limit.
    #[error("larger than {0} bytes when decompressed; send smaller batches")]
    TooLarge(usize),
    /// Not what its `Content-Encoding` says.
    #[error("invalid compressed body: {0}")]
    Bad(std::io::Error),
}

impl Compression {
    /// From the header's value; `None` if it is not supported.
    pub(super) fn named(name: &str) -> Option<Compression> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Compression::Identity),
            "gzip" | "x-gzip" => Some(Compression::Gzip),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The body as it was before it was compressed, at most `limit` bytes of it.
    pub(super) fn inflate(self, body: Bytes, limit: usize) -> Result<Bytes, InflateError> {
        match self {
            Compression::Identity if body.len() > limit => Err(InflateError::TooLarge(limit)),
            Compression::Identity => Ok(body),
            Compression::Gzip => read_all(MultiGzDecoder::new(&*body), limit),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(&*body).map_err(InflateError::Bad)?;
                // A frame may ask for a window of gigabytes; 8 MiB is what every encoder stays within.
                decoder.window_log_max(23).map_err(InflateError::Bad)?;
                read_all(decoder, limit)
            }
        }
    }
}

fn read_all(reader: impl Read, limit: usize) -> Result<Bytes, InflateError> {
    let mut out = Vec::new();
    let mut bounded = reader.take(limit as u64 + 1);
    bounded.read_to_end(&mut out).map_err(InflateError::Bad)?;
    if out.len() > limit {
        return Err(InflateError::TooLarge(limit));
    }
    Ok(Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn concatenated_members_are_one_body() {
        let body = [gzip(b"one "), gzip(b"two")].concat();
        let inflated = Compression::Gzip.inflate(body.into(), 100).unwrap();
        assert_eq!(&*inflated, b"one two");
        let body = zstd::encode_all(&b"three"[..], 1).unwrap();
        assert_eq!(&*Compression::Zstd.inflate(body.into(), 100).unwrap(), b"three");
    }

    #[test]
    fn a_bomb_goes_off_at_the_limit() {
        let zeros = vec![0; 1 << 20];
        let limit = 1 << 16;
        for (compression, body) in [
            (Compression::Gzip, gzip(&zeros)),
            (Compression::Zstd, zstd::encode_all(&*zeros, 1).unwrap()),
            (Compression::Identity, zeros.clone()),
        ] {
            let refused = compression.inflate(body.into(), limit);
            assert!(matches!(refused, Err(InflateError::TooLarge(_))), "{compression:?}");
        }
        let exact = Compression::Gzip.inflate(gzip(&vec![0; limit]).into(), limit).unwrap();
        assert_eq!(exact.len(), limit);
    }

    #[test]
    fn what_is_not_compressed_as_it_says_is_refused() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let refused = compression.inflate(Bytes::from_static(b"plain"), 100);
            assert!(matches!(refused, Err(InflateError::Bad(_))), "{compression:?}");
        }
        let cut = gzip(b"something")[..12].to_vec();
        assert!(Compression::Gzip.inflate(cut.into(), 100).is_err());
        assert_eq!(Compression::named("br"), None);
    }
}
