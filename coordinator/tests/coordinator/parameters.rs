//! What a run takes: judged when somebody asks for one, and when somebody asks for it once more.

use crate::house::{House, at, every, spec};
use punctual_coordinator::{Change, Error, RunRequest};
use punctual_model::parameters::Payload;
use punctual_model::{ErrorCode, LostWhy, Parameters, Run, RunEvent, TaskId, TaskSpec, TaskStatus, Trigger};
use serde_json::{Value, json};

fn taking(name: &str, parameters: Value) -> TaskSpec {
    spec(name, vec![]).parameters(serde_json::from_value::<Parameters>(parameters).unwrap())
}

fn with(params: Value) -> RunRequest {
    RunRequest { params, ..RunRequest::default() }
}

/// What the request is refused with; no run is left by it.
#[track_caller]
fn invalid<T: std::fmt::Debug>(refused: Result<T, Error>) -> String {
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert_eq!(punctual_model::Error::from(error.clone()).code(), ErrorCode::Invalid);
    error.to_string()
}

async fn changed(house: &House, task: TaskId, spec: TaskSpec) {
    house.tasks().replace(task, spec, Change::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn di01_a_run_is_accepted_or_refused_by_its_payload_and_never_with_more_than_16_kib() {
    let house = House::new().await;
    let payloads = [Payload::Optional, Payload::Required, Payload::Forbidden];
    for (n, payload) in payloads.into_iter().enumerate() {
        let id = house.create(taking(&format!("t{n}"), json!({"payload": payload}))).await;
        for (params, given) in [(Value::Null, false), (json!({}), false), (json!({"a": 1}), true)] {
            let before = house.records(id).await.len();
            let asked = house.tasks().run_now(id, with(params.clone())).await;
            let wanted = match payload {
                Payload::Optional => true,
                Payload::Required => given,
                Payload::Forbidden => !given,
            };
            assert_eq!(asked.is_ok(), wanted, "{payload:?}, {params}");
            if wanted {
                assert_eq!(asked.unwrap().run.params, params);
            } else {
                assert!(invalid(asked).starts_with("invalid request: params: expected "));
            }
            assert_eq!(house.records(id).await.len(), before + usize::from(wanted));
        }
        // The bound holds whatever is declared: 8 bytes are what stands around the text.
        let large = |bytes: usize| with(json!({"a": "x".repeat(bytes - 8)}));
        let most = house.tasks().run_now(id, large(Run::MAX_PARAMS)).await;
        assert_eq!(most.is_ok(), payload != Payload::Forbidden);
        let text = invalid(house.tasks().run_now(id, large(Run::MAX_PARAMS + 1)).await);
        assert!(text.contains("params: expected at most 16384 bytes of JSON (they have 16385)"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn di02_a_missing_and_an_unknown_parameter_are_refused_and_an_optional_one_is_free() {
    let house = House::new().await;
    let id = house.create(taking("t", json!({"required": ["region"], "optional": ["dry_run"]}))).await;
    for good in [json!({"region": "eu"}), json!({"region": "eu", "dry_run": true})] {
        assert_eq!(house.tasks().run_now(id, with(good.clone())).await.unwrap().run.params, good);
    }
    assert_eq!(
        invalid(house.tasks().run_now(id, with(json!({"dry_run": true}))).await),
        "invalid request: params[\"region\"]: expected a value (the task requires it)"
    );
    assert_eq!(
        invalid(house.tasks().run_now(id, with(json!({"region": "eu", "dryrun": true}))).await),
        "invalid request: params: expected no others than \"region\", \"dry_run\" (the task does not know \"dryrun\")"
    );
    assert_eq!(house.records(id).await.len(), 2);
    let both = taking("u", json!({"required": ["a"], "optional": ["a"]}));
    assert!(
        invalid(house.tasks().create(both).await).contains("parameters.optional[0]: expected a name that")
    );
    // Nothing declared: anything goes, as before there were declarations.
    let free = house.create(spec("free", vec![])).await;
    house.tasks().run_now(free, with(json!({"what": "ever"}))).await.unwrap();
}

/// DI03: dues bring no parameters, so nothing may be required beside a schedule; what is optional or forbidden may.
#[tokio::test(start_paused = true)]
async fn di03_dues_bring_no_parameters_and_a_run_by_hand_is_no_due() {
    let house = House::new().await;
    let scheduled = |parameters| TaskSpec { schedules: vec![every(60)], ..taking("t", parameters) };
    for never in [json!({"required": ["region"]}), json!({"payload": "required"})] {
        let text = invalid(house.tasks().create(scheduled(never)).await);
        assert!(text.contains("expected nothing required beside a schedule (due times bring no"), "{text}");
    }
    let id = house.create(scheduled(json!({"optional": ["region"]}))).await;
    let asked = house.tasks().run_now(id, with(json!({"region": "eu"}))).await.unwrap().run;
    assert_eq!((asked.trigger, house.checkpoint(id).await), (Trigger::Manual, Some(0)));
    house.advance(60).await;
    let records = house.records(id).await;
    let [_, due] = &records[..] else { panic!("{records:?}") };
    assert_eq!((due.trigger, &due.params, due.scheduled_for), (Trigger::Schedule, &Value::Null, at(60)));
    // Nor does one come to be by a later change.
    let later = scheduled(json!({"required": ["region"]}));
    invalid(house.tasks().replace(id, later, Change::default()).await);
}

/// DI03: a deleted task refuses. A paused one does not, by design (HT09), and judges as an active one.
#[tokio::test(start_paused = true)]
async fn di03_a_paused_task_takes_what_it_declares_and_a_deleted_one_nothing() {
    let house = House::new().await;
    let paused = TaskSpec { status: TaskStatus::Paused, ..taking("t", json!({"required": ["region"]})) };
    let id = house.create(paused).await;
    invalid(house.tasks().run_now(id, RunRequest::default()).await);
    let run = house.tasks().run_now(id, with(json!({"region": "eu"}))).await.unwrap().run;
    assert_eq!(house.claim(5).await.iter().map(|run| run.id).collect::<Vec<_>>(), [run.id]);
    house.tasks().delete(id, None).await.unwrap();
    let refused = house.tasks().run_now(id, with(json!({"region": "eu"}))).await.unwrap_err();
    assert_eq!(refused, Error::TaskNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_repeated_with_its_parameters_unless_its_task_takes_others_by_now() {
    let house = House::new().await;
    let id = house.create(taking("t", json!({"required": ["region"]}))).await;
    let mut ended = Vec::new();
    for (minute, event) in [(1, RunEvent::Failed), (2, RunEvent::Lost { why: LostWhy::Vanished })] {
        let request = RunRequest { scheduled_for: Some(at(60 * minute)), ..with(json!({"region": "eu"})) };
        house.tasks().run_now(id, request).await.unwrap();
        let begun = house.claim(1).await.remove(0);
        ended.push(house.end(&begun, event).await);
    }
    let [failed, lost] = &ended[..] else { panic!("{ended:?}") };
    let again = house.tasks().retry(failed.id).await.unwrap().run;
    assert_eq!((again.trigger, &again.params), (Trigger::Retry { of: failed.id }, &json!({"region": "eu"})));
    let begun = house.claim(1).await.remove(0);
    let failed = house.end(&begun, RunEvent::Failed).await;

    changed(&house, id, taking("t", json!({"required": ["region", "day"]}))).await;
    let before = house.records(id).await.len();
    let (retried, resumed) = (house.tasks().retry(failed.id).await, house.tasks().resume_run(lost.id).await);
    for (run, refused) in [(failed.id, retried), (lost.id, resumed)] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, Error::OtherParameters { run: of, .. } if *of == run), "{error:?}");
        assert!(error.to_string().contains("params[\"day\"]: expected a value"), "{error}");
        assert_eq!(punctual_model::Error::from(error).code(), ErrorCode::Conflict);
    }
    let all = house.tasks().retry_failed(id, at(0)).await.unwrap();
    assert_eq!((all.runs.len(), all.refused, all.more), (0, vec![failed.id, lost.id], false));
    assert_eq!(house.records(id).await.len(), before);

    changed(&house, id, taking("t", json!({"optional": ["region"]}))).await;
    let all = house.tasks().retry_failed(id, at(0)).await.unwrap();
    assert_eq!((all.runs.len(), all.refused.len()), (2, 0));
}

/// What was accepted is a promise: it runs by the definition of its start and is not judged by it.
#[tokio::test(start_paused = true)]
async fn a_run_that_waits_is_not_judged_again_and_its_key_still_gets_it() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let keyed = |params| RunRequest { idempotency_key: Some("k".to_owned()), ..with(params) };
    let run = house.tasks().run_now(id, keyed(json!({"a": 1}))).await.unwrap().run;
    changed(&house, id, taking("t", json!({"payload": "forbidden"}))).await;
    let again = house.tasks().run_now(id, keyed(json!({"a": 1}))).await.unwrap();
    assert_eq!((again.run.id, again.existing, again.promise.id()), (run.id, true, run.id));
    let other = house.tasks().run_now(id, keyed(json!({"a": 2}))).await.unwrap_err();
    assert_eq!(other, Error::KeyReused { run: run.id, field: "params" });
    invalid(house.tasks().run_now(id, with(json!({"a": 1}))).await);
    let new = RunRequest { idempotency_key: Some("new".to_owned()), ..with(json!({"a": 1})) };
    invalid(house.tasks().run_now(id, new).await);
    let claimed = house.claim(5).await;
    assert_eq!(
        claimed.iter().map(|run| (run.id, &run.params)).collect::<Vec<_>>(),
        [(run.id, &json!({"a": 1}))]
    );
}
