use std::future::{pending, ready};

use tokio::time::Instant;

use super::*;

const GRACE: Duration = Duration::from_secs(25);

/// Signals at these seconds after the start, then none.
fn signals(at: &[u64]) -> impl AsyncFnMut() -> &'static str {
    let start = Instant::now();
    let mut times = at.iter().copied();
    async move || match times.next() {
        Some(second) => {
            tokio::time::sleep_until(start + Duration::from_secs(second)).await;
            "SIGTERM"
        }
        None => pending().await,
    }
}

#[tokio::test]
async fn handles_see_the_phases_in_order() {
    let shutdown = Shutdown::new();
    let drain = shutdown.drain();
    assert!(!drain.is_draining() && !drain.is_forced());
    shutdown.begin("test");
    drain.started().await;
    assert!(drain.is_draining() && !drain.is_forced());
    shutdown.force();
    drain.forced().await;
    assert!(drain.is_forced());
}

#[test]
fn forcing_also_begins_the_drain() {
    let shutdown = Shutdown::new();
    shutdown.force();
    assert!(shutdown.drain().is_draining());
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_by_itself_ends_the_run() {
    let run = Shutdown::new().run_on(GRACE, ready(7), signals(&[])).await;
    assert_eq!(run.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_signal_begins_the_drain_and_work_may_finish() {
    let shutdown = Shutdown::new();
    let drain = shutdown.drain();
    let work = async {
        drain.started().await;
        tokio::time::sleep(GRACE / 2).await;
        assert!(!drain.is_forced());
        "done"
    };
    let run = shutdown.run_on(GRACE, work, signals(&[3])).await;
    assert_eq!(run.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_forces_the_stop() {
    let shutdown = Shutdown::new();
    let begun = Instant::now();
    let run = shutdown.run_on(GRACE, pending::<()>(), signals(&[3])).await;
    assert!(matches!(run, Err(ShutdownError::Deadline(GRACE))));
    assert!(shutdown.drain().is_forced());
    assert_eq!(begun.elapsed(), Duration::from_secs(3) + GRACE + LAST_MOMENTS);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_aborts_at_once() {
    let shutdown = Shutdown::new();
    let begun = Instant::now();
    let work = shutdown.drain().forced(); // obeys, so that no last moment is needed
    let run = shutdown.run_on(GRACE, work, signals(&[3, 4])).await;
    assert!(matches!(run, Err(ShutdownError::SecondSignal)));
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_after_a_programmatic_drain_does_not_abort() {
    let shutdown = Shutdown::new();
    shutdown.begin("lifeline closed");
    let work = tokio::time::sleep(Duration::from_secs(10));
    assert!(shutdown.run_on(GRACE, work, signals(&[3])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_programmatic_force_is_no_clean_stop() {
    let shutdown = Shutdown::new();
    let work = shutdown.drain().started();
    shutdown.force();
    let run = shutdown.run_on(GRACE, work, signals(&[])).await;
    assert!(matches!(run, Err(ShutdownError::Forced)));
}
