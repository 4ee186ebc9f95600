//! What runs write, and how it is read back.

use crate::clockwork::{at, create, handling, run_now, scripted, secs, task};
use punctual::executor::output::{Content, Frame};
use punctual::model::outcome::OutputSummary;
use punctual::model::{RunId, RunStateName};
use punctual::prelude::*;
use punctual::testing::Act;

/// More than any output here.
const ALL: usize = usize::MAX;

fn text(frames: &[Frame]) -> String {
    frames.iter().map(|frame| String::from_utf8(frame.content.show().into_owned()).unwrap()).collect()
}

/// TS19: by run only its own pieces, each with its number and its time; by task all of them, run by run.
#[tokio::test(start_paused = true)]
async fn ts19_the_output_of_a_run_is_its_own_and_that_of_a_task_goes_run_by_run() {
    let t = scripted().await;
    t.script(|attempt| {
        let line = |what| format!("{what} {} of {}\n", attempt.task.spec.name, attempt.run.scheduled_for);
        Act::Print(line("begin"), Box::new(Act::Print(line("end"), Box::new(Act::Succeed))))
    });
    for name in ["a", "b"] {
        create(&t, task(name).every(secs(60))).await;
    }
    t.advance(secs(120)).await;
    for name in ["a", "b"] {
        let runs = t.runs(name).await;
        assert_eq!(runs.len(), 2);
        let mut of_task = String::new();
        for (run, due) in runs.iter().zip([at(60), at(120)]) {
            let frames = t.outputs().tail(run.id, ALL).unwrap();
            assert_eq!(text(&frames), format!("begin {name} of {due}\nend {name} of {due}\n"));
            assert_eq!(
                frames.iter().map(|frame| (frame.sequence, frame.at)).collect::<Vec<_>>(),
                [(0, due), (1, due)]
            );
            of_task += &text(&frames);
        }
        let lines: Vec<&str> = of_task.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[..2].iter().all(|line| line.ends_with(&at(60).to_string())), "{lines:?}");
    }
}

/// TS24: of runs that have ended and of one that is at work, in order; by run, and by task.
#[tokio::test(start_paused = true)]
async fn ts24_live_and_finished_runs_both_show_what_they_wrote() {
    let t = scripted().await;
    t.script(|attempt| {
        let end = if attempt.run.scheduled_for == at(180) { Act::Hang } else { Act::Succeed };
        Act::Print(format!("{}\n", attempt.run.scheduled_for), Box::new(end))
    });
    create(&t, task("report").every(secs(60))).await;
    t.advance(secs(180)).await;
    let runs = t.runs("report").await;
    let states: Vec<_> = runs.iter().map(|run| run.state().name()).collect();
    use RunStateName as S;
    assert_eq!(states, [S::Succeeded, S::Succeeded, S::Running]);
    let written: Vec<_> = runs.iter().map(|run| text(&t.outputs().tail(run.id, ALL).unwrap())).collect();
    assert_eq!(written, [60, 120, 180].map(|due| format!("{}\n", at(due))));
    let nobody = RunId::new(1).unwrap();
    assert!(t.outputs().tail(nobody, ALL).unwrap().is_empty());
}

/// Long enough that a hundred thousand are more than a run may keep.
fn line(n: u32) -> String {
    format!("{n:06} {}", "x".repeat(120))
}

async fn talkative(ctx: RunCtx) -> Result<u64, TaskError> {
    let mut bytes = 0;
    for n in 0..100_000 {
        let line = line(n);
        bytes += line.len() as u64 + 1;
        ctx.log(line);
    }
    Ok(bytes)
}

/// XT12: the first and the newest lines are kept, the rest is counted, and both the record and the reader see how
/// much it was.
#[tokio::test(start_paused = true)]
async fn xt12_of_a_hundred_thousand_lines_what_is_over_the_cap_is_counted_and_seen() {
    let (engine, _) = handling(Handlers::new().add("talkative", talkative)).await;
    let id = create(&engine, task("talkative")).await;
    let run = run_now(&engine, id).await.wait().await.unwrap();
    let outcome = run.outcome.unwrap();
    let written: u64 = serde_json::from_value(outcome.result.unwrap()).unwrap();
    let OutputSummary { bytes, dropped } = outcome.output.unwrap();
    assert_eq!(bytes + dropped, written);
    assert!(bytes > 7_500_000 && bytes <= 10 << 20, "{bytes}");
    let frames = engine.outputs().tail(run.id, ALL).unwrap();
    let marks: Vec<_> = frames.iter().filter(|frame| matches!(frame.content, Content::Dropped(_))).collect();
    assert_eq!(marks.iter().map(|frame| &frame.content).collect::<Vec<_>>(), [&Content::Dropped(dropped)]);
    let shown = text(&frames);
    let (first, newest) = shown.split_once(&format!("\n[{dropped} bytes of output dropped]\n")).unwrap();
    let whole = first.len() / (line(0).len() + 1);
    assert!(
        whole > 40_000 && first.lines().take(whole).enumerate().all(|(n, shown)| shown == line(n as u32))
    );
    let newest: Vec<&str> = newest.lines().collect();
    let of_end = |(n, shown): (usize, &&str)| *shown == line(99_999 - n as u32);
    assert!(newest.len() > 20_000 && newest.iter().rev().take(newest.len() - 1).enumerate().all(of_end));
}
