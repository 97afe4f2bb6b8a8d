//! A process of its own: once it waits for signals, it ignores them for the rest of its life.

use std::time::Duration;

use runtime::shutdown::{Shutdown, ShutdownError};
use rustix::process::{Signal, getpid, kill_process};

#[tokio::test]
async fn signals_begin_the_drain_and_then_force_the_stop() {
    let shutdown = Shutdown::new();
    let drain = shutdown.drain();
    let work = async {
        kill_process(getpid(), Signal::TERM).unwrap();
        drain.started().await;
        assert!(!drain.is_forced());
        kill_process(getpid(), Signal::INT).unwrap();
        drain.forced().await;
    };
    let run = shutdown.run(Duration::from_secs(60), work).await;
    assert!(matches!(run, Err(ShutdownError::SecondSignal)));
}
