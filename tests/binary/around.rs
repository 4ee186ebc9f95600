//! The example of what can be done around the work, through the real binary.

use crate::place::{Place, run};

#[test]
fn the_example_of_hooks_and_artifacts_is_valid_and_does_what_it_says() {
    let place = Place::new();
    let tasks = include_str!("../../examples/around.toml");
    let file = place.write("tasks.toml", tasks);
    run(["task", "validate", file.to_str().expect("text")]).ends(0);
    let daemon = place.serve(tasks);
    place.ask(&["run", "now", "around", "--wait", "--params", r#"{"name": "you"}"#]).ends(0);
    daemon.stop();

    let runs = place.runs_of("around");
    assert_eq!(runs[0]["state"], "succeeded", "{runs:?}");
    let shown = place.run(runs[0]["id"].as_str().expect("an id"));
    let output = shown["output"].as_str().expect("text");
    assert!(output.contains("this is around, for you in particular"), "{output}");
    for name in ["prepared", "params.json", "hosts"] {
        assert!(output.contains(name), "{name} in {output}");
    }
    let left = std::fs::read_dir(place.data().join("work")).expect("the directory of directories");
    assert_eq!(left.count(), 0, "what is kept only of failures is gone");
}

#[test]
fn the_example_of_restarts_is_valid_and_does_what_it_says() {
    let place = Place::new();
    let tasks = include_str!("../../examples/restarts.toml");
    let file = place.write("restarts.toml", tasks);
    run(["task", "validate", file.to_str().expect("text")]).ends(0);
    let daemon = place.serve("");
    place.ask(&["apply", "-f", file.to_str().expect("text")]).ends(0);
    place.ask(&["run", "now", "fetch", "--wait"]).ends(0);
    place.ask(&["run", "now", "fetch", "--wait", "--param", "what=nonsense"]).ends(64);
    let begun = place.ask(&["run", "now", "beat", "-o", "json"]).json();
    let beat = begun["id"].as_str().expect("an id").to_owned();
    #[expect(clippy::disallowed_methods, reason = "the bound on a wait for a real process")]
    let began = std::time::Instant::now();
    while !place.ask(&["logs", &beat]).out.contains("beating as attempt 1") {
        assert!(began.elapsed() < crate::process::PATIENCE, "it does not beat");
        std::thread::yield_now();
    }
    place.ask(&["run", "cancel", &beat]).ends(0);
    place.ask(&["run", "wait", &beat]);
    daemon.stop();

    let fetched = place.runs_of("fetch");
    let ends = |n: usize| (&fetched[n]["state"], fetched[n]["life"]["attempt"].as_u64());
    assert_eq!(ends(0), (&"succeeded".into(), Some(2)), "{fetched:?}");
    assert_eq!(ends(1), (&"failed".into(), Some(1)), "{fetched:?}");
    let told = fetched[2]["trigger"]["on_failure"]["of"].clone();
    assert_eq!(told, fetched[1]["id"], "{fetched:?}");
    let beat = place.run(&beat);
    assert_eq!(beat["state"], "canceled", "{beat}");
    assert!(beat["output"].as_str().expect("text").contains("\ngoing\n"), "{beat}");
}
