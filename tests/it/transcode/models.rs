//! How would the binary framings be read by someone who has all bytes at once and no hurry?
//!
//! Written from the formats' descriptions, so that it shares no thought with what it checks.

/// The data of a record, under its name.
pub(super) type Named = (Option<Vec<u8>>, Vec<u8>);

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Complete,
    Truncated,
    TooLarge,
    Bad,
    Reported,
}

/// The records up to the end, and how it ended.
pub(super) type Read = (Vec<Named>, Verdict);

/// What a reader of `framing` makes of `input`.
pub(super) fn read(framing: &str, input: &[u8], record_bytes_max: usize) -> Read {
    let mut records = Vec::new();
    let max = u128::try_from(record_bytes_max).unwrap();
    let verdict = match framing {
        "recordio" => prefixed(input, max, &mut records, decimal),
        "length-u32" => prefixed(input, max, &mut records, big_endian),
        "length-varint" => prefixed(input, max, &mut records, varint),
        "aws-eventstream" => messages(input, max, &mut records),
        "docker" => frames(input, record_bytes_max, &mut records),
        _ => panic!("no model of {framing}"),
    };
    let verdict = verdict.err().unwrap_or(Verdict::Complete);
    (records, verdict)
}

/// Reads a length off the front of its first argument: `Ok(None)` where there is no more.
type Length = fn(&mut &[u8], u128) -> Result<Option<u128>, Verdict>;

fn prefixed(
    mut rest: &[u8],
    max: u128,
    records: &mut Vec<Named>,
    length: Length,
) -> Result<(), Verdict> {
    while let Some(length) = length(&mut rest, max)? {
        let data = take(&mut rest, length)?;
        if !data.is_empty() {
            records.push((None, data.to_vec()));
        }
    }
    Ok(())
}

fn decimal(rest: &mut &[u8], max: u128) -> Result<Option<u128>, Verdict> {
    while let Some(b'\r' | b'\n') = rest.first() {
        *rest = &rest[1..];
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, end) = rest.split_at(count);
    let mut length = 0;
    for (index, digit) in digits.iter().enumerate() {
        length = length * 10 + u128::from(digit - b'0');
        limit(index >= 20, Verdict::Bad)?;
        limit(length > max, Verdict::TooLarge)?;
    }
    if let Some(behind) = end.strip_prefix(b"\n").or(end.strip_prefix(b"\r\n")) {
        *rest = behind;
        return Ok(Some(length));
    }
    let is_open = end.is_empty() || end == b"\r";
    Err(if is_open {
        Verdict::Truncated
    } else {
        Verdict::Bad
    })
}

fn big_endian(rest: &mut &[u8], max: u128) -> Result<Option<u128>, Verdict> {
    if rest.is_empty() {
        return Ok(None);
    }
    let mut length = 0;
    for index in 0..4 {
        length = length * 256 + u128::from(*rest.get(index).ok_or(Verdict::Truncated)?);
        limit(length > max, Verdict::TooLarge)?;
    }
    *rest = &rest[4..];
    Ok(Some(length))
}

fn varint(rest: &mut &[u8], max: u128) -> Result<Option<u128>, Verdict> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (mut length, mut index) = (0, 0);
    loop {
        let byte = *rest.get(index).ok_or(Verdict::Truncated)?;
        limit(index == 9 && byte > 1, Verdict::Bad)?;
        length += u128::from(byte % 128) << (7 * index);
        limit(length > max, Verdict::TooLarge)?;
        index += 1;
        if byte < 128 {
            *rest = &rest[index..];
            return Ok(Some(length));
        }
    }
}

