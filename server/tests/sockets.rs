//! The sockets themselves: who can open them, and how they close.

use punctual::Punctual;
use punctual::coordinator::RunRequest;
use punctual::model::{TaskSpec, Work};
use punctual::testing::{Act, TestEngine};
use punctual_server::{Api, Doors, Listen, OpenError, Parts, SOCKET, Token};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

fn api(engine: &TestEngine, dir: &Path) -> Api {
    Api::new(Parts {
        coordinator: engine.coordinator().clone(),
        scheduler: engine.scheduler().clone(),
        store: Arc::clone(engine.store()),
        executor: engine.executor(),
        outputs: engine.outputs().clone(),
        clock: Arc::clone(Punctual::clock(engine)),
        default_zone: "UTC".to_owned(),
        zone_source: "a test".to_owned(),
        token: Some(Token::open(&dir.join(Token::FILE)).expect("a token")),
    })
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_its_owners_alone_and_takes_the_place_of_a_dead_ones() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(SOCKET);
    // What a killed process leaves: a socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let listen = Listen { socket: Some(path.clone()), tcp: None };
    let doors = Doors::open(&listen).await.expect("open");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let engine = TestEngine::at("2027-01-01T00:00:00Z").await;
    let server = doors.serve(&api(&engine, dir.path()));
    let stream = UnixStream::connect(&path).await.expect("connected");
    let answer = ask(stream, "GET /v1/tasks HTTP/1.1\r\nHost: any").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"items\":[]}"), "{answer}");
    server.close().await;
    assert!(UnixStream::connect(&path).await.is_err(), "nobody listens any more");
    assert!(path.exists(), "whoever comes next replaces it");
    Doors::open(&listen).await.expect("open again");
}

#[tokio::test(start_paused = true)]
async fn tcp_asks_for_the_token_and_is_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let tcp: SocketAddr = address.parse().expect("an address");
        let refused = Doors::open(&Listen { socket: None, tcp: Some(tcp) }).await;
        let Err(error @ OpenError::NotLoopback(_)) = refused else { panic!("{address} was opened") };
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let tcp = "127.0.0.1:0".parse().expect("an address");
    let doors = Doors::open(&Listen { socket: None, tcp: Some(tcp) }).await.expect("open");
    let address = doors.tcp().expect("bound");
    let engine = TestEngine::at("2027-01-01T00:00:00Z").await;
    let server = doors.serve(&api(&engine, dir.path()));
    let token = std::fs::read_to_string(dir.path().join(Token::FILE)).expect("a token");
    let head = format!("GET /v1/tasks HTTP/1.1\r\nHost: {address}");
    for (more, status) in [
        (String::new(), "401"),
        (format!("\r\nAuthorization: Bearer {}", token.trim()), "200"),
        (format!("\r\nAuthorization: Bearer {}\r\nOrigin: http://evil.test", token.trim()), "403"),
    ] {
        let stream = TcpStream::connect(address).await.expect("connected");
        let answer = ask(stream, &format!("{head}{more}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{more}: {answer}");
    }
    let other =
        ask(TcpStream::connect(address).await.expect("connected"), "GET /livez HTTP/1.1\r\nHost: evil.test")
            .await;
    assert!(other.starts_with("HTTP/1.1 421 "), "{other}");
    server.close().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_hurts_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(SOCKET);
    let doors = Doors::open(&Listen { socket: Some(path.clone()), tcp: None }).await.expect("open");
    let engine = TestEngine::at("2027-01-01T00:00:00Z").await;
    let server = doors.serve(&api(&engine, dir.path()));
    for text in [
        "\0\0\0\0",
        "GET",
        "GET / HTTP/9.9",
        "POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
        "GET /v1/tasks HTTP/1.1\r\nHost: a\r\nX: \u{1}",
    ] {
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        stream.write_all(format!("{text}\r\n\r\n").as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{text:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    let stream = UnixStream::connect(&path).await.expect("connected");
    assert!(ask(stream, "GET /livez HTTP/1.1\r\nHost: a").await.ends_with("ok\n"));
    server.close().await;
}

/// What was open for him is let go of with the grace of the close, although he still has the other end.
#[tokio::test(start_paused = true)]
async fn who_follows_a_log_and_does_not_read_holds_no_stop() {
    const OUTPUT: usize = 4 << 20;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(SOCKET);
    let doors = Doors::open(&Listen { socket: Some(path.clone()), tcp: None }).await.expect("open");
    let engine = TestEngine::at("2027-01-01T00:00:00Z").await;
    engine.script(|_| Act::Print("x".repeat(OUTPUT), Box::new(Act::Hang)));
    let task = engine.tasks().create(TaskSpec::new("talks", Work::shell("true"))).await.expect("created");
    let run =
        engine.tasks().run_now(task.stored.task.id, RunRequest::default()).await.expect("accepted").run.id;
    engine.settle().await;
    let server = doors.serve(&api(&engine, dir.path()));
    let mut stuck = UnixStream::connect(&path).await.expect("connected");
    let head = format!("GET /v1/runs/{run}/logs?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    stuck.write_all(head.as_bytes()).await.expect("written");
    let mut begun = [0; 12];
    stuck.read_exact(&mut begun).await.expect("an answer");
    assert_eq!(&begun, b"HTTP/1.1 200");
    let closing = tokio::spawn(server.close());
    engine.settle().await;
    assert!(!closing.is_finished(), "answers under way may end");
    engine.advance(Duration::from_secs(3)).await;
    closing.await.expect("closed");
    // The run is still at work, so this ends early only because nobody writes any more.
    let mut rest = Vec::new();
    let _ = stuck.take(OUTPUT as u64).read_to_end(&mut rest).await;
    assert!(rest.len() < OUTPUT, "everything was kept for him");
}

/// The clock of the transport is paused, so it jumps over the patience as soon as nothing else happens.
#[tokio::test(start_paused = true)]
async fn d1_a_connection_that_never_says_what_it_wants_is_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(SOCKET);
    let doors = Doors::open(&Listen { socket: Some(path.clone()), tcp: None }).await.expect("open");
    let engine = TestEngine::at("2027-01-01T00:00:00Z").await;
    let server = doors.serve(&api(&engine, dir.path()));
    let mut silent = UnixStream::connect(&path).await.expect("connected");
    let mut slow = UnixStream::connect(&path).await.expect("connected");
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ").await.expect("written");
    for stream in [&mut silent, &mut slow] {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    server.close().await;
}
