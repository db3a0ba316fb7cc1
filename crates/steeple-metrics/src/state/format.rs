//! The file: a header, sections, a checksum.

use std::time::Duration;

/// Begins every file; its last two digits are the version of the format.
const MAGIC: &[u8; 8] = b"STEEPL01";

/// The largest file, in bytes.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The longest text in a header, and the longest name of a section.
pub(super) const MAX_TEXT: usize = 255;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) service: String,
    pub(super) environment: String,
    pub(super) version: String,
    pub(super) saved: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) header: Header,
    pub(super) sections: Vec<(String, Vec<u8>)>,
}

impl Contents {
    pub(super) fn section(&self, name: &str) -> Option<&[u8]> {
        self.sections.iter().find(|(other, _)| other == name).map(|(_, bytes)| &**bytes)
    }

    /// The file, and the names of the sections that found no room in it.
    pub(super) fn encode(&self) -> (Vec<u8>, Vec<&str>) {
        let mut out = MAGIC.to_vec();
        text(&self.header.service, &mut out);
        text(&self.header.environment, &mut out);
        text(&self.header.version, &mut out);
        let millis = u64::try_from(self.header.saved.as_millis()).unwrap_or(u64::MAX);
        out.extend_from_slice(&millis.to_le_bytes());
        let mut dropped = Vec::new();
        for (name, bytes) in &self.sections {
            let Ok(length) = u32::try_from(bytes.len()) else {
                dropped.push(name.as_str());
                continue;
            };
            // The name with its length, the length of the bytes, and the checksum at the end.
            let more = name.len().saturating_add(bytes.len()).saturating_add(1 + 4 + 8);
            if name.len() > MAX_TEXT || out.len().saturating_add(more) > MAX_BYTES {
                dropped.push(name.as_str());
                continue;
            }
            text(name, &mut out);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        (out, dropped)
    }

    /// `None`: this is not a whole file of this version.
    pub(super) fn decode(file: &[u8]) -> Option<Self> {
        let (contents, sum) = file.split_last_chunk::<8>()?;
        if file.len() > MAX_BYTES || checksum(contents) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut reader = Reader(contents);
        let header = reader.header()?;
        let mut sections = Vec::new();
        while !reader.0.is_empty() {
            let name = reader.text()?;
            let length = usize::try_from(u32::from_le_bytes(*reader.take::<4>()?)).ok()?;
            let (bytes, rest) = reader.0.split_at_checked(length)?;
            reader.0 = rest;
            sections.push((name, bytes.to_vec()));
        }
        Some(Self { header, sections })
    }
}

impl Header {
    /// Reads the header from the beginning of a file, without looking at the rest.
    pub(super) fn decode(file: &[u8]) -> Option<Self> {
        Reader(file).header()
    }

    /// The longest header.
    pub(super) const MAX_BYTES: usize = MAGIC.len() + 3 * (1 + MAX_TEXT) + 8;
}

fn text(text: &str, out: &mut Vec<u8>) {
    let text = steeple_core::text::cut(text, MAX_TEXT);
    out.push(u8::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<String> {
        let [length] = self.take::<1>()?;
        let (taken, rest) = self.0.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        String::from_utf8(taken.to_vec()).ok()
    }

    fn header(&mut self) -> Option<Header> {
        if self.take::<8>()? != MAGIC {
            return None;
        }
        let [service, environment, version] = [self.text()?, self.text()?, self.text()?];
        let saved = Duration::from_millis(u64::from_le_bytes(*self.take::<8>()?));
        Some(Header { service, environment, version, saved })
    }
}

/// FNV-1a with 64 bits: finds files that were cut or that a disk damaged.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents(sections: Vec<(String, Vec<u8>)>) -> Contents {
        let header = Header {
            service: "shop".to_owned(),
            environment: "production".to_owned(),
            version: "1.8.2".to_owned(),
            saved: Duration::from_millis(1_790_000_000_123),
        };
        Contents { header, sections }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(sections in proptest::collection::vec(("[a-z]{1,20}", any::<Vec<u8>>()), 0..8)) {
            let written = contents(sections);
            let (file, dropped) = written.encode();
            prop_assert!(dropped.is_empty());
            prop_assert_eq!(Header::decode(&file), Some(written.header.clone()));
            prop_assert_eq!(Contents::decode(&file), Some(written));
        }

        #[test]
        fn damaged_files_are_refused(place in 0_usize..130, bit in 0_u8..8, cut in 0_usize..130) {
            let (mut file, _) = contents(vec![("a".to_owned(), vec![7; 100])]).encode();
            prop_assert_eq!(Contents::decode(&file[..cut]), None);
            file[place] ^= 1 << bit;
            prop_assert_eq!(Contents::decode(&file), None);
        }

        #[test]
        fn no_bytes_do_any_harm(bytes: Vec<u8>) {
            let mut magic = MAGIC.to_vec();
            magic.extend_from_slice(&bytes);
            let sum = checksum(&magic);
            magic.extend_from_slice(&sum.to_le_bytes());
            for bytes in [bytes, magic] {
                let _read = (Header::decode(&bytes), Contents::decode(&bytes));
            }
        }
    }

    #[test]
    fn a_section_that_does_not_fit_is_left_out() {
        let big = |name: &str, size: usize| (name.to_owned(), vec![0; size]);
        let written = contents(vec![big("a", 3_000_000), big("b", 2_000_000), big("c", 1_000_000)]);
        let (file, dropped) = written.encode();
        assert_eq!(dropped, ["b"]);
        assert!(file.len() <= MAX_BYTES);
        let read = Contents::decode(&file).unwrap();
        assert_eq!(
            (read.section("a").unwrap().len(), read.section("b"), read.section("c").unwrap().len()),
            (3_000_000, None, 1_000_000)
        );
    }
}
