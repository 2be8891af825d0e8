//! Weir: a reverse proxy that turns the streams of legacy backends into Server-Sent Events.
//!
//! A weir is a low dam: water passes over it without being held back. This page says where
//! everything is and what is always true; the words are those of the table at its end.
//!
//! # One request, end to end
//!
//! ```text
//!  edge ─► proxy ─┬─► route ─► upstream ─► balance            finding the endpoint
//!                 └─► relay ─► transcode ─► framing, output   turning the stream
//!  drain, error, telemetry, alarm, reactor: below everyone, know nobody
//! ```
//!
//! [`edge`] accepts a connection, agrees on TLS and tells HTTP/1 from HTTP/2; hyper reads the request;
//! [`proxy`] matches a [`route`], rewrites the head, leases an endpoint of an [`upstream`] and sends.
//! When the reply's head is in, the route and the client's `Accept` decide what to write. A relay
//! has its [`Source`](upstream::source::Source) fill the thread's scratch, has [`transcode`] cut that into
//! records and append them as events to the thread's output, and whoever writes the response sends all
//! that is ready, then waits: over HTTP/2 a body that hyper polls, over HTTP/1 the edge itself.
//!
//! # What is always true
//!
//! 1. Nothing under [`transcode`] knows sockets, clocks or async; time and randomness are arguments.
//! 2. Every buffer, queue, loop and wait has a named bound.
//! 3. For every way to cut the upstream's bytes into chunks, the events are the same. Chunks never
//!    delimit records (except by the framing `chunks`, which says so).
//! 4. A record goes out at the earliest byte that proves it complete.
//! 5. Unless the client is gone, output ends at an event's end. A torn event is never written, not on
//!    drain, error, overflow or heartbeat.
//! 6. A stranger's bytes reach an SSE field name, id or event name only through a type that cannot hold
//!    CR, LF or NUL.
//! 7. A cut stream never looks complete, and a complete stream never looks cut.
//! 8. A generation of the configuration never changes; open streams keep theirs.
//! 9. No mutable statics. Clean-up is `Drop`.
//! 10. Peers' bytes never panic.
//!
//! # The data path
//!
//! - **Thread per core.** Each worker thread has its own runtime, listening sockets (`SO_REUSEPORT`),
//!   upstream pools, scratch and output; its tasks never leave it. Between threads there are only the
//!   routes, the upstreams' endpoints, what counts against [`limits`], what compressed streams may hold, what
//!   operators ask and the word to stop ([`app`]). Operators are answered by a thread of their own ([`admin`]),
//!   from each worker's list of its open streams ([`proxy::streams`]), in which nothing is written but at a
//!   stream's begin and end.
//! - **One task a stream, no channel.** The task polls the relay when the client can take more; the relay
//!   polls its source, which is the upstream's connection. Not being polled is the back-pressure; being
//!   dropped is the cancellation and gives everything back.
//! - **Nothing held in silence.** What is read lies in the thread's scratch and what is written in its
//!   output; a stream has a buffer of its own only while a record is incomplete or its client does not take
//!   what is ready, and what its content coding looks back on, where the route compresses
//!   ([`transcode::compress`]). To that end an HTTP/1 connection is taken over from hyper once a stream's request
//!   is read, and goes back to a new hyper connection for the next one (`edge/takeover.rs`); replies
//!   over HTTP/1.1 are read by a codec of our own on httparse (`upstream/http1/`), and over HTTP/2 by
//!   the h2 crate. An HTTP/1 request whose body still comes while its reply flows stays with hyper.
//! - **One read and one write an event.** A read shorter than the scratch tells that there is no more; a
//!   write gathers all that is ready, from 16 KiB at first to 256 KiB for a client that takes all. Over
//!   HTTP/2 a turn's frames are held and sent together.
//! - **What hyper does not tell** goes through [`proxy::link`]: whether the client takes nothing, whether
//!   the last bytes are on the wire, what must go on while the body is not polled. The edge looks at the
//!   socket beneath hyper, so that a client that leaves is seen although it pipelined.
//! - **Sockets are watched by the worker** ([`reactor`]), in a sixth of the memory that the runtime takes to watch one;
//!   the runtime watches one descriptor for all of them.
//! - **One timer a stream** ([`alarm`]), never moved by an event.
//! - **A lane of counts a worker** ([`telemetry::metrics`]): no core waits for another to count. Spans of traces
//!   go to a thread of their own ([`collector`]) when a stream begins and when it ends.
//! - **What does not stream is made to** (`upstream/poll.rs`, `upstream/websocket.rs`): a bridge is a source of
//!   records like any reply's body.
//!
//! # Where everything is
//!
//! | module | answers the question | level |
//! |---|---|---|
//! | [`cli`] | what can the command line do? | 8 |
//! | [`app`] | how are the parts built, joined, reloaded and stopped? | 7 |
//! | [`config`] | what may a file say, and what is wrong with this one? | 6 |
//! | [`edge`] | how does a connection come in, and when must it go? | 5 |
//! | [`admin`] | what do operators ask? | 5 |
//! | [`proxy`] | what happens to one request? | 4 |
//! | [`collector`] | how do spans reach their collector? | 3 |
//! | [`route`] | which upstream, under which policy? | 3 |
//! | [`upstream`] | who can take this request? | 2 |
//! | [`transcode`] | how does one stream turn into the other? | 1 |
//! | [`balance`] | which endpoint of these loads? | 1 |
//! | [`health`] | may an endpoint take a stream, after what became of the others? | 1 |
//! | [`error`] | why was there no stream, and what is the client told? | 1 |
//! | [`limits`] | who may still come in? | 1 |
//! | [`drain`] | how does everyone learn that we stop? | 1 |
//! | [`alarm`] | when is a task woken although nothing comes? | 1 |
//! | [`reactor`] | how does a worker learn that a socket is ready? | 1 |
//! | [`pem`] | what certificates and keys does a PEM file hold? | 1 |
//! | [`telemetry`] | where do logs go, and what is counted and traced? | 1 |
//!
//! A module names only modules of its own or a lower level, and only `main`, [`cli`] and [`app`] name
//! [`config`]: each component defines its own `Settings`, and the configuration fills them. A test holds
//! this (`tests/it/tidy.rs`).
//!
//! # Words
//!
//! | word | is |
//! |---|---|
//! | listener, peer | an address we accept on; who connected |
//! | route, table, generation | a rule: match → upstream and policy; all routes; one immutable table with its number |
//! | upstream, endpoint, lease | a named group; one address of it; one stream's place on it, given back on drop |
//! | request, reply, response | from the client; what the upstream sent; what we send |
//! | chunk → record → event | bytes as they came; one upstream message; one message to the client |
//! | framing, decoder, encoder | how records are delimited; what cuts them; what writes events |
//! | stream | one response, head to end |
//! | heartbeat | what is written into silence to keep intermediaries awake |
//! | drain | stop accepting, end streams at an event boundary, leave |

pub mod admin;
pub mod alarm;
pub mod app;
pub mod balance;
pub mod cli;
pub mod collector;
pub mod config;
pub mod drain;
pub mod edge;
pub mod error;
pub mod health;
pub mod limits;
pub mod pem;
pub mod proxy;
pub mod reactor;
pub mod route;
pub mod telemetry;
pub mod transcode;
pub mod upstream;
