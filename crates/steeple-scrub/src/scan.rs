//! One look at a text, sixteen bytes at a time: which kinds of bytes it has, how many digits, how long its words are.
//!
//! Written so that the compiler makes vector instructions of it: no branch, no table, arrays of sixteen.

/// Kinds of bytes.
pub(crate) mod kind {
    pub(crate) const AT: u16 = 1;
    /// `:`
    pub(crate) const COLON: u16 = 2;
    /// `%`, `\`
    const BACK: u16 = 4;
    /// Quotes and `<`.
    pub(crate) const QUOTE: u16 = 8;
    /// White space within a line.
    pub(crate) const GAP: u16 = 16;
    /// `-`
    pub(crate) const DASH: u16 = 32;
    pub(crate) const SLASH: u16 = 64;
    pub(crate) const EQUALS: u16 = 128;
    pub(crate) const PLUS: u16 = 256;
    /// `&`
    pub(crate) const AND: u16 = 512;
    pub(crate) const TILDE: u16 = 1024;
    /// A capital. Its bit is the one that distinguishes it from a small letter.
    pub(crate) const UPPER: u16 = 0x2000;
    /// `%`, `\`, `&`
    pub(crate) const ESCAPE: u16 = BACK | AND;
}

/// What a text is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    kinds: u16,
    /// The longest run of letters, digits, `_` and `-`, at least as far as [`RUNS`] show it.
    run: u32,
    /// At least, where there are thousands.
    pub(crate) digits: u32,
}

/// The lengths of runs that anybody asks for.
const RUNS: [u32; 4] = [8, 10, 16, 24];

const BLOCK: usize = 16;

/// Texts of at most so many bytes are looked at byte by byte: to put the lanes of a block together costs more.
pub(crate) const SHORT: usize = 32;

/// Beside the kinds, in [`KINDS`].
const WORD: u16 = 0x4000;
const DIGIT: u16 = 0x8000;

/// For the bytes that make no block.
static KINDS: [u16; 256] = kinds();

const fn kinds() -> [u16; 256] {
    let mut kinds = [0_u16; 256];
    let mut byte = 0_u8;
    loop {
        let (word, digit) = (is_word(byte) as u16, (is_digit(byte) & 1) as u16);
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
        {
            kinds[byte as usize] = sign(byte) as u16 | (other(byte) as u16) << 8 | word << 14 | digit << 15;
        }
        if byte == u8::MAX {
            return kinds;
        }
        byte = byte.wrapping_add(1);
    }
}

impl Scan {
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Self {
        if text.len() <= SHORT { Self::of_short(text, |_, _| ()) } else { Self::of_long(text) }
    }

    #[inline(never)]
    fn of_long(text: &[u8]) -> Self {
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        let (mut scan, mut run) = Self::of_blocks(blocks);
        for &byte in rest {
            let kinds = KINDS.get(usize::from(byte)).copied().unwrap_or(0);
            scan.kinds |= kinds & !(WORD | DIGIT);
            scan.digits = scan.digits.wrapping_add(u32::from(kinds & DIGIT != 0));
            run = if kinds & WORD == 0 { 0 } else { u32::wrapping_add(run, 1) };
            scan.run = scan.run.max(run);
        }
        scan
    }

    /// The same of at most [`SHORT`] bytes, with a look at each one that belongs to no word, and its place.
    #[inline]
    pub(crate) fn of_short(text: &[u8], mut look: impl FnMut(usize, u8)) -> Self {
        /// The lower of each two bits.
        const LOWER: u64 = u64::MAX / 3;
        let mut seen = 0_u16;
        // Two bits for each byte, the last one's at the bottom: whether it is a digit, and whether it belongs to a word.
        let mut bytes = 0_u64;
        for (place, &byte) in text.iter().enumerate() {
            let kinds = KINDS.get(usize::from(byte)).copied().unwrap_or(0);
            seen |= kinds;
            bytes = bytes << 2 | u64::from(kinds >> 14);
            if kinds & WORD == 0 {
                look(place, byte);
            }
        }
        let digits = (bytes & !LOWER).count_ones();
        let words = bytes & LOWER;
        let twos = words & words >> 2;
        let fours = twos & twos >> 4;
        let eights = fours & fours >> 8;
        let sixteens = eights & eights >> 16;
        let found = [eights, eights & twos >> 16, sixteens, sixteens & eights >> 32];
        Self { kinds: seen & !(WORD | DIGIT), run: longest(found), digits }
    }

