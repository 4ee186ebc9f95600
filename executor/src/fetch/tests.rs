use super::*;
use crate::client::test_server::{TestServer, answer, nobody};
use crate::egress::Egress;
use punctual_clock::SystemClock;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tempfile::TempDir;

/// A node and the directory of a run.
struct Node {
    data: TempDir,
    run: TempDir,
    fetcher: Fetcher,
}

fn node(limits: FetchLimits) -> Node {
    let (data, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let egress = Egress::public_only().allow("127.0.0.1".parse().unwrap());
    let client = Arc::new(Client::new(egress, Arc::clone(&clock)));
    let fetcher = Fetcher::new(client, clock, data.path(), limits).unwrap();
    Node { data, run, fetcher }
}

impl Node {
    async fn fetch(&self, artifacts: &[Artifact]) -> Result<Vec<Fetched>, Failure> {
        self.fetcher.fetch(artifacts, self.run.path()).await
    }

    fn read(&self, dest: &str) -> String {
        fs::read_to_string(self.run.path().join(dest)).unwrap()
    }

    /// Everything in the cache, sorted.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data.path().join("artifacts")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn sha256(text: &str) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(text.as_bytes());
    hex(hash)
}

fn artifact(source: impl Into<String>, dest: &str) -> Artifact {
    Artifact { source: source.into(), dest: dest.to_owned(), checksum: None, mode: None }
}

fn with_checksum(source: impl Into<String>, dest: &str, content: &str) -> Artifact {
    Artifact { checksum: Some(format!("sha256:{}", sha256(content))), ..artifact(source, dest) }
}

#[test]
fn checksums_are_those_of_sha256sum() {
    assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[tokio::test]
async fn several_are_fetched_and_put_into_their_places() {
    let server = TestServer::start(|asked| answer(200, asked.uri.path().to_owned())).await;
    let local = tempfile::NamedTempFile::new().unwrap();
    fs::write(local.path(), "local").unwrap();
    let node = node(FetchLimits::default());
    let artifacts = [
        artifact(server.url("/one"), "one"),
        Artifact { mode: Some("755".to_owned()), ..with_checksum(server.url("/two"), "deep/er/two", "/two") },
        with_checksum(local.path().to_str().unwrap(), "deep/three", "local"),
    ];
    let fetched = node.fetch(&artifacts).await.unwrap();
    let told: Vec<_> = fetched.iter().map(|one| (one.dest.as_str(), one.bytes, one.cached)).collect();
    assert_eq!(told, [("one", 4, false), ("deep/er/two", 4, false), ("deep/three", 5, false)]);
    assert_eq!(fetched[0].sha256, sha256("/one"));
    assert_eq!(
        (node.read("one"), node.read("deep/er/two"), node.read("deep/three")),
        ("/one".into(), "/two".into(), "local".into())
    );
    let mode = |dest| fs::metadata(node.run.path().join(dest)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("one"), mode("deep/er/two")), (0o644, 0o755));
    let mut kept = vec![sha256("/two"), sha256("local")];
    kept.sort();
    assert_eq!(node.cached(), kept);
    let about = fs::metadata(node.data.path().join("artifacts")).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn what_has_a_checksum_is_fetched_once_and_a_run_gets_a_copy_of_its_own() {
    let server = TestServer::start(|_| answer(200, "program")).await;
    let node = node(FetchLimits::default());
    let twice =
        [with_checksum(server.url("/a"), "a", "program"), with_checksum(server.url("/b"), "b", "program")];
    let fetched = node.fetch(&twice).await.unwrap();
    assert_eq!(fetched.iter().filter(|one| one.cached).count(), 1);
    assert_eq!(server.asked().len(), 1);
    // A run that writes into its copy changes nobody else's.
    fs::write(node.run.path().join("a"), "changed").unwrap();
    assert_eq!(node.read("b"), "program");
    assert!(node.fetch(&twice).await.unwrap().iter().all(|one| one.cached));
    assert_eq!((node.read("a"), server.asked().len()), ("program".into(), 1));
    // Damage on the disk is found, and mended from the source.
    fs::write(node.data.path().join("artifacts").join(sha256("program")), "progrBm").unwrap();
    assert!(!node.fetch(&twice[..1]).await.unwrap()[0].cached);
    assert_eq!((node.read("a"), server.asked().len()), ("program".into(), 2));
    assert!(node.fetch(&twice[..1]).await.unwrap()[0].cached);
}

#[tokio::test]
async fn what_is_not_what_the_task_names_is_not_put_anywhere() {
    let server = TestServer::start(|_| answer(200, "something else")).await;
    let node = node(FetchLimits::default());
    fs::write(node.run.path().join("a"), "before").unwrap();
    let failure =
        node.fetch(&[with_checksum(server.url("/?token=secret"), "a", "program")]).await.unwrap_err();
    assert_eq!((failure.kind, failure.recoverable), (FailureKind::Start, false));
    assert!(failure.message.contains(&sha256("something else")), "{}", failure.message);
    assert!(!failure.message.contains("secret"), "{}", failure.message);
    assert_eq!(node.read("a"), "before");
    assert!(node.cached().is_empty());
}

#[tokio::test]
async fn failures_say_whether_another_attempt_could_go_better() {
    let server = TestServer::start(|asked| {
        let status = asked.uri.path()[1..].parse().unwrap();
        answer(status, "no")
    })
    .await;
    let gone = nobody();
    let node = node(FetchLimits::default());
    let fifo = node.run.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let token = node.data.path().join("admin-token");
    fs::write(&token, "secret").unwrap();
    let link = node.run.path().join("link");
    std::os::unix::fs::symlink(&token, &link).unwrap();
    for (source, recoverable) in [
        (server.url("/404"), false),
        (server.url("/204"), false),
        (server.url("/429"), true),
        (server.url("/500"), true),
        (format!("http://{}/", gone.address), true),
        ("http://10.0.0.1/".to_owned(), false),
        ("ftp://example.com/".to_owned(), false),
        ("relative/path".to_owned(), false),
        ("/nowhere/to/be/found".to_owned(), false),
        ("/dev/zero".to_owned(), false),
        ("/".to_owned(), false),
        (fifo.to_str().unwrap().to_owned(), false),
        (token.to_str().unwrap().to_owned(), false),
        (link.to_str().unwrap().to_owned(), false),
    ] {
        let failure = node.fetch(&[artifact(&source, "a")]).await.unwrap_err();
        assert_eq!(failure.recoverable, recoverable, "{source}: {}", failure.message);
        assert!(!node.run.path().join("a").exists(), "{source}");
    }
    assert!(node.cached().is_empty());
}

#[tokio::test]
async fn nothing_is_put_outside_of_the_runs_directory() {
    let server = TestServer::start(|_| answer(200, "evil")).await;
    let node = node(FetchLimits::default());
    let outside = tempfile::tempdir().unwrap();
    let run = node.run.path();
    // What ran here before has made these.
    std::os::unix::fs::symlink(outside.path(), run.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("file"), run.join("file")).unwrap();
    for dest in
        ["", "/", "..", "../a", "a/../../b", "/tmp/a", "a/", ".", "./a/..", "a\0b", "link/a", "link/deep/a"]
    {
        let failure = node.fetch(&[artifact(server.url("/"), dest)]).await.unwrap_err();
        assert!(!failure.recoverable, "{dest:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{dest:?}");
    }
    // A link in the place itself is replaced, and not followed.
    node.fetch(&[artifact(server.url("/"), "file")]).await.unwrap();
    assert_eq!(node.read("file"), "evil");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_artifact_that_is_too_large_or_takes_too_long_is_thrown_away() {
    let server = TestServer::start(|_| answer(200, vec![b'x'; 200_000])).await;
    let small = node(FetchLimits { artifact: 100_000, ..FetchLimits::default() });
    let failure = small.fetch(&[artifact(server.url("/"), "a")]).await.unwrap_err();
    assert!(!failure.recoverable && failure.message.contains("100000 bytes"), "{}", failure.message);
    assert!(small.cached().is_empty());
    // Nothing can be had in no time at all.
    let quick = node(FetchLimits { timeout: Duration::ZERO, ..FetchLimits::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/", listener.local_addr().unwrap());
    let failure = quick.fetch(&[artifact(silent, "a")]).await.unwrap_err();
    assert!(failure.recoverable && failure.message.contains("longer than"), "{}", failure.message);
    assert!(quick.cached().is_empty());
}

#[tokio::test]
async fn the_cache_keeps_what_was_used_last_within_its_bound() {
    let server = TestServer::start(|asked| answer(200, asked.uri.path().repeat(10))).await;
    let node = node(FetchLimits { cache: 50, ..FetchLimits::default() });
    let wanted = |path: &str| with_checksum(server.url(path), "a", &path.repeat(10));
    for path in ["/a", "/b", "/a", "/c"] {
        node.fetch(&[wanted(path)]).await.unwrap();
    }
    let mut kept = vec![sha256(&"/a".repeat(10)), sha256(&"/c".repeat(10))];
    kept.sort();
    assert_eq!(node.cached(), kept);
    // What is larger than all of it is used and not kept.
    node.fetch(&[wanted("/quite-long")]).await.unwrap();
    assert_eq!(node.cached(), kept);
}

#[tokio::test]
async fn a_fetch_that_is_dropped_stops_and_leaves_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let node = Arc::new(node(FetchLimits::default()));
    let fetching = {
        let node = Arc::clone(&node);
        tokio::spawn(async move { node.fetch(&[artifact(url, "a")]).await })
    };
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhalf").await.unwrap();
    // Until it is in the middle of it.
    while node.cached().is_empty() {
        tokio::task::yield_now().await;
    }
    fetching.abort();
    assert!(fetching.await.unwrap_err().is_cancelled());
    let mut asked = Vec::new();
    // The connection ends, with or without ceremony.
    let _ = stream.read_to_end(&mut asked).await;
    assert!(node.cached().is_empty());
    assert_eq!(fs::read_dir(node.run.path()).unwrap().count(), 0);
    // What a process that was killed left is removed by the next.
    fs::write(node.data.path().join("artifacts/partial-7"), "half").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let client = Arc::new(Client::new(Egress::public_only(), Arc::clone(&clock)));
    Fetcher::new(client, clock, node.data.path(), FetchLimits::default()).unwrap();
    assert!(node.cached().is_empty());
}