fn messages(mut rest: &[u8], max: u128, records: &mut Vec<Named>) -> Result<(), Verdict> {
    while !rest.is_empty() {
        let whole = rest;
        let total = u128::from(number(take(&mut rest, 4)?));
        let headers_bytes = u128::from(number(take(&mut rest, 4)?));
        let crc = number(take(&mut rest, 4)?);
        limit(crc != crc32(&whole[..8]), Verdict::Bad)?;
        limit(total < 16 + headers_bytes, Verdict::Bad)?;
        limit(headers_bytes > 128 * 1024, Verdict::Bad)?;
        limit(total - 16 - headers_bytes > max, Verdict::TooLarge)?;
        let mut content = take(&mut rest, total - 16)?;
        let crc = number(take(&mut rest, 4)?);
        limit(crc != crc32(&whole[..12 + content.len()]), Verdict::Bad)?;
        // A header that ends too early is no cut: the message is whole.
        let headers = headers(take(&mut content, headers_bytes)?).map_err(|_| Verdict::Bad)?;
        let own = |name: &str| {
            let mut found = headers.iter().filter(|(own, _)| own == name.as_bytes());
            let first = found.next().map(|(_, value)| value.clone());
            limit(found.next().is_some(), Verdict::Bad)?;
            first.map(|text| text.ok_or(Verdict::Bad)).transpose()
        };
        let [kind, event, exception, _, _] = [
            own(":message-type")?,
            own(":event-type")?,
            own(":exception-type")?,
            own(":error-code")?,
            own(":error-message")?,
        ];
        match kind.as_deref() {
            Some(b"error") => return Err(Verdict::Reported),
            Some(b"exception") => {
                records.push((exception, content.to_vec()));
                return Err(Verdict::Reported);
            }
            _ => records.push((event, content.to_vec())),
        }
    }
    Ok(())
}

/// A header's name, and its value if that is a string.
type Header = (Vec<u8>, Option<Vec<u8>>);

fn headers(mut rest: &[u8]) -> Result<Vec<Header>, Verdict> {
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let length = number(take(&mut rest, 1)?);
        limit(length == 0, Verdict::Bad)?;
        let name = take(&mut rest, u128::from(length))?.to_vec();
        let kind = take(&mut rest, 1)?[0];
        let length = match kind {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            6 | 7 => number(take(&mut rest, 2)?),
            9 => 16,
            _ => return Err(Verdict::Bad),
        };
        let value = take(&mut rest, u128::from(length))?.to_vec();
        headers.push((name, (kind == 7).then_some(value)));
    }
    Ok(headers)
}

fn frames(mut rest: &[u8], max: usize, records: &mut Vec<Named>) -> Result<(), Verdict> {
    let names = ["stdin", "stdout", "stderr", "systemerr"];
    let mut lines: [Vec<u8>; 4] = Default::default();
    let record = |stream: usize, line: &[u8]| {
        let data = line.strip_suffix(b"\r").unwrap_or(line);
        (Some(names[stream].as_bytes().to_vec()), data.to_vec())
    };
    while !rest.is_empty() {
        let header = take(&mut rest, 8)?;
        let stream = usize::from(header[0]);
        limit(stream > 3 || header[1..4] != [0, 0, 0], Verdict::Bad)?;
        let length = usize::try_from(number(&header[4..])).unwrap();
        let (payload, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        for byte in payload {
            let line = &mut lines[stream];
            if *byte == b'\n' {
                records.push(record(stream, line));
                line.clear();
                continue;
            }
            line.push(*byte);
            let is_cr = *byte == b'\r';
            limit(line.len() > max + usize::from(is_cr), Verdict::TooLarge)?;
        }
        limit(payload.len() < length, Verdict::Truncated)?;
    }
    let left = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    records.extend(left.map(|(stream, line)| record(stream, line)));
    Ok(())
}

fn limit(is_passed: bool, verdict: Verdict) -> Result<(), Verdict> {
    if is_passed { Err(verdict) } else { Ok(()) }
}

fn take<'a>(rest: &mut &'a [u8], length: u128) -> Result<&'a [u8], Verdict> {
    let length = usize::try_from(length).map_err(|_| Verdict::Truncated)?;
    rest.split_off(..length).ok_or(Verdict::Truncated)
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number * 256 + u32::from(*byte))
}

/// CRC-32 (ISO 3309), a bit at a time.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let is_odd = crc % 2 == 1;
            crc /= 2;
            if is_odd {
                crc ^= 0xEDB8_8320;
            }
        }
    }
    !crc
}