    /// The same of whole blocks, and how long the run is that they end with.
    fn of_blocks(blocks: &[[u8; BLOCK]]) -> (Self, u32) {
        let mut seen = Seen::default();
        // Which of the last 64 bytes belong to words, the newest on top.
        let mut words = 0_u64;
        // Whether there was a run of each length.
        let mut runs = [0_u64; RUNS.len()];
        for block in blocks {
            words = words >> BLOCK | bits(seen.look(block)) << (64 - BLOCK);
            // A bit in `twos` means that its byte and the one after it are of a word, and so on.
            let twos = words & words >> 1;
            let fours = twos & twos >> 2;
            let eights = fours & fours >> 4;
            if eights != 0 {
                let sixteens = eights & eights >> 8;
                let found = [eights, eights & twos >> 8, sixteens, sixteens & eights >> 16];
                runs.iter_mut().zip(found).for_each(|(runs, found)| *runs |= found);
            }
        }
        let signs = seen.signs.into_iter().fold(0, |all, lane| all | lane);
        let others = seen.others.into_iter().fold(0, |all, lane| all | lane);
        let digits = seen.digits.into_iter().map(u32::from).sum();
        (Self { kinds: u16::from(signs) | u16::from(others) << 8, run: longest(runs), digits }, words.leading_ones())
    }

    pub(crate) const fn has(self, kinds: u16) -> bool {
        self.kinds & kinds != 0
    }

    /// Whether there is a run of letters, digits, `_` and `-` of that length: one of [`RUNS`].
    pub(crate) const fn has_run(self, len: u32) -> bool {
        self.run >= len
    }

    /// The same text without these.
    pub(crate) const fn without(self, kinds: u16) -> Self {
        Self { kinds: self.kinds & !kinds, ..self }
    }
}

/// The longest of [`RUNS`] of which one was found.
#[inline]
fn longest(found: [u64; RUNS.len()]) -> u32 {
    RUNS.iter().zip(found).fold(0, |run, (len, found)| if found == 0 { run } else { *len })
}

/// The bytes seen, lane by lane.
#[derive(Default)]
struct Seen {
    /// The first eight kinds.
    signs: [u8; BLOCK],
    /// The others.
    others: [u8; BLOCK],
    digits: [u8; BLOCK],
}

impl Seen {
    /// Notes a block, and returns which of its bytes are of words. A separate function: as a part of the loop, the compiler
    /// makes no vectors of it.
    #[inline(never)]
    fn look(&mut self, block: &[u8; BLOCK]) -> [u8; BLOCK] {
        let mut words = [0_u8; BLOCK];
        let Self { signs, others, digits } = self;
        let lanes = block.iter().zip(&mut words).zip(digits).zip(signs).zip(others);
        for ((((&byte, word), digits), signs), others) in lanes {
            *signs |= sign(byte);
            *others |= other(byte);
            *word = is_word(byte);
            *digits = digits.saturating_add(is_digit(byte) & 1);
        }
        words
    }
}

#[inline]
pub(crate) const fn is_digit(byte: u8) -> u8 {
    lane(byte.wrapping_sub(b'0') < 10)
}

#[inline]
const fn is_letter(byte: u8) -> u8 {
    lane((byte | 0x20).wrapping_sub(b'a') < 26)
}

/// 1 for a part of a word.
#[inline]
const fn is_word(byte: u8) -> u8 {
    (is_digit(byte) | is_letter(byte) | lane(byte == b'-') | lane(byte == b'_')) & 1
}

/// The first eight kinds.
#[inline]
const fn sign(byte: u8) -> u8 {
    lane(byte == b'@') & 1
        | lane(byte == b':') & 2
        | (lane(byte == b'%') | lane(byte == b'\\')) & 4
        | (lane(byte == b'"') | lane(byte == b'\'') | lane(byte == b'<')) & 8
        | (lane(byte == b' ') | lane(byte == b'\t')) & 16
        | lane(byte == b'-') & 32
        | lane(byte == b'/') & 64
        | lane(byte == b'=') & 128
}

/// The others.
#[inline]
const fn other(byte: u8) -> u8 {
    lane(byte == b'+') & 1 | lane(byte == b'&') & 2 | lane(byte == b'~') & 4 | is_letter(byte) & !byte & 0x20
}

/// The places in `text` of the bytes for which `is` has all ones; for all others, the byte 0 among them, it has none.
pub(crate) fn places<F: Fn(u8) -> u8>(text: &[u8], is: F) -> Places<'_, F> {
    let (blocks, rest) = text.as_chunks();
    Places { blocks: blocks.iter(), rest, is, begin: 0, after: 0, marks: 0 }
}

