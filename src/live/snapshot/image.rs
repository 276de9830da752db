//! The bytes of a snapshot file: a header that never changes its shape, a compressed content, checksums.
//!
//! ```text
//!  0   8  "laghound"
//!  8   4  version of the content, little-endian as everything
//! 12   8  bytes of the content as it lies in the file (zstd)
//! 20   8  bytes of the content itself
//! 28   8  when it was taken, nanoseconds since the Unix epoch
//! 36   4  CRC-32 of the 36 bytes above
//! 40   …  the content, whose own zstd checksum (XXH64) is set
//!  …   4  CRC-32 of the content as it lies in the file
//! ```
//!
//! Why a CRC: it finds every single flipped byte and every burst of up to 32 bits, and any other damage
//! but for one in four billion. It keeps out accidents, not forgers: who can write here can write
//! anything. What the content means is the engine's matter; nothing here touches a disk.

use std::io::{self, Read, Write};

use crate::model::Timestamp;

/// The version written. One that is newer is not read.
pub const VERSION: u32 = 1;

/// A larger file is not ours, and is not read.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// A content larger than this is neither written nor read: fifty thousand operations with all their
/// paths take a tenth of it.
pub const MAX_CONTENT_BYTES: u64 = 1 << 30;

const MAGIC: &[u8; 8] = b"laghound";
const HEADER_BYTES: usize = 40;
const CHECK_BYTES: usize = 4;

/// The fastest level: the content is written every minute and read once.
const LEVEL: i32 = 1;
/// What that level needs is far less; a file that asks for more was not written here.
const MAX_WINDOW_LOG: u32 = 23;

/// A whole file, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    saved_at: Timestamp,
}

/// Why a file is no snapshot of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It does not begin as ours do.
    #[error("it is not a snapshot of laghound")]
    Foreign,
    /// Written by a later release.
    #[error("its version is {0}, and this release reads up to {VERSION}")]
    Newer(u32),
    /// Cut, changed or grown.
    #[error("it is damaged: {0}")]
    Corrupt(&'static str),
    /// Sound, but of no use to this release.
    #[error("its figures are counted in other units of time")]
    OtherUnits,
    /// Larger than any of ours.
    #[error("it is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
}

impl Defect {
    /// The value of a label, and of the name under which the file is set aside.
    pub fn as_str(self) -> &'static str {
        match self {
            Defect::Foreign => "foreign",
            Defect::Newer(_) => "newer",
            Defect::Corrupt(_) => "corrupt",
            Defect::OtherUnits => "other_units",
            Defect::TooLarge => "too_large",
        }
    }
}

impl Image {
    /// Takes down what `write` says, at `saved_at`.
    ///
    /// # Errors
    /// Those of `write`, and a content beyond [`MAX_CONTENT_BYTES`].
    pub fn take(
        saved_at: Timestamp,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Image> {
        let mut encoder = zstd::Encoder::new(vec![0; HEADER_BYTES], LEVEL)?;
        encoder.include_checksum(true)?;
        let mut counted = Counted { inner: encoder, bytes: 0 };
        write(&mut counted)?;
        let Counted { inner, bytes: content } = counted;
        let mut bytes = inner.finish()?;
        let body = (bytes.len() - HEADER_BYTES) as u64;
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&body.to_le_bytes());
        bytes[20..28].copy_from_slice(&content.to_le_bytes());
        bytes[28..36].copy_from_slice(&saved_at.0.to_le_bytes());
        let check = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&check.to_le_bytes());
        let check = crc32fast::hash(&bytes[HEADER_BYTES..]);
        bytes.extend_from_slice(&check.to_le_bytes());
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(Image { bytes, saved_at })
    }

    /// Checks everything that can be checked without knowing what the content means.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: Vec<u8>) -> Result<Image, Defect> {
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Defect::TooLarge);
        }
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(Defect::Foreign);
        }
        let header = bytes.get(..HEADER_BYTES).ok_or(Defect::Corrupt("it ends in its header"))?;
        if u32_at(header, 36) != crc32fast::hash(&header[..36]) {
            return Err(Defect::Corrupt("the checksum of its header does not match"));
        }
        let version = u32_at(header, 8);
        if version > VERSION {
            return Err(Defect::Newer(version));
        }
        if version == 0 || u64_at(header, 20) > MAX_CONTENT_BYTES {
            return Err(Defect::Corrupt("its header says what none of ours does"));
        }
        let rest = bytes.len() - HEADER_BYTES;
        if rest.checked_sub(CHECK_BYTES).map(|body| body as u64) != Some(u64_at(header, 12)) {
            return Err(Defect::Corrupt("it is shorter or longer than its header says"));
        }
        let (body, check) = bytes[HEADER_BYTES..].split_at(rest - CHECK_BYTES);
        if u32_at(check, 0) != crc32fast::hash(body) {
            return Err(Defect::Corrupt("the checksum of its content does not match"));
        }
        let saved_at = Timestamp(u64_at(header, 28));
        Ok(Image { bytes, saved_at })
    }

    /// The file, byte by byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// When it was taken.
    pub fn saved_at(&self) -> Timestamp {
        self.saved_at
    }

    /// The version of what is in it.
    pub fn version(&self) -> u32 {
        u32_at(&self.bytes, 8)
    }

    /// What is in it: never more than the header says, and never more than is allowed.
    ///
    /// # Errors
    /// If the decoder has no memory.
    pub fn content(&self) -> io::Result<impl Read + '_> {
        let body = &self.bytes[HEADER_BYTES..self.bytes.len() - CHECK_BYTES];
        let mut decoder = zstd::Decoder::with_buffer(body)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(decoder.take(u64_at(&self.bytes, 20).min(MAX_CONTENT_BYTES)))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "there is more to save than a snapshot may hold")
}

