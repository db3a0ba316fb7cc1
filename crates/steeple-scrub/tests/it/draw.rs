//! Draws characters from a fixed seed, and values from their forms.

/// A generator of random values, the same ones each time.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to `below`, without it.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        // PCG's generator, upper bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A value of the form `text{class len}text`, where `len` is a number or a range: `ghp_{alnum 36}`, `glc_{base64 32-400}`.
    pub(crate) fn value(&mut self, form: &str) -> String {
        let mut value = String::new();
        let mut rest = form;
        while let Some((text, hole)) = rest.split_once('{') {
            value.push_str(text);
            let (hole, after) = hole.split_once('}').unwrap_or_else(|| panic!("{form} has an open brace"));
            let (class, len) = hole.split_once(' ').unwrap_or_else(|| panic!("{form} has a hole without a length"));
            let (min, max) = len.split_once('-').unwrap_or((len, len));
            let (min, max): (usize, usize) = (min.parse().unwrap(), max.parse().unwrap());
            let len = min + self.below(max - min + 1);
            let alphabet = alphabet(class).as_bytes();
            value.extend((0..len).map(|_| char::from(*self.one_of(alphabet))));
            rest = after;
        }
        value.push_str(rest);
        value
    }
}

fn alphabet(class: &str) -> &'static str {
    match class {
        "digit" => "0123456789",
        "hex" => "0123456789abcdef",
        "hex-upper" => "0123456789ABCDEF",
        "hexany" => "0123456789abcdefABCDEF",
        "a-h" => "0123456789abcdefgh",
        "letter" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "lower" => "0123456789abcdefghijklmnopqrstuvwxyz",
        "lower-url" => "0123456789abcdefghijklmnopqrstuvwxyz_-",
        "lower-padded" => "0123456789abcdefghijklmnopqrstuvwxyz_-=",
        "upper" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "base32" => "234567ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "bech32" => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
        "alnum" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "word" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_",
        "url" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-",
        "padded" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-=",
        "scale" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-=.",
        "lower-scale" => "0123456789abcdefghijklmnopqrstuvwxyz_-=.",
        "percent" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz%",
        "azure" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_~.",
        "azure-end" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_~.-",
        "lower-base64" => "0123456789abcdefghijklmnopqrstuvwxyz+/_=-",
        "base64" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/",
        "pad" => "=",
        _ => panic!("unknown class `{class}`"),
    }
}
