use super::bench::{Bench, at, events, restarts, seconds};
use super::recorder::{told, with};
use crate::asked::Asked;
use crate::executor::Executor as _;
use crate::scripted::{Act, Ask};
use punctual_model::event::EventKind;
use punctual_model::{CancelWhy, LostWhy, Run, RunId, RunState, StopWhy, TaskSpec, Work};

const CANCELED: RunState = RunState::Canceled { why: CancelWhy::Asked };

fn spec() -> TaskSpec {
    TaskSpec::new("report", Work::handler("report"))
}

async fn restart(bench: &Bench, id: RunId) -> Asked {
    bench.pool.restart(id, "it hangs".to_owned()).await.unwrap()
}

fn done(asked: Asked) -> Run {
    match asked {
        Asked::Done(run) => run,
        other => panic!("{other:?}"),
    }
}

fn signals(run: &Run) -> Vec<String> {
    let signals = run.events.iter().filter_map(|event| match &event.kind {
        EventKind::Signaling { signal, .. } => Some(signal.clone()),
        _ => None,
    });
    signals.collect()
}

#[tokio::test(start_paused = true)]
async fn tr16_a_restart_on_request_is_at_once_and_counts_for_no_policy() {
    for policy in [Default::default(), restarts(1)] {
        let (bench, log) = with([]).await;
        bench.acts([Act::EndSlowly(seconds(2), 3), Act::Hang]);
        let task = bench.task(TaskSpec { shutdown_delay: seconds(1), ..spec().restart(policy) }).await;
        let promise = bench.go(&task).await;
        bench.pass(seconds(10)).await;
        told(&log);
        let asked = done(restart(&bench, promise.id()).await);
        assert_eq!(asked.state(), RunState::Stopping { why: StopWhy::Restart, since: at(10) });
        // Asked again, it is the same one.
        done(restart(&bench, promise.id()).await);
        bench.pass(seconds(3)).await;
        let run = bench.run(promise.id()).await;
        assert_eq!((run.state(), run.life.attempt, run.started_at), (RunState::Running, 2, Some(at(13))));
        assert_eq!(run.restarts, Default::default(), "counted for the policy");
        let request = run.events.iter().next().unwrap();
        assert_eq!(request.at, at(10));
        assert_eq!(request.kind, EventKind::RestartAsked { reason: "it hangs".to_owned() });
        assert_eq!(events(&run), ["restart asked", "shutdown delay", "restarting"]);
        let expect = ["a prekill Some(Restart)", "a exited badly", "a prestart", "a poststart"];
        assert_eq!(told(&log), expect, "no stop hook: the run goes on");
        promise.cancel().await.unwrap();
        bench.pass(seconds(1)).await;
        assert_eq!(promise.wait().await.unwrap().state(), CANCELED);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_at_work_is_neither_restarted_nor_signalled() {
    let bench = Bench::new().await;
    bench.acts([Act::Exit(1), Act::IgnoreTerm]);
    let task = bench.task(spec().restart(restarts(5))).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    let refused = |asked: Asked| match asked {
        Asked::NotAtWork(run) => run.state(),
        other => panic!("{other:?}"),
    };
    let id = promise.id();
    assert!(refused(restart(&bench, id).await).is_waiting());
    assert!(refused(bench.pool.signal(id, "HUP".to_owned()).await.unwrap()).is_waiting());
    bench.pass(seconds(100)).await;
    promise.cancel().await.unwrap();
    let stopping = |state| matches!(state, RunState::Stopping { why: StopWhy::Cancel, .. });
    assert!(stopping(refused(restart(&bench, id).await)));
    bench.settle().await;
    assert!(stopping(refused(bench.pool.signal(id, "HUP".to_owned()).await.unwrap())));
    bench.pass(seconds(10)).await;
    assert_eq!(refused(restart(&bench, id).await), CANCELED);
    assert_eq!(refused(bench.pool.signal(id, "HUP".to_owned()).await.unwrap()), CANCELED);
    let nobody = RunId::new(99_999).unwrap();
    assert_eq!(restart(&bench, nobody).await, Asked::Unknown);
}

/// Whoever wants the run to end wants no other attempt, whichever came first.
#[tokio::test(start_paused = true)]
async fn a_cancel_during_a_restart_wins() {
    let bench = Bench::new().await;
    bench.acts([Act::EndSlowly(seconds(4), 0)]);
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    done(restart(&bench, promise.id()).await);
    bench.pass(seconds(1)).await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(3)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (CANCELED, 1));
}

/// The wish is durable: the node dies before anything was done about it, and in the middle of it, with work that is
/// found again and with work that is not.
#[tokio::test(start_paused = true)]
async fn a_restart_that_was_asked_for_comes_about_whatever_dies() {
    for is_found in [true, false] {
        for later in [0, 2] {
            let bench = Bench::new().await;
            bench.acts([Act::EndSlowly(seconds(4), 0), Act::Hang]);
            let task = bench.task(spec()).await;
            let id = bench.go(&task).await.id();
            bench.settle().await;
            done(restart(&bench, id).await);
            bench.pass(seconds(later)).await;
            let bench = bench.crash().await;
            if is_found {
                // It may have ended well by itself meanwhile: it was to begin again.
                bench.driver.is_alive(id, if later == 0 { Act::Hang } else { Act::Succeed });
            }
            bench.acts([Act::Fail("of no use".to_owned()), Act::Hang]);
            bench.pool.resume(bench.dispatch(id).await).await.unwrap();
            bench.settle().await;
            let run = bench.run(id).await;
            assert_eq!((run.state(), run.life.attempt), (RunState::Running, 2), "{is_found} {later}");
        }
    }
}

/// Between the exit and the decision of what follows: the wish is followed, or nobody was told that it would be.
#[tokio::test(start_paused = true)]
async fn a_restart_that_meets_the_end_of_the_work_is_followed_or_refused() {
    let (mut followed, mut refused) = (0, 0);
    for end in 0..4 {
        let bench = Bench::new().await;
        bench.acts([Act::run_for(seconds(2)), Act::Hang]);
        let task = bench.task(spec()).await;
        let id = bench.go(&task).await.id();
        bench.settle().await;
        bench.pass(seconds(end)).await;
        match restart(&bench, id).await {
            Asked::Done(_) => {
                bench.settle().await;
                assert_eq!(bench.run(id).await.life.attempt, 2);
                followed += 1;
            }
            Asked::NotAtWork(_) => {
                bench.settle().await;
                assert_eq!(bench.state(id).await, RunState::Succeeded);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((followed, refused), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_that_was_to_begin_again_is_told_no_end() {
    let (bench, log) = with([]).await;
    bench.acts([Act::Hang]);
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let lost = bench.crash().await;
    lost.acts([Act::Hang]);
    told(&log);
    let run = lost.pool.resume(lost.dispatch(id).await).await.unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    assert_eq!(told(&log), ["a stop lost"]);
    let task = lost.task(TaskSpec { name: "again".to_owned(), ..spec() }).await;
    let id = lost.go(&task).await.id();
    lost.settle().await;
    done(restart(&lost, id).await);
    let lost = lost.crash().await;
    told(&log);
    let run = lost.pool.resume(lost.dispatch(id).await).await.unwrap();
    assert!(run.state().is_waiting(), "{:?}", run.state());
    assert_eq!(told(&log), [""; 0]);
    assert_eq!(events(&run), ["restart asked", "restarting"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_reaches_the_work_and_the_record_says_so() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    for signal in ["HUP", "USR1"] {
        let (asked, ()) = tokio::join!(bench.pool.signal(promise.id(), signal.to_owned()), bench.settle());
        assert_eq!(done(asked.unwrap()).state(), RunState::Running);
    }
    let given: Vec<Ask> = bench.driver.asked().into_iter().map(|asked| asked.what).collect();
    assert_eq!(given, [Ask::Start, Ask::Signal("HUP".to_owned()), Ask::Signal("USR1".to_owned())]);
    // Durably, and it goes on.
    let id = promise.id();
    let bench = bench.crash().await;
    let run = bench.run(id).await;
    assert_eq!((run.state(), signals(&run)), (RunState::Running, vec!["HUP".to_owned(), "USR1".to_owned()]));
}
