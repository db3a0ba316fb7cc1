//! Reads the names of services and methods, and which of them stream, from an encoded `google.protobuf.FileDescriptorSet`.
//!
//! Field numbers are those of `descriptor.proto`, which never change.

/// A gRPC method of a descriptor set. Made by [`Naming::grpc_methods`](crate::Naming::grpc_methods).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcMethod {
    /// `package.Service/Method`.
    pub name: String,
    /// The client sends a stream of messages, not one.
    pub client_streaming: bool,
    /// The server sends a stream of messages, not one.
    pub server_streaming: bool,
}

/// Calls `found` with each method. `None` when the bytes are not a descriptor set.
pub(crate) fn each_method(set: &[u8], mut found: impl FnMut(GrpcMethod)) -> Option<()> {
    each_field(set, |number, file| {
        let (FILE, Value::Bytes(file)) = (number, file) else { return Some(()) };
        let package = text(file, FILE_PACKAGE)?;
        each_field(file, |number, service| match (number, service) {
            (FILE_SERVICE, Value::Bytes(service)) => each_method_of(package, service, &mut found),
            _ => Some(()),
        })
    })
}

const FILE: u64 = 1;
const FILE_PACKAGE: u64 = 2;
const FILE_SERVICE: u64 = 6;
const SERVICE_NAME: u64 = 1;
const SERVICE_METHOD: u64 = 2;
const METHOD_NAME: u64 = 1;
const METHOD_CLIENT_STREAMING: u64 = 5;
const METHOD_SERVER_STREAMING: u64 = 6;

fn each_method_of(package: &str, service: &[u8], found: &mut impl FnMut(GrpcMethod)) -> Option<()> {
    let service_name = text(service, SERVICE_NAME)?;
    let dot = if package.is_empty() { "" } else { "." };
    each_field(service, |number, method| {
        let (SERVICE_METHOD, Value::Bytes(method)) = (number, method) else { return Some(()) };
        let (mut name, mut client_streaming, mut server_streaming) = (None, false, false);
        each_field(method, |number, value| {
            match (number, value) {
                (METHOD_NAME, Value::Bytes(bytes)) => name = Some(str::from_utf8(bytes).ok()?),
                (METHOD_CLIENT_STREAMING, Value::Varint(value)) => client_streaming = value != 0,
                (METHOD_SERVER_STREAMING, Value::Varint(value)) => server_streaming = value != 0,
                _ => (),
            }
            Some(())
        })?;
        if let Some(name) = name {
            found(GrpcMethod {
                name: format!("{package}{dot}{service_name}/{name}"),
                client_streaming,
                server_streaming,
            });
        }
        Some(())
    })
}

/// The last text field of this number; empty without one.
fn text(message: &[u8], field: u64) -> Option<&str> {
    let mut text = "";
    each_field(message, |number, value| {
        if let (true, Value::Bytes(bytes)) = (number == field, value) {
            text = str::from_utf8(bytes).ok()?;
        }
        Some(())
    })?;
    Some(text)
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Calls `found` with the number and the value of each field that is a number or length-delimited; others are skipped.
fn each_field<'a>(mut message: &'a [u8], mut found: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => found(tag >> 3, Value::Varint(varint(&mut message)?))?,
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                found(tag >> 3, Value::Bytes(bytes))?;
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
        each_method(set, |method| names.push(method.name))?;
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

    #[test]
    fn streams_are_read_on_either_side() {
        let set = b"\x0a\x24\x12\x01p\x32\x1f\x0a\x01S\x12\x03\x0a\x01U\x12\x05\x0a\x01C\x28\x01\x12\x05\x0a\x01S\x30\x01\x12\x07\x0a\x01B\x28\x01\x30\x01";
        let mut found = Vec::new();
        each_method(set, |method| found.push((method.name, method.client_streaming, method.server_streaming))).unwrap();
        let expected = [("p.S/U", false, false), ("p.S/C", true, false), ("p.S/S", false, true), ("p.S/B", true, true)];
        assert_eq!(found, expected.map(|(name, client, server)| (name.to_owned(), client, server)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _names = methods(&bytes);
        }
    }
}
