//! What turns a reply into what the client is written?

use std::{cell::RefCell, rc::Rc};

use http::{HeaderMap, header};

use super::{
    ending::{Ending, Fault},
    inflated::Inflated,
    negotiate::{self, Chosen, Wants},
    relay::Opened,
};
use crate::{
    route::{From, Policy},
    transcode::{
        framing::{FRAMINGS, Framing, Opening},
        inflate::Inflater,
        output::Output,
        transcoder::{Transcoder, Turn},
    },
    upstream::{Reply, source::SharedSource},
};

/// What turns a reply into what the client is written.
pub(super) struct Conversion {
    /// What makes events of its records.
    pub(super) transcoder: Transcoder,
    /// What is written.
    pub(super) output: &'static Output,
    /// Its type, by the name that the client used.
    pub(super) media_type: &'static str,
}

impl Conversion {
    /// Makes the conversion of a reply with these fields, whose records are cut by `from`.
    pub(super) fn new(
        policy: &Policy,
        from: &'static Framing,
        chosen: Chosen,
        reply: &HeaderMap,
    ) -> Self {
        let opening = Opening {
            record_bytes_max: policy.limits.record_bytes_max,
            content_type: negotiate::content_type(reply),
        };
        let turn = Turn {
            from,
            opening,
            charset: policy.charset,
            to: chosen.output,
        };
        Self {
            transcoder: Transcoder::new(&turn, &policy.event),
            output: chosen.output,
            media_type: chosen.media_type,
        }
    }
}

/// The source of a reply's plain bytes; the source as it was where its content coding is unknown.
pub(super) fn plain(
    headers: &HeaderMap,
    source: Option<SharedSource>,
) -> Result<Option<SharedSource>, Option<SharedSource>> {
    let Some(coded) = source else { return Ok(None) };
    let codings: Vec<_> = headers.get_all(header::CONTENT_ENCODING).iter().collect();
    let coding = match codings.as_slice() {
        [] => return Ok(Some(coded)),
        [coding] => coding.to_str().unwrap_or_default().trim(),
        _ => return Err(Some(coded)),
    };
    if coding.eq_ignore_ascii_case("identity") {
        return Ok(Some(coded));
    }
    match Inflater::for_coding(coding) {
        Some(inflater) => Ok(Some(Rc::new(RefCell::new(Inflated::new(coded, inflater))))),
        None => Err(Some(coded)),
    }
}

/// What the relay needs of a reply that came after the response's head.
pub(super) fn open_late(
    policy: &Policy,
    wants: &Wants,
    chosen: Chosen,
    reply: Reply,
) -> Result<Opened, Fault> {
    let fault = |message: String| Fault::new(Ending::UpstreamError, message);
    let Reply {
        head,
        source,
        framing,
        endpoint,
        lease,
    } = reply;
    if !head.status.is_success() {
        return Err(fault(format!("the upstream answered {}", head.status)));
    }
    let Some(framing) = negotiate::convertible(policy, wants, &head, framing) else {
        let media_type = negotiate::media_type(&head.headers);
        return Err(fault(format!(
            "the upstream's reply is of the type {media_type:?}, which this route does not convert"
        )));
    };
    let source = plain(&head.headers, source)
        .map_err(|_| fault("the upstream's reply has an unknown content coding".to_owned()))?;
    Ok(Opened {
        source,
        transcoder: Conversion::new(policy, framing, chosen, &head.headers).transcoder,
        endpoint,
        lease,
    })
}

/// A framing to write heartbeats and errors with before the reply's own is known.
pub(super) fn any_framing(policy: &Policy) -> &'static Framing {
    match policy.from {
        From::Framing(framing) => framing,
        From::Auto => FRAMINGS[0],
    }
}
