//! How long is the body of a reply, and may another reply follow it?

use http::{HeaderMap, StatusCode, Version, header, response};

use super::{body::Body, chunked::Chunked, fields::has_token, head::Asked};

/// The longest body that is believed, in bytes.
const BODY_BYTES_MAX: u64 = u64::MAX >> 1;

/// How long the body is, by the first rule that fits (RFC 9112 §6.3); leaves fields that say the same.
///
/// # Errors
/// The head does not say it, or says it in two ways.
pub(super) fn body(parts: &mut response::Parts, asked: Asked) -> Result<Body, &'static str> {
    let is_chunked = is_chunked(parts)?;
    let length = length(&parts.headers)?;
    parts.headers.remove(header::CONTENT_LENGTH);
    if let Some(length) = length.filter(|_| !is_chunked) {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let has_none = parts.status.is_informational()
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED
        || asked == Asked::Head;
    Ok(match length {
        _ if has_none => Body::NONE,
        _ if is_chunked => Body::Chunked(Chunked::new()),
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    })
}

/// Whether the body comes in chunks. Other codings were not asked for, and HTTP/1.0 knows none.
fn is_chunked(parts: &response::Parts) -> Result<bool, &'static str> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(false);
    };
    let is_chunked = coding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if !is_chunked || codings.next().is_some() {
        return Err("the body has a transfer coding that was not asked for");
    }
    if parts.version == Version::HTTP_10 {
        return Err("the body has a transfer coding, which HTTP/1.0 does not know");
    }
    Ok(true)
}

/// The length that is said, once or several times alike.
fn length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut said = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        let list = value.to_str().map_err(|_| NO_LENGTH)?;
        for text in list.split(',').map(str::trim) {
            // A number may not have a sign here.
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let length = text.parse::<u64>().ok().filter(|_| is_number);
            let length = length
                .filter(|length| *length <= BODY_BYTES_MAX)
                .ok_or(NO_LENGTH)?;
            if said.is_some_and(|said| said != length) {
                return Err("the lengths of the body differ");
            }
            said = Some(length);
        }
    }
    Ok(said)
}

/// Whether the connection stays open (RFC 9112 §9.3). Who says both length and chunks is not trusted so far.
pub(super) fn is_kept(parts: &response::Parts) -> bool {
    let fields = &parts.headers;
    let is_ambiguous = fields.contains_key(header::TRANSFER_ENCODING)
        && fields.contains_key(header::CONTENT_LENGTH);
    if is_ambiguous || has_token(fields, &header::CONNECTION, "close") {
        return false;
    }
    parts.version == Version::HTTP_11 || has_token(fields, &header::CONNECTION, "keep-alive")
}

const NO_LENGTH: &str = "the length of the body is no number";
