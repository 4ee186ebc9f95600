//! Work that is an HTTP request, from a task file to a server and back into the record.

use crate::place::{Place, run};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

/// Only keeps a broken build from hanging.
const LONG: Duration = Duration::from_secs(60);

/// One request as it came, and the connection to answer on.
struct Asked {
    head: String,
    body: String,
    stream: TcpStream,
}

impl Asked {
    fn answer(&mut self, status: &str, body: &str) {
        let length = body.len();
        // Whoever asked may be gone.
        let _ = write!(self.stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    }
}

/// Listens on loopback and hands over what is asked.
fn server() -> (u16, mpsc::Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let mut line = String::new();
                if reader.read_line(&mut line).expect("a line") == 0 {
                    break;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(text) = lower.strip_prefix("content-length:") {
                    length = text.trim().parse().expect("a number");
                }
                head.push_str(&lower);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("the body");
            let body = String::from_utf8(body).expect("text");
            if tell.send(Asked { head, body, stream }).is_err() {
                break;
            }
        }
    });
    (port, told)
}

fn tasks(port: u16) -> String {
    format!(
        r#"
[[task]]
name = "call"
[task.http]
url = "http://127.0.0.1:{port}/notify/${{params.region:-nowhere}}"
method = "POST"
headers = {{ Authorization = "Bearer abc" }}
body = {{ text = "<${{params.region}}>", run = "${{run.id}}" }}

[[task]]
name = "forbidden"
http = "http://127.0.0.2:{port}/"

[[task]]
name = "slow"
http = "http://127.0.0.1:{port}/slow"
"#
    )
}

#[test]
fn a_request_of_a_task_file_is_made_and_its_answer_is_the_output() {
    let place = Place::new();
    let (port, asked) = server();
    place.write("tasks.toml", &tasks(port));
    let mut daemon = place.start(&["--allow-egress", "127.0.0.1"]);
    daemon.out.until("listening on ");

    let params = r#"{"region": "eu \"west\""}"#;
    let mut waiting = place.command();
    waiting.args(["run", "now", "call", "--wait", "--params", params, "--data"]).arg(place.data());
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run the binary");
    let mut told = asked.recv_timeout(LONG).expect("a request");
    assert!(told.head.starts_with("post /notify/eu%20%22west%22 http/1.1\r\n"), "{}", told.head);
    for header in [
        "authorization: bearer abc",
        "content-type: application/json",
        "idempotency-key: ",
        "traceparent: 00-",
    ] {
        assert!(told.head.contains(&format!("\r\n{header}")), "{header} in {}", told.head);
    }
    let body: Value = serde_json::from_str(&told.body).expect("JSON");
    assert_eq!(body["text"], "<eu \"west\">");
    let key = format!("idempotency-key: {}\r\n", body["run"].as_str().expect("an id"));
    assert!(told.head.contains(&key), "{}", told.head);
    told.answer("200 OK", "thanks\n");
    assert!(waiting.wait_with_output().expect("its end").status.success());

    // An address that is not allowed is not asked, whatever the task says.
    let refused = place.ask(&["run", "now", "forbidden", "--wait"]);
    refused.refuses(1, &[]);
    daemon.stop();

    let runs = place.runs_of("call");
    let shown = place.run(runs[0]["id"].as_str().expect("an id"));
    assert_eq!(shown["output"], "thanks\n");
    assert_eq!(shown["outcome"]["result"]["status"], 200);

    let refused = place.runs_of("forbidden").remove(0);
    assert_eq!(refused["state"], "failed");
    let error = refused["outcome"]["error"]["message"].as_str().expect("a message");
    assert!(error.contains("127.0.0.2 may not be connected to: it is loopback"), "{error}");
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_request_whose_answer_nobody_saw_is_lost() {
    let place = Place::new();
    let (port, asked) = server();
    place.write("tasks.toml", &tasks(port));
    let mut daemon = place.start(&["--allow-egress", "127.0.0.0/8"]);
    daemon.out.until("listening on ");
    place.ask(&["run", "now", "slow"]).ends(0);
    let asked = asked.recv_timeout(LONG).expect("a request");
    assert!(asked.head.starts_with("get /slow "), "{}", asked.head);
    daemon.kill();
    let mut daemon = place.start(&["--allow-egress", "127.0.0.0/8"]);
    daemon.out.until("now lost");
    daemon.out.until("listening on ");
    daemon.stop();
    assert_eq!(place.runs_of("slow").remove(0)["state"], "lost");
}

#[test]
fn a_network_that_is_none_is_a_mistake_of_the_command_line() {
    let place = Place::new();
    let data = place.data();
    let data = data.to_str().expect("text");
    run(["serve", "--data", data, "--allow-egress", "localhost"]).refuses(2, &["localhost", "10.0.0.0/8"]);
}
