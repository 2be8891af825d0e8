//! Is a reply over HTTP/1.1 read the same however it is cut?
//!
//! What reads it is hidden in its module, so the files are taken in here as they are.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use weir_fuzz::{hand::Hand, seed};

use self::upstream::http1::{End, read};

/// The name by which the files know it.
mod transcode {
    pub(crate) use weir::transcode::framing;
}

#[path = "../../src/upstream"]
#[allow(
    dead_code,
    reason = "what writes requests uses the rest of these files"
)]
mod upstream {
    mod trailers;

    pub(crate) mod http1 {
        mod body;
        mod chunked;
        mod fields;
        mod head;
        mod length;

        use http::HeaderMap;

        use self::{
            body::Progress,
            head::{Asked, Head, HeadReader},
        };

        /// As where these files belong.
        const FIELDS_MAX: usize = 100;

        /// What was read of one reply.
        #[derive(Debug, Default, PartialEq, Eq)]
        pub(crate) struct Read {
            status: u16,
            fields: HeaderMap,
            pub(crate) body: Vec<u8>,
            trailers: HeaderMap,
            pub(crate) end: End,
            is_kept: bool,
            /// How many bytes stand behind a reply that is done.
            pub(crate) left_bytes: usize,
        }

        /// How a reply ended.
        #[derive(Debug, Default, PartialEq, Eq)]
        pub(crate) enum End {
            /// Not even its head did.
            #[default]
            NoHead,
            /// More of the body is to come.
            Open,
            Done,
            Bad,
        }

        /// Reads a reply to a request of this kind from pieces; `None` where it is none.
        pub(crate) fn read(asked: u8, pieces: &[&[u8]]) -> Read {
            let mut reader = HeadReader::new(match asked % 8 {
                0 => Asked::Head,
                1 => Asked::Upgrade,
                _ => Asked::Other,
            });
            let (mut head, mut read) = (None::<Head>, Read::default());
            for piece in pieces {
                let mut piece = piece.to_vec();
                let mut at = 0;
                if head.is_none() {
                    let Ok(found) = reader.feed(&piece) else {
                        return read;
                    };
                    let Some((found, used)) = found else { continue };
                    (head, at) = (Some(found), used);
                }
                let head = head.as_mut().expect("just found");
                let rest = &mut piece[at..];
                let mut used = 0;
                if head.body.progress() == Progress::Going {
                    let decoded = head.body.decode(rest);
                    read.body.extend_from_slice(&rest[decoded.payload]);
                    used = decoded.used;
                }
                read.left_bytes += rest.len() - used;
            }
            if let Some(head) = head {
                read.finish(head);
            }
            read
        }

        impl Read {
            fn finish(&mut self, mut head: Head) {
                self.end = match head.body.progress() {
                    Progress::Going => End::Open,
                    Progress::Bad(_) => End::Bad,
                    Progress::Done => match head.body.take_trailers() {
                        Ok(trailers) => {
                            self.trailers = trailers.unwrap_or_default();
                            End::Done
                        }
                        Err(_) => End::Bad,
                    },
                };
                self.status = head.parts.status.as_u16();
                self.fields = head.parts.headers;
                self.is_kept = head.is_kept;
            }
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    hand: Hand,
    asked: u8,
    reply: &'a [u8],
}

/// Replies of every kind, some of them broken.
const REPLIES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: \t y \r\n\r\nhello and more",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;a=b\r\nhello\r\n00C \r\n, wide world\r\n0\r\nX-Sum: 1\r\nTE: x\r\n\r\n",
    "HTTP/1.0 502 Odd\r\nConnection: keep-alive\r\n\r\nto the close",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x01\x02",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 5\r\nTransfer-Encoding: Chunked \r\n\r\n",
];

fuzz_target!(|case: Case<'_>| {
    let whole = read(case.asked, &[case.reply]);
    assert!(whole.body.len() + whole.left_bytes <= case.reply.len());
    let bytewise: Vec<_> = case.reply.chunks(1).collect();
    for pieces in [case.hand.pieces(case.reply), bytewise] {
        let mut cut = read(case.asked, &pieces);
        // Of what comes after a fault nothing counts.
        if whole.end != End::Done {
            cut.left_bytes = whole.left_bytes;
        }
        assert_eq!(cut, whole);
    }
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, noise: u32| {
        seed::mutate(data, size, max_size, noise, |number| {
            let head = [0xFF; Hand::BYTES + 1];
            [&head, REPLIES[number % REPLIES.len()].as_bytes()].concat()
        })
    }
);
