//! Does whoever waits for a socket learn all that it has to tell, and is little kept for it?

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    task::JoinSet,
    time::timeout,
};
use tokio_util::either::Either;

use super::{Place, Reactor, Watched};

/// Long enough for a loaded machine; nothing here waits for it but a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test beside a lookout.
fn watching<T>(test: impl AsyncFnOnce(&Arc<Reactor>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(async {
        let reactor = Reactor::start().unwrap();
        timeout(PATIENCE, test(&reactor)).await.unwrap()
    })
}

/// A watched socket, and the other end of it, which blocks.
fn pair(reactor: &Arc<Reactor>) -> (Watched, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Watched::stream(ours, reactor).unwrap(), theirs)
}

/// Reads at most so much, if anything is known to be there.
fn read_now(socket: &mut Watched, bytes: usize) -> Poll<usize> {
    let mut room = vec![0; bytes];
    let mut buffer = ReadBuf::new(&mut room);
    let mut cx = Context::from_waker(Waker::noop());
    std::pin::Pin::new(socket)
        .poll_read(&mut cx, &mut buffer)
        .map(|read| {
            read.unwrap();
            buffer.filled().len()
        })
}

#[test]
fn what_a_silent_socket_takes_is_small() {
    assert!(size_of::<Place>() <= 40, "{}", size_of::<Place>());
    assert!(size_of::<Watched>() <= 16, "{}", size_of::<Watched>());
    // As it stands in a connection, beside what is rarer.
    assert_eq!(size_of::<Either<Watched, Box<()>>>(), size_of::<Watched>());
}

#[test]
fn a_reader_is_woken_by_what_comes() {
    watching(async |reactor| {
        let (mut ours, mut theirs) = pair(reactor);
        let reading = async {
            let mut came = [0; 4];
            ours.read_exact(&mut came).await.unwrap();
            came
        };
        let writing = async {
            // The reader waits by now.
            tokio::task::yield_now().await;
            theirs.write_all(b"pi").unwrap();
            tokio::task::yield_now().await;
            theirs.write_all(b"ng").unwrap();
        };
        assert_eq!(tokio::join!(reading, writing).0, *b"ping");
    });
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_seen() {
    watching(async |reactor| {
        let (mut ours, mut theirs) = pair(reactor);
        theirs.write_all(b"last").unwrap();
        drop(theirs);
        let mut came = Vec::new();
        ours.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"last");
        // And whenever it is asked again.
        assert_eq!(ours.read(&mut [0; 4]).await.unwrap(), 0);
    });
}

#[test]
fn an_end_in_the_middle_of_a_wait_is_seen() {
    watching(async |reactor| {
        let (mut ours, theirs) = pair(reactor);
        let leaving = async {
            tokio::task::yield_now().await;
            drop(theirs);
        };
        let mut room = [0; 4];
        let (read, ()) = tokio::join!(ours.read(&mut room), leaving);
        assert_eq!(read.unwrap(), 0);
    });
}

#[test]
fn a_short_read_says_that_there_is_no_more() {
    watching(async |reactor| {
        let (mut ours, mut theirs) = pair(reactor);
        theirs.write_all(b"abcdef").unwrap();
        let mut first = [0; 4];
        ours.read_exact(&mut first).await.unwrap();
        assert_eq!(read_now(&mut ours, 4), Poll::Ready(2));
        // What comes now is not looked for, until the lookout has its turn.
        theirs.write_all(b"g").unwrap();
        assert_eq!(read_now(&mut ours, 4), Poll::Pending);
        assert_eq!(ours.read(&mut first).await.unwrap(), 1);
    });
}

#[test]
fn memory_that_is_not_initialized_gets_all_that_comes() {
    watching(async |reactor| {
        let (mut ours, mut theirs) = pair(reactor);
        let sent: Vec<u8> = (0..100_000_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let expected = sent.clone();
        let writer = std::thread::spawn(move || theirs.write_all(&sent).unwrap());
        let mut came = Vec::with_capacity(1 << 20);
        while ours.read_buf(&mut came).await.unwrap() > 0 {}
        writer.join().unwrap();
        assert_eq!(came, expected);
    });
}

#[test]
fn a_writer_goes_on_once_the_peer_reads() {
    watching(async |reactor| {
        let (mut ours, mut theirs) = pair(reactor);
        let sent = vec![b'x'; 4 << 20];
        let length = sent.len();
        let reader = std::thread::spawn(move || {
            let mut came = Vec::new();
            theirs.read_to_end(&mut came).unwrap();
            came.len()
        });
        ours.write_all(&sent).await.unwrap();
        ours.shutdown().await.unwrap();
        assert_eq!(reader.join().unwrap(), length);
    });
}

#[test]
fn both_sides_may_be_waited_for_at_once() {
    watching(async |reactor| {
        let (ours, mut theirs) = pair(reactor);
        let (mut reading, mut writing) = tokio::io::split(ours);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut came = [0; 4];
            reading.read_exact(&mut came).await.unwrap();
        });
        tasks.spawn(async move { writing.write_all(&vec![b'x'; 4 << 20]).await.unwrap() });
        let peer = std::thread::spawn(move || {
            // It writes when it has read some, so that a side alone is ready each time.
            let mut room = vec![0; 1 << 20];
            for _ in 0..4 {
                theirs.read_exact(&mut room).unwrap();
                theirs.write_all(b"p").unwrap();
            }
            theirs
        });
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        drop(peer.join().unwrap());
    });
}

#[test]
fn places_are_given_back() {
    watching(async |reactor| {
        for _ in 0..100 {
            let (mut ours, theirs) = pair(reactor);
            assert_eq!(read_now(&mut ours, 1), Poll::Pending);
            drop(theirs);
        }
        assert!(reactor.places().is_empty());
        assert!(reactor.places().capacity() < 100);
    });
}
