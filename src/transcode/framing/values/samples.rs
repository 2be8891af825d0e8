//! What do values of a given length look like?

pub(in crate::transcode::framing) fn string(length: usize) -> Vec<u8> {
    [b"\"", "x".repeat(length - 2).as_bytes(), b"\""].concat()
}

pub(in crate::transcode::framing) fn number(length: usize) -> Vec<u8> {
    "1".repeat(length).into_bytes()
}

pub(in crate::transcode::framing) fn array(length: usize) -> Vec<u8> {
    [b"[", "7".repeat(length - 2).as_bytes(), b"]"].concat()
}
