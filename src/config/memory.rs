//! The one number for memory: a size, or what the machine allows.
//!
//! What the machine allows is not looked up here: that is done when it is needed.

use bytesize::ByteSize;

use super::value::Setting;

/// How much memory the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// What the kernel allows.
    Auto,
    /// So many bytes.
    Bytes(u64),
}

impl MemoryLimit {
    /// The program without traffic takes a third of it.
    const LEAST: u64 = 64 * bytesize::MIB;
}

impl Setting for MemoryLimit {
    const PLACEHOLDER: &'static str = "SIZE";
    const EXPECTED: &'static str = "a memory limit; write auto or at least 64MiB, such as 512MiB";

    fn parse(text: &str) -> Option<MemoryLimit> {
        if text == "auto" {
            return Some(MemoryLimit::Auto);
        }
        let bytes = <ByteSize as Setting>::parse(text)?.as_u64();
        (bytes >= MemoryLimit::LEAST).then_some(MemoryLimit::Bytes(bytes))
    }

    fn show(&self) -> String {
        match self {
            MemoryLimit::Auto => "auto".to_owned(),
            MemoryLimit::Bytes(bytes) => ByteSize::b(*bytes).show(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_or_auto_is_read_and_written_alike() {
        for text in ["auto", "64MiB", "1GiB", "100000001B"] {
            let limit = MemoryLimit::parse(text).expect(text);
            assert_eq!(limit.show(), text);
        }
    }

    #[test]
    fn what_nothing_could_run_in_is_refused() {
        for text in ["63MiB", "0", "lots", "", "Auto", "-1"] {
            assert_eq!(MemoryLimit::parse(text), None, "{text:?}");
        }
    }
}
