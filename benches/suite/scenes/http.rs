//! Figure 15: `run now` over HTTP, answered when the run is accepted, that is durable.

use super::Stage;
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, engine};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use punctual_server::{Api, Doors, Listen, Parts};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};

const DURATION: Duration = Duration::from_secs(3);

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let home = stage.place.fresh()?;
    let punctual = engine::start(&home.path().join("data")).await?;
    punctual.tasks().create(engine::idle_task("noop")).await?;
    let (socket, bare_socket) = (home.path().join("s"), home.path().join("b"));
    let doors = Doors::open(&Listen { socket: Some(socket.clone()), tcp: None }).await?;
    let server = doors.serve(&Api::new(Parts {
        coordinator: punctual.coordinator().clone(),
        scheduler: punctual.scheduler().clone(),
        store: Arc::clone(punctual.store()),
        executor: punctual.executor(),
        outputs: punctual.outputs().clone(),
        clock: Arc::clone(punctual.clock()),
        default_zone: "UTC".to_owned(),
        zone_source: "the system".to_owned(),
        token: None,
    }));
    let body = one_answer(&socket).await?;
    let bare = bare_door(&bare_socket, body)?;
    asked(&socket, stage.size, DURATION / 3).await?;
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds(3) {
        ours.push(asked(&socket, stage.size, DURATION).await?);
        limits.push(asked(&bare_socket, stage.size, DURATION).await?);
    }
    bare.abort();
    server.refuse_writes();
    punctual.stop().await?;
    server.close().await;
    Ok(vec![
        Row::new(15, "`run now` over HTTP, answered when durable", "runs/s", ours)
            .size(stage.size)
            .limit("bare hyper with the same answer", limits, Better::More)
            .target(true, Target::at_least(8_000.0, 15_000.0)),
    ])
}

type Sender = http1::SendRequest<Full<Bytes>>;

async fn connected(socket: &Path) -> Outcome<Sender> {
    let stream = UnixStream::connect(socket).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut Sender) -> Outcome<Bytes> {
    let request = Request::post("/v1/tasks/noop:run")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from("{}"))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(format!("{status}: {body:?}").into()) }
}

async fn one_answer(socket: &Path) -> Outcome<Bytes> {
    ask(&mut connected(socket).await?).await
}

/// Answers a second over so many connections, each with one request at a time.
async fn asked(socket: &Path, connections: u64, duration: Duration) -> Outcome<f64> {
    let begun = Instant::now();
    let mut asking = Vec::new();
    for _ in 0..connections {
        let mut sender = connected(socket).await?;
        asking.push(tokio::spawn(async move {
            let mut answers = 0_u64;
            while begun.elapsed() < duration {
                ask(&mut sender).await?;
                answers += 1;
            }
            Outcome::Ok(answers)
        }));
    }
    let mut answers = 0;
    for asking in asking {
        answers += asking.await??;
    }
    Ok(answers as f64 / begun.elapsed().as_secs_f64())
}

/// A server that always says the same, over a unix socket like ours.
fn bare_door(socket: &Path, body: Bytes) -> Outcome<tokio::task::JoinHandle<()>> {
    let listener = UnixListener::bind(socket)?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let body = body.clone();
            let answer = move |request: Request<Incoming>| {
                let body = body.clone();
                async move {
                    let _ = request.into_body().collect().await;
                    let answer = Response::builder().status(202).header("content-type", "application/json");
                    Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap_or_default())
                }
            };
            let service = hyper::service::service_fn(answer);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    }))
}
