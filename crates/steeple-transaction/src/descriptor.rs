//! Reads the names of services and methods from an encoded `google.protobuf.FileDescriptorSet`, and nothing else.
//!
//! Field numbers are those of `descriptor.proto`, which never change.

/// Calls `found` with each `package.Service/Method`. `None` when the bytes are no descriptor set.
pub(crate) fn each_method(set: &[u8], mut found: impl FnMut(String)) -> Option<()> {
    each_field(set, |number, file| {
        if number != FILE {
            return Some(());
        }
        let mut package = "";
        each_field(file, |number, bytes| {
            if number == FILE_PACKAGE {
                package = str::from_utf8(bytes).ok()?;
            }
            Some(())
        })?;
        each_field(
            file,
            |number, service| {
                if number == FILE_SERVICE { each_method_of(package, service, &mut found) } else { Some(()) }
            },
        )
    })
}

const FILE: u64 = 1;
const FILE_PACKAGE: u64 = 2;
const FILE_SERVICE: u64 = 6;
const SERVICE_NAME: u64 = 1;
const SERVICE_METHOD: u64 = 2;
const METHOD_NAME: u64 = 1;

fn each_method_of(package: &str, service: &[u8], found: &mut impl FnMut(String)) -> Option<()> {
    let mut name = "";
    each_field(service, |number, bytes| {
        if number == SERVICE_NAME {
            name = str::from_utf8(bytes).ok()?;
        }
        Some(())
    })?;
    let dot = if package.is_empty() { "" } else { "." };
    each_field(service, |number, method| {
        if number != SERVICE_METHOD {
            return Some(());
        }
        each_field(method, |number, bytes| {
            if number == METHOD_NAME {
                found(format!("{package}{dot}{name}/{}", str::from_utf8(bytes).ok()?));
            }
            Some(())
        })
    })
}

/// Calls `found` with the number and the bytes of each length-delimited field; others are skipped.
fn each_field<'a>(mut message: &'a [u8], mut found: impl FnMut(u64, &'a [u8]) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => drop(varint(&mut message)?),
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                found(tag >> 3, bytes)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn methods(set: &[u8]) -> Option<Vec<String>> {
        let mut names = Vec::new();
        each_method(set, |name| names.push(name))?;
        Some(names)
    }

    #[test]
    fn bytes_that_are_cut_are_no_descriptor_set() {
        let whole = b"\x0a\x19\x12\x01p\x32\x14\x0a\x01S\x12\x06\x0a\x01A\x12\x01x\x12\x07\x0a\x02BC\x12\x01x";
        assert_eq!(methods(whole).unwrap(), ["p.S/A", "p.S/BC"]);
        for end in 1..whole.len() {
            assert_eq!(methods(&whole[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _names = methods(&bytes);
        }
    }
}
