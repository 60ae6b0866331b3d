//! Tests of the stream's limits, over an in-memory pipe with paused time.

#[path = "stream_pipe.rs"]
mod pipe;

use std::{cell::Cell, net::IpAddr, rc::Rc, sync::Arc};

use futures::future::join;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    task::{LocalSet, spawn_local},
    time::timeout,
};

use self::pipe::{Flood, Pipe};
use super::*;
use crate::web::http::{Answers, connection::BodyWanted};

const LIMITS: Limits = Limits { head: Duration::from_secs(5), answer: Duration::from_secs(30) };
const HOUR: Duration = Duration::from_hours(1);
const KIB: usize = 1024;
/// How many bytes fit between the two ends, like the kernel's socket buffers.
const BUFFER: usize = 4 * KIB;

/// A client, the server's end of its connection, and whether the server discarded unsent bytes.
fn connect() -> (DuplexStream, Wire<Pipe>, Rc<Cell<bool>>) {
    let (client, stream) = duplex(BUFFER);
    let discards = Rc::<Cell<bool>>::default();
    let pipe = Pipe { stream, discards: Rc::clone(&discards) };
    (client, Wire::new(pipe, LIMITS), discards)
}

/// Reads until the connection ends. Returns how many bytes arrived and why it ended.
async fn read_to_the_end<S: Transport>(wire: &mut Wire<S>) -> (usize, String) {
    let mut buffer = vec![0; 100 * KIB];
    let mut came = 0;
    while came < 100 * KIB * KIB {
        match soon(wire.read(&mut buffer)).await {
            Ok(0) => return (came, "closed".to_owned()),
            Ok(read) => came += read,
            Err(error) => return (came, error.to_string()),
        }
    }
    panic!("it does not end");
}

async fn soon<F: Future>(work: F) -> F::Output {
    timeout(HOUR, work).await.expect("it does not end")
}

async fn read_exactly<S: Transport>(wire: &mut Wire<S>, bytes: usize) {
    wire.read_exact(&mut vec![0; bytes]).await.unwrap();
}

/// Whether no byte comes within an hour.
async fn stays_silent<S: Transport>(wire: &mut Wire<S>) -> bool {
    timeout(HOUR, wire.read_u8()).await.is_err()
}

/// Announces a chunked body.
fn chunks<S: Transport>(wire: &Wire<S>) -> BodyWanted {
    wire.connection().want_body(None)
}

// Heads.

