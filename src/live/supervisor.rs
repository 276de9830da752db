//! What systemd is told: ready, stopping, alive. Without systemd nothing happens.
//!
//! `WATCHDOG=1` is a claim that the analysis moves on, so it is made only while it does; if it is not
//! made in time, systemd starts the process again.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// All addresses are bound and served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says at half the interval that systemd asks for that the process is alive, as long as `progress`, a
/// number that moves about every second, has moved within the interval. Returns at once if systemd does
/// not ask.
pub(super) async fn keep_watched(progress: impl Fn() -> u64) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    watch(interval, progress, || tell(&[NotifyState::Watchdog])).await;
}

async fn watch(interval: Duration, progress: impl Fn() -> u64, alive: impl Fn()) {
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    let (mut last, mut still) = (progress(), 0);
    loop {
        ticks.tick().await;
        let now = progress();
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still < 2 {
            alive();
        }
    }
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot notify the supervisor");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_analysis_that_stands_still_is_not_called_alive() {
        let (steps, claims) = (Cell::new(0), Cell::new(0));
        let moves = || {
            steps.set(steps.get() + 1);
            steps.get()
        };
        let claim = || claims.set(claims.get() + 1);
        let minute = Duration::from_secs(59);
        // At the start and every five seconds.
        let _ = timeout(minute, watch(Duration::from_secs(10), moves, claim)).await;
        assert_eq!(claims.take(), 12);
        let _ = timeout(minute, watch(Duration::from_secs(10), || 7, claim)).await;
        assert_eq!(claims.take(), 1, "the benefit of the first doubt");
    }
}
