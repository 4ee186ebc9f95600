use super::*;
use punctual_model as model;
use serde_json::{Value, json};

/// A definition that uses every setting.
fn full() -> Value {
    let call = json!({"http": {
        "method": "POST", "url": "https://example.org/hook", "headers": {"x-a": "b"}, "body": {"run": 1},
        "expect": [200, "300-399"], "timeout": "5s", "max_response": 1000,
    }});
    let hook =
        json!({"name": "warm", "run": {"command": ["warm", "up"]}, "timeout": "10s", "on_error": "ignore"});
    let restart = json!({
        "attempts": 3, "interval": "1h", "delay": "10s", "jitter": 0.5, "backoff": {"factor": 1.5, "max": "1m"},
        "mode": "delay", "retry_on": [75, "64-70", "timeout"], "fail_on": ["panic"], "max_time": "30m",
        "on_success": true, "on_lost": "restart",
    });
    let work = json!({
        "driver": "process", "argv": ["a"], "env": {"A": "b"}, "inherit_env": ["LANG"], "cwd": "/tmp",
        "work_dir": {"keep": "always"}, "stdin": "s", "payload_file": "p", "user": "u", "group": "g",
        "groups": ["1"], "no_new_privs": true, "umask": "027", "nice": 5,
        "rlimits": {"core": {"soft": 0, "hard": "unlimited"}, "nofile": 1024},
        "resources": {"memory": 1_048_576, "cpu": 0.5, "pids": 9}, "shim": false,
    });
    json!({
        "name": "all", "description": "d", "labels": {"a": "b"}, "status": "paused",
        "schedules": [{"cron": "0 2 * * *"}, {"every": "5m"}], "timezone": "Europe/Berlin",
        "offset": "-5s", "jitter": "1s", "splay": "2s", "grace": "20s",
        "catch_up": {"policy": "all", "window": "1h", "limit": 5, "rate": 2}, "overlap": {"queue_all": {"max": 3}},
        "parameters": {"payload": "required", "required": ["region"], "optional": ["dry_run"]},
        "concurrency": {"limit": 2, "key": "db"}, "priority": -1,
        "restart": restart,
        "idempotent": true, "timeout": "1h", "kill": {"signal": "INT", "grace": "3s"},
        "retention": {"runs": 5, "age": "24h"}, "max_output": 4096,
        "output": {"rotate_at": 100_000, "files": 3, "age": "1h", "runs": 4},
        "hooks": {"prestart": [hook], "poststart": [hook], "prekill": [hook], "exited": [hook], "stop": [hook]},
        "artifacts": [{"source": "/a/b", "dest": "c/d", "checksum": "sha256:00", "mode": "755"}],
        "shutdown_delay": "2s", "on_failure": call, "on_recovered": {"command": ["ok"]},
        "pause_after_failures": 3, "stats_every": "10s",
        "work": work,
    })
}

#[test]
fn every_setting_goes_through_the_model_and_comes_back_as_it_was() {
    let works = [
        full()["work"].clone(),
        json!({"driver": "shell", "script": "x", "interpreter": ["/bin/bash", "-c"], "user": "u"}),
        json!({"driver": "handler", "name": "h", "args": {"a": 1}}),
        json!({"driver": "http", "method": "PUT", "url": "http://x/", "body": "text", "timeout": "1s", "max_response": 9}),
    ];
    for work in works {
        let mut written = full();
        written["work"] = work;
        let spec: TaskSpec = serde_json::from_value(written.clone()).unwrap();
        let inside = model::TaskSpec::from(spec.clone());
        let stored = serde_json::to_value(&inside).unwrap();
        assert_eq!(serde_json::from_value::<model::TaskSpec>(stored).unwrap(), inside);
        assert_eq!(serde_json::to_value(TaskSpec::from(inside)).unwrap(), written);
    }
}

#[test]
fn a_misspelt_setting_is_refused_however_deep_it_is() {
    let places = [
        "work",
        "work/work_dir",
        "work/resources",
        "work/rlimits/core",
        "restart",
        "restart/backoff",
        "output",
        "hooks",
        "hooks/stop/0",
        "artifacts/0",
        "parameters",
        "on_failure/http",
    ];
    for place in places {
        let mut written = full();
        let object = written.pointer_mut(&format!("/{place}")).and_then(Value::as_object_mut);
        object.unwrap().insert("colour".into(), json!(1));
        assert!(serde_json::from_value::<TaskSpec>(written).is_err(), "{place}");
    }
}

#[test]
fn a_restart_policy_has_a_short_form() {
    let spec = |restart| {
        let work = json!({"driver": "shell", "script": "x"});
        serde_json::from_value::<TaskSpec>(json!({"name": "n", "restart": restart, "work": work}))
    };
    let service = model::TaskSpec::from(spec(json!("service")).unwrap()).restart;
    assert_eq!(service, model::restart::RestartPolicy::service());
    assert!(spec(json!("always")).unwrap_err().to_string().contains("none, batch, service"));
}
