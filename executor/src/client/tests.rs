use super::test_server::{TestServer, answer, answer_with, nobody};
use super::*;
use async_trait::async_trait;
use punctual_clock::SystemClock;
use std::io;
use std::sync::Mutex;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

fn loopback() -> Egress {
    Egress::public_only().allow("127.0.0.1".parse().unwrap())
}

fn client(egress: Egress) -> Client {
    Client::new(egress, Arc::new(SystemClock::new().unwrap()))
}

fn get(url: &str) -> Request {
    Request {
        method: Method::GET,
        url: check_url(url).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        follow: true,
    }
}

async fn text(mut response: Response) -> String {
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    String::from_utf8(all).unwrap()
}

/// Answers one list after the other, as a name server does that wants to be believed once.
struct Rebinding(Mutex<Vec<Vec<SocketAddr>>>);

#[async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.lock().unwrap().remove(0))
    }
}

fn with_names(egress: Egress, answers: Vec<Vec<SocketAddr>>) -> Client {
    Client { resolver: Box::new(Rebinding(Mutex::new(answers))), ..client(egress) }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant_and_its_answer_comes_back_whole() {
    let body = "x".repeat(300_000);
    let answered = body.clone();
    let server = TestServer::start(move |_| answer(201, answered.clone())).await;
    let mut request = get(&server.url("/a/b?c=d"));
    request.method = Method::PUT;
    request.body = Bytes::from_static(b"hello");
    request.headers.insert("x-mine", HeaderValue::from_static("1"));
    let response = client(loopback()).send(&request).await.unwrap();
    assert_eq!((response.status.as_u16(), response.peer, response.redirects), (201, server.address, 0));
    assert_eq!(text(response).await, body);
    let asked = server.asked().remove(0);
    assert_eq!((asked.method, asked.uri.to_string().as_str()), (Method::PUT, "/a/b?c=d"));
    assert_eq!(asked.body, "hello");
    assert_eq!(asked.headers["host"], server.address.to_string());
    assert_eq!(asked.headers["x-mine"], "1");
    assert_eq!(asked.headers["content-length"], "5");
    assert!(asked.headers["user-agent"].to_str().unwrap().starts_with("punctual/"));
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_allowed() {
    let server = TestServer::start(|_| answer(200, "secret")).await;
    let port = server.address.port();
    for url in [
        server.url("/"),
        format!("http://localhost:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::ffff:7f00:1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("https://127.0.0.1:{port}/"),
    ] {
        let error = client(Egress::public_only()).send(&get(&url)).await.unwrap_err();
        // A resolver may not know the odd spellings of addresses; then nothing is connected to either.
        let harmless = matches!(error, ClientError::Refused { .. } | ClientError::Resolve { .. });
        assert!(harmless, "{url}: {error}");
    }
    let error = client(Egress::public_only()).send(&get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }) && !error.is_recoverable(), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_to_something_else_each_time_is_judged_each_time() {
    let server = TestServer::start(|_| answer_with(302, &[("location", "/again")], "")).await;
    // Believed at first, it points to this machine's own loopback at the redirect.
    let other = SocketAddr::from(([127, 0, 0, 2], server.address.port()));
    let client = with_names(loopback(), vec![vec![server.address], vec![other]]);
    let url = format!("http://rebinding.example:{}/", server.address.port());
    let error = client.send(&get(&url)).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_allowed_are_tried() {
    let server = TestServer::start(|_| answer(200, "here")).await;
    let port = server.address.port();
    let addresses = vec![SocketAddr::from(([10, 0, 0, 1], port)), server.address];
    let client = with_names(loopback(), vec![addresses]);
    let response = client.send(&get(&format!("http://two.example:{port}/"))).await.unwrap();
    assert_eq!(response.peer, server.address);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_attempt() {
    let gone = nobody();
    let error = client(loopback()).send(&get(&format!("http://{}/", gone.address))).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }) && error.is_recoverable(), "{error}");
    let error = with_names(loopback(), vec![vec![]]).send(&get("http://nobody.example/")).await.unwrap_err();
    assert!(matches!(error, ClientError::Resolve { .. }) && error.is_recoverable(), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_within_one_server_with_everything() {
    let server = TestServer::start(|asked| match asked.uri.path() {
        "/one" => answer_with(307, &[("location", "two")], ""),
        _ => answer(200, asked.body.clone()),
    })
    .await;
    let mut request = get(&server.url("/one"));
    request.method = Method::POST;
    request.body = Bytes::from_static(b"once");
    request.headers.insert("authorization", HeaderValue::from_static("secret"));
    let response = client(loopback()).send(&request).await.unwrap();
    assert_eq!((response.redirects, response.url.path()), (1, "/two"));
    assert_eq!(text(response).await, "once");
    assert_eq!(server.asked()[1].headers["authorization"], "secret");
    // After 303 it is a GET without a body.
    let server = TestServer::start(|asked| match asked.uri.path() {
        "/one" => answer_with(303, &[("location", "/two")], ""),
        _ => answer(200, asked.method.to_string()),
    })
    .await;
    request.url = check_url(&server.url("/one")).unwrap();
    assert_eq!(text(client(loopback()).send(&request).await.unwrap()).await, "GET");
    assert!(server.asked()[1].body.is_empty());
}

#[tokio::test]
async fn nothing_that_could_be_a_secret_goes_to_another_server() {
    let other = TestServer::start(|_| answer(200, "other")).await;
    let to = other.url("/there");
    let server = TestServer::start(move |asked| {
        let status = asked.uri.path()[1..].parse().unwrap();
        answer_with(status, &[("location", &to)], "")
    })
    .await;
    let mut request = get(&server.url("/302"));
    for name in ["authorization", "cookie", "x-api-key", "idempotency-key", "traceparent"] {
        request.headers.insert(name, HeaderValue::from_static("secret"));
    }
    request.headers.insert("accept", HeaderValue::from_static("text/plain"));
    request.body = Bytes::from_static(b"secret");
    let response = client(loopback()).send(&request).await.unwrap();
    assert_eq!(response.status, 200);
    let asked = other.asked().remove(0);
    assert_eq!(asked.headers["accept"], "text/plain");
    assert!(!format!("{asked:?}").contains("secret"), "{asked:?}");
    // What would take its body along does not go.
    request.method = Method::POST;
    for status in [307, 308] {
        request.url = check_url(&server.url(&format!("/{status}"))).unwrap();
        let error = client(loopback()).send(&request).await.unwrap_err();
        assert!(matches!(error, ClientError::Redirect(_)) && !error.is_recoverable(), "{error}");
    }
    assert_eq!(other.asked().len(), 1);
    // Clients differ about a POST after these: it is the answer.
    for status in [301, 302] {
        request.url = check_url(&server.url(&format!("/{status}"))).unwrap();
        assert_eq!(client(loopback()).send(&request).await.unwrap().status.as_u16(), status);
    }
}

#[tokio::test]
async fn redirects_end() {
    let server = TestServer::start(|_| answer_with(302, &[("location", "/")], "")).await;
    let error = client(loopback()).send(&get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, ClientError::Redirect(_)), "{error}");
    assert_eq!(server.asked().len(), MAX_REDIRECTS as usize + 1);
    let server = TestServer::start(|_| answer_with(302, &[("location", "file:///etc/passwd")], "")).await;
    let error = client(loopback()).send(&get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, ClientError::Redirect(_)), "{error}");
    let mut request = get(&server.url("/"));
    request.follow = false;
    assert_eq!(client(loopback()).send(&request).await.unwrap().status.as_u16(), 302);
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_not_allowed_is_refused() {
    let server = TestServer::start(|_| {
        answer_with(302, &[("location", "http://169.254.169.254/latest/meta-data/")], "")
    })
    .await;
    let error = client(loopback().allow_private()).send(&get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_no_http_is_an_error() {
    use tokio::io::AsyncWriteExt as _;
    for (sent, recoverable) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", true),
        ("", true),
        ("SSH-2.0-OpenSSH\r\n", false),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request is read first: a close with unread bytes would be a reset.
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut buffer = [0; 1024];
                let count = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await.unwrap();
                seen.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(sent.as_bytes()).await.unwrap();
        });
        let exchange = async {
            let mut response = client(loopback()).send(&get(&format!("http://{address}/"))).await?;
            while response.chunk().await?.is_some() {}
            Ok::<_, ClientError>(())
        };
        let error = exchange.await.unwrap_err();
        assert!(matches!(error, ClientError::Exchange { .. }), "{sent:?}: {error}");
        assert_eq!(error.is_recoverable(), recoverable, "{sent:?}: {error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_its_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asking = tokio::spawn(async move {
        client(loopback()).send(&get(&format!("http://{address}/"))).await.map(|_| ())
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut seen = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut seen).await.unwrap();
    asking.abort();
    // The rest of what was sent, and then the end.
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
    assert!(rest.ends_with(b"\r\n\r\n"));
}

#[test]
fn headers_that_could_contradict_what_is_sent_are_ours() {
    for ours in ["Host", "content-length", "Transfer-Encoding", "connection", "proxy-authorization"] {
        assert!(is_ours(&HeaderName::from_bytes(ours.as_bytes()).unwrap()), "{ours}");
    }
    for theirs in ["authorization", "content-type", "x-host"] {
        assert!(!is_ours(&HeaderName::from_static(theirs)), "{theirs}");
    }
}

/// A root that only these tests trust, and a server of it for 127.0.0.1 and trusted.example; both good for a century.
const ROOT: &[u8] = include_bytes!("test_certificates/root.pem");
const SERVER: &[u8] = include_bytes!("test_certificates/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("test_certificates/server-key.pem");

/// A server that answers "encrypted" to whoever speaks TLS with it.
async fn tls_server() -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(SERVER).unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not trust it goes.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(async |_| {
                Ok::<_, std::convert::Infallible>(answer(200, "encrypted"))
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(connection.await);
        }
    });
    address
}

#[tokio::test]
async fn a_server_is_spoken_to_only_if_it_can_prove_who_it_is() {
    let address = tls_server().await;
    let trusting = |answers: Vec<Vec<SocketAddr>>| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ROOT).unwrap()).unwrap();
        Client { tls: Tls::trusting(roots), ..with_names(loopback(), answers) }
    };
    let by_address = get(&format!("https://{address}/"));
    assert_eq!(text(trusting(vec![]).send(&by_address).await.unwrap()).await, "encrypted");
    let by_name = get(&format!("https://trusted.example:{}/", address.port()));
    assert_eq!(text(trusting(vec![vec![address]]).send(&by_name).await.unwrap()).await, "encrypted");
    // Another name than the certificate's, and a root that this machine does not trust.
    let another = get(&format!("https://other.example:{}/", address.port()));
    for error in [
        trusting(vec![vec![address]]).send(&another).await.unwrap_err(),
        client(loopback()).send(&by_address).await.unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::Tls { .. }) && !error.is_recoverable(), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_from_an_encrypted_server_to_one_that_is_not_is_refused() {
    let mut request = get("http://127.0.0.1/");
    request.url = check_url("https://127.0.0.1/").unwrap();
    let plain = TestServer::start(|_| answer_with(302, &[("location", "/next")], "")).await;
    let mut response =
        client(loopback()).send(&Request { follow: false, ..get(&plain.url("/")) }).await.unwrap();
    response.headers.insert("location", HeaderValue::from_str(&plain.url("/")).unwrap());
    let error = redirect::next(&request, &response).err().unwrap();
    assert!(error.to_string().contains("not encrypted"), "{error}");
}