/// Counts what goes through it, and lets no more through than a snapshot may hold.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        if self.bytes > MAX_CONTENT_BYTES { Err(too_large()) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &[u8]) -> Image {
        Image::take(Timestamp::from_secs(7), |out| out.write_all(content)).unwrap()
    }

    fn reads(image: &Image) -> Vec<u8> {
        let mut content = Vec::new();
        image.content().unwrap().read_to_end(&mut content).unwrap();
        content
    }

    /// The header with its own checksum put right.
    fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
        let check = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    #[test]
    fn what_was_taken_down_is_read_back() {
        for content in [&b""[..], b"a", &[7; 100_000]] {
            let opened = Image::open(image(content).bytes().to_vec()).unwrap();
            assert_eq!(opened, image(content));
            assert_eq!((opened.saved_at(), opened.version()), (Timestamp::from_secs(7), VERSION));
            assert_eq!(reads(&opened), content);
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let sound = image(b"what is normal for GET /items").bytes().to_vec();
        for at in 0..sound.len() {
            for flip in 1..=u8::MAX {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                assert!(Image::open(bytes).is_err(), "byte {at}, {flip:08b}");
            }
        }
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_found() {
        let sound = image(b"what is normal for GET /items").bytes().to_vec();
        for length in 0..sound.len() {
            let found = Image::open(sound[..length].to_vec()).unwrap_err();
            assert!(matches!(found, Defect::Corrupt(_)), "{length}: {found}");
        }
        assert!(matches!(Image::open([&sound[..], &[0]].concat()), Err(Defect::Corrupt(_))));
    }

    #[test]
    fn a_file_of_something_else_and_one_of_a_later_release_are_told_apart() {
        assert_eq!(Image::open(b"PNG and more".to_vec()), Err(Defect::Foreign));
        let mut bytes = image(b"x").bytes().to_vec();
        bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
        assert_eq!(Image::open(signed(bytes)), Err(Defect::Newer(2)));
    }

    #[test]
    fn lengths_are_not_believed() {
        let sound = image(&[7; 1000]).bytes().to_vec();
        for (at, value) in [(12, u64::MAX), (12, 0), (20, u64::MAX), (20, MAX_CONTENT_BYTES + 1)] {
            let mut bytes = sound.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let found = Image::open(signed(bytes));
            assert!(matches!(found, Err(Defect::Corrupt(_))), "{at} {value}: {found:?}");
        }
        // A content that says it is shorter than it is is cut there, not read on.
        let mut bytes = sound;
        bytes[20..28].copy_from_slice(&10u64.to_le_bytes());
        assert_eq!(reads(&Image::open(signed(bytes)).unwrap()), [7; 10]);
    }
}