/// See [`places`].
pub(crate) struct Places<'t, F> {
    blocks: std::slice::Iter<'t, [u8; BLOCK]>,
    /// Behind the blocks.
    rest: &'t [u8],
    is: F,
    /// Where the bytes begin that `marks` is about.
    begin: usize,
    /// Where they end.
    after: usize,
    /// A bit for each place that has not been returned.
    marks: u64,
}

impl<F: Fn(u8) -> u8> Iterator for Places<'_, F> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.marks == 0 {
            self.begin = self.after;
            if let Some(block) = self.blocks.next() {
                self.after = self.begin.saturating_add(BLOCK);
                self.marks = bits(lanes(block, &self.is));
            } else if self.rest.is_empty() {
                return None;
            } else {
                let rest = std::mem::take(&mut self.rest);
                // `is` has none for what fills the block.
                let mut block = [0; BLOCK];
                block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                self.marks = bits(lanes(&block, &self.is));
                self.after = self.begin.saturating_add(rest.len());
            }
        }
        let nth = self.marks.trailing_zeros();
        self.marks &= self.marks.wrapping_sub(1);
        Some(self.begin.saturating_add(usize::try_from(nth).unwrap_or_default()))
    }
}

/// 1 for each byte for which `is` has all ones. Its own function for the reason of [`Seen::look`].
#[inline(never)]
fn lanes(block: &[u8; BLOCK], is: &impl Fn(u8) -> u8) -> [u8; BLOCK] {
    let mut lanes = [0_u8; BLOCK];
    lanes.iter_mut().zip(block).for_each(|(lane, &byte)| *lane = is(byte) & 1);
    lanes
}

/// All ones or none.
#[inline]
pub(crate) const fn lane(is: bool) -> u8 {
    if is { u8::MAX } else { 0 }
}

/// A bit for each lane, which is 0 or 1.
#[inline]
fn bits(lanes: [u8; BLOCK]) -> u64 {
    /// Moves the lowest bits of eight bytes together, to the top.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = lanes.as_chunks();
    let byte = |lanes: &[u8; 8]| u64::from_le_bytes(*lanes).wrapping_mul(GATHER) >> 56;
    eights.iter().rev().fold(0, |bits, lanes| bits << 8 | byte(lanes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, byte by byte.
    fn slowly(text: &[u8]) -> Scan {
        let mut scan = Scan::default();
        let (mut run, mut longest) = (0, 0);
        for &byte in text {
            scan.kinds |= match byte {
                b'@' => kind::AT,
                b':' => kind::COLON,
                b'%' | b'\\' => kind::ESCAPE & !kind::AND,
                b'&' => kind::AND,
                b'"' | b'\'' | b'<' => kind::QUOTE,
                b' ' | b'\t' => kind::GAP,
                b'-' => kind::DASH,
                b'/' => kind::SLASH,
                b'=' => kind::EQUALS,
                b'+' => kind::PLUS,
                b'~' => kind::TILDE,
                b'A'..=b'Z' => kind::UPPER,
                _ => 0,
            };
            scan.digits = scan.digits.saturating_add(byte.is_ascii_digit().into());
            run = if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
                u32::saturating_add(run, 1)
            } else {
                0
            };
            longest = run.max(longest);
        }
        scan.run = longest;
        scan
    }

    #[track_caller]
    fn check(text: &[u8]) {
        let (one, other) = (Scan::of(text), slowly(text));
        assert_eq!((one.kinds, one.digits), (other.kinds, other.digits), "{text:?}");
        assert_eq!(RUNS.map(|len| one.has_run(len)), RUNS.map(|len| other.has_run(len)), "{text:?}");
    }

    proptest! {
        #[test]
        fn sixteen_at_a_time_see_what_one_at_a_time_sees(text in "[a-z0-9A-Z_-]{0,40}[ -~\\t\u{e9}]{0,3}[a-z0-9-]{0,70}") {
            check(text.as_bytes());
        }

        #[test]
        fn places_are_found_in_order_and_none_is_left_out(bytes: Vec<u8>, text in "[a-c=:]{0,70}") {
            let is = |byte| lane(byte == b'=') | lane(byte == b':') | lane(byte == 0xff);
            for text in [&bytes[..], text.as_bytes()] {
                let found: Vec<_> = places(text, is).collect();
                let slowly: Vec<_> =
                    (0..text.len()).filter(|&at| matches!(text[at], b'=' | b':' | 0xff)).collect();
                prop_assert_eq!(found, slowly);
            }
        }

        #[test]
        fn so_they_do_of_texts_of_every_length(len in 0..80_usize, text in "[a-z0-9=&./@_-]{80}") {
            check(&text.as_bytes()[..len]);
        }

        #[test]
        fn so_they_do_of_any_bytes(bytes: Vec<u8>) {
            check(&bytes);
        }
    }
}
