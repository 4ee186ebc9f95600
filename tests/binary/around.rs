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
