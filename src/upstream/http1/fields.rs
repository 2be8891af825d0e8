//! How do parsed fields become a map, and which tokens does a list hold?

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields as a map; `None` where one of them is none after all.
pub(super) fn collect(parsed: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(field.value).ok()?;
        fields.append(name, value);
    }
    Some(fields)
}

/// The members of a list, over all its fields; a value that is no text has none.
pub(super) fn members<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(name).iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',').map(str::trim))
}

/// Whether the list holds this token, in whichever case.
pub(super) fn has_token(fields: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    members(fields, name).any(|member| member.eq_ignore_ascii_case(token))
}