#[tokio::test(start_paused = true)]
async fn a_head_that_stops_is_closed_at_its_deadline() {
    let (mut client, mut wire, discards) = connect();
    assert!(stays_silent(&mut wire).await, "the time starts with the first byte");
    client.write_all(b"GET / HT").await.unwrap();
    let started = Instant::now();
    assert_eq!(read_to_the_end(&mut wire).await, (8, "slow_request".to_owned()));
    assert_eq!(started.elapsed(), LIMITS.head);
    assert!(!discards.get(), "an answer before it may still be on its way");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_closed_at_its_deadline() {
    let (mut client, mut wire, _) = connect();
    let started = Instant::now();
    let trickle = async {
        loop {
            client.write_all(b"a").await.unwrap();
            sleep(Duration::from_millis(300)).await;
        }
    };
    let (came, reason) = tokio::select! {
        () = trickle => unreachable!(),
        ended = read_to_the_end(&mut wire) => ended,
    };
    assert_eq!((came, reason.as_str()), (17, "slow_request"));
    assert_eq!(started.elapsed(), LIMITS.head);
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_pause_is_closed_and_leaves_time_for_others() {
    let work = async {
        let ticks = Rc::<Cell<u32>>::default();
        let others = Rc::clone(&ticks);
        spawn_local(async move {
            loop {
                sleep(IDLE_REST).await;
                others.set(others.get() + 1);
            }
        });
        let started = Instant::now();
        let (came, reason) = read_to_the_end(&mut Wire::new(Flood, LIMITS)).await;
        assert_eq!(reason, "slow_request");
        let rests = usize::try_from(started.elapsed().as_millis() / IDLE_REST.as_millis()).unwrap();
        assert!(came <= (rests + 1) * IDLE_SLICE, "{came} bytes in {rests} rests");
        assert!(ticks.get() as usize + 1 >= rests, "{} of {rests}", ticks.get());
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_handler_does_not_count_as_the_clients() {
    let (mut client, mut wire, _) = connect();
    client.write_all(b"GET /").await.unwrap();
    read_exactly(&mut wire, 5).await;
    let handled = wire.connection().begin();
    assert!(stays_silent(&mut wire).await);
    wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(handled);
    assert!(stays_silent(&mut wire).await, "between two requests the library's limit applies");
    client.write_all(b"GET").await.unwrap();
    let started = Instant::now();
    assert_eq!(read_to_the_end(&mut wire).await.1, "slow_request");
    assert_eq!(started.elapsed(), LIMITS.head, "each head has its own time limit");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_ends_the_connection_without_an_error() {
    let (mut client, mut wire, _) = connect();
    client.write_all(b"GET").await.unwrap();
    drop(client);
    assert_eq!(read_to_the_end(&mut wire).await, (3, "closed".to_owned()));
}

// Reading ahead, and bodies.

#[tokio::test(start_paused = true)]
async fn little_is_read_ahead_of_a_handler() {
    let mut wire = Wire::new(Flood, LIMITS);
    let connection = wire.connection();
    let first = connection.begin();
    read_exactly(&mut wire, 2 * KIB).await;
    assert!(stays_silent(&mut wire).await);
    // The next request is read after the previous one is handled and answered.
    wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    assert!(stays_silent(&mut wire).await);
    let read_on = read_exactly(&mut wire, 2 * KIB);
    let end = async { drop(first) };
    timeout(HOUR, async { tokio::join!(read_on, end) }).await.expect("the reader was not woken");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_wants_a_body_gets_it_with_short_pauses() {
    let mut wire = Wire::new(Flood, LIMITS);
    let connection = wire.connection();
    let _handled = connection.begin();
    read_exactly(&mut wire, 2 * KIB).await;
    assert!(stays_silent(&mut wire).await);
    let wanted = connection.want_body(Some(1024 * KIB));
    let started = Instant::now();
    let first = wire.read(&mut vec![0; 100 * KIB]).await.unwrap();
    assert!((32 * KIB..=64 * KIB).contains(&first), "{first}");
    soon(read_exactly(&mut wire, 1024 * KIB - first)).await;
    let rests = u32::try_from(1024 * KIB / SLICE).unwrap();
    assert!((REST..=REST * rests).contains(&started.elapsed()), "{:?}", started.elapsed());
    drop(wanted);
    assert!(stays_silent(&mut wire).await, "what follows the body is not read ahead");
}

#[tokio::test(start_paused = true)]
async fn chunks_that_are_mostly_framing_close_the_connection() {
    let (mut client, mut wire, discards) = connect();
    let connection = wire.connection();
    let _handled = connection.begin();
    let _wanted = chunks(&wire);
    // Chunks of one byte take six bytes of the connection each.
    let flood = async { while client.write_all(&[b'1'; KIB]).await.is_ok() {} };
    let read = async {
        for _ in 0..8 * KIB {
            read_exactly(&mut wire, KIB).await;
            connection.took(KIB as u64 / 6);
        }
        let ended = read_to_the_end(&mut wire).await;
        drop(wire);
        ended
    };
    let ((), (came, reason)) = tokio::join!(flood, read);
    assert_eq!(reason, "framing");
    // The rest of what the body allows, and a mebibyte.
    let allowed = 8 * KIB * (9 * (KIB / 6) - KIB) + KIB * KIB;
    assert!((allowed..allowed + 4 * KIB).contains(&came), "{came}, not {allowed}");
    assert!(discards.get());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_is_woken_when_a_body_is_wanted() {
    let work = async {
        let mut wire = Wire::new(Flood, LIMITS);
        let connection = wire.connection();
        let _handled = connection.begin();
        let reading = spawn_local(async move { read_exactly(&mut wire, 3 * KIB).await });
        sleep(HOUR).await;
        assert!(!reading.is_finished());
        let _wanted = connection.want_body(None);
        soon(reading).await.unwrap();
    };
    LocalSet::new().run_until(work).await;
}

// Answers.

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_is_discarded_at_its_deadline() {
    let (_client, mut wire, discards) = connect();
    let started = Instant::now();
    let error = soon(wire.write_all(&[b'a'; BUFFER + 1])).await.unwrap_err();
    assert_eq!(error.to_string(), "slow_reader");
    assert_eq!(started.elapsed(), LIMITS.answer);
    assert!(discards.get());
}

#[tokio::test(start_paused = true)]
async fn a_client_must_read_16_kib_of_an_answer_in_each_interval() {
    for (a_second, in_time) in [(TAKEN / 28, true), (TAKEN / 32, false)] {
        let (mut client, mut wire, discards) = connect();
        let answer = vec![b'a'; 10 * TAKEN];
        let take = async {
            let mut piece = vec![0; a_second];
            while client.read(&mut piece).await.unwrap() > 0 {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let sending = async {
            let sent = wire.write_all(&answer).await;
            drop(wire);
            sent
        };
        let ((), sent) = soon(async { tokio::join!(take, sending) }).await;
        assert_eq!(sent.is_ok(), in_time, "{a_second} bytes a second: {sent:?}");
        assert_eq!(discards.get(), !in_time);
    }
}

#[tokio::test(start_paused = true)]
async fn while_an_answer_waits_nothing_is_read() {
    let (mut client, wire, _) = connect();
    let (mut reader, mut writer) = split(wire);
    client.write_all(b"GET /").await.unwrap();
    let mut sending = Box::pin(writer.write_all(&[b'a'; BUFFER + 1]));
    assert!(timeout(LIMITS.answer / 3, &mut sending).await.is_err());
    assert!(timeout(LIMITS.answer / 3, reader.read_u8()).await.is_err(), "it was read");
    let client = tokio::spawn(async move {
        client.read_exact(&mut [0; BUFFER + 1]).await.unwrap();
        client
    });
    // As in the library, one task reads and writes. Without a wake-up, it would sleep until the
    // timer.
    let mut head = [0; 5];
    let both = join(reader.read_exact(&mut head), sending);
    let started = Instant::now();
    let (read, sent) = soon(both).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(read.is_ok() && sent.is_ok() && &head == b"GET /", "{read:?} {sent:?}");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_answer_ends_its_connection_at_once() {
    const LIMIT: usize = 96 * KIB * KIB;
    let (_client, mut wire, discards) = connect();
    let connection = wire.connection();
    let answers = Arc::new(Answers::default());
    let first = || IpAddr::from([192, 0, 2, 1]);
    let _reservation = answers.reserve(LIMIT, first, connection.eviction());
    let other = Connection::default();
    let evict = async {
        sleep(Duration::from_secs(1)).await;
        answers.reserve(LIMIT, || IpAddr::from([192, 0, 2, 2]), other.eviction())
    };
    let started = Instant::now();
    let (sent, _other) = tokio::join!(wire.write_all(&[b'a'; BUFFER + 1]), evict);
    assert_eq!(sent.unwrap_err().to_string(), "no_room");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    assert!(discards.get());
}

// Refusals.

const REFUSAL: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";

/// What the client receives when the server writes `bytes`.
async fn answer_to(bytes: &[u8], handled: bool) -> String {
    let (mut client, mut wire, _) = connect();
    let connection = wire.connection();
    let handled = handled.then(|| connection.begin());
    let send = async move {
        wire.write_all(bytes).await.unwrap();
        drop(handled);
    };
    let mut answer = String::new();
    let ((), read) = tokio::join!(send, client.read_to_string(&mut answer));
    read.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_library_is_replaced_by_a_problem() {
    let answer = answer_to(REFUSAL, false).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
    for line in ["connection: close", "content-type: application/problem+json"] {
        assert!(head.contains(line), "{head}");
    }
    let length = format!("content-length: {}\r\n", body.len());
    assert!(head.contains(&length) && !head.contains("content-length: 0"), "{head}");
    assert!(body.contains(r#""code":"too_large""#), "{body}");
    let id = head.split_once("x-request-id: ").unwrap().1.split("\r\n").next().unwrap();
    assert!(body.contains(&format!(r#""request_id":"{id}""#)), "{body}");
}

#[tokio::test(start_paused = true)]
async fn answers_of_handlers_and_other_statuses_are_not_replaced() {
    assert_eq!(answer_to(REFUSAL, true).await.as_bytes(), REFUSAL);
    for line in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 500 Internal Server Error\r\n\r\n"] {
        assert_eq!(answer_to(line.as_bytes(), false).await, line);
    }
}

#[tokio::test(start_paused = true)]
async fn no_part_of_an_answer_is_replaced() {
    let (mut client, mut wire, _) = connect();
    let connection = wire.connection();
    let handled = connection.begin();
    wire.flush().await.unwrap();
    let body = connection.send();
    drop(handled);
    wire.flush().await.unwrap();
    // A body may look like a refusal.
    wire.write_all(REFUSAL).await.unwrap();
    drop(body);
    wire.flush().await.unwrap();
    wire.write_all(REFUSAL).await.unwrap();
    drop(wire);
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    let second = answers.strip_prefix(str::from_utf8(REFUSAL).unwrap()).unwrap();
    assert!(second.contains("application/problem+json"), "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_sent_whole_to_a_client_that_takes_it_in_pieces() {
    let (mut client, stream) = duplex(7);
    let mut wire = Wire::new(Pipe { stream, discards: Rc::default() }, LIMITS);
    let send = async move { wire.write_all(REFUSAL).await.unwrap() };
    let mut answer = String::new();
    let ((), read) = tokio::join!(send, client.read_to_string(&mut answer));
    read.unwrap();
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    assert!(answer.ends_with('}'), "{answer}");
}
