//! The end of the process as a value: who may start it, who hears of it, and who holds it up.

use tokio::sync::watch;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new sessions; those that run may end by themselves.
    Draining,
    /// Everything ends now.
    Ending,
}

/// Starts the drain. Not `Clone`: there is one.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Phase>);

/// Hears of the drain.
#[derive(Clone, Debug)]
pub struct Watch(watch::Receiver<Phase>);

/// A trigger and its first watch.
pub fn drain() -> (Trigger, Watch) {
    let (tx, rx) = watch::channel(Phase::Running);
    (Trigger(tx), Watch(rx))
}

impl Trigger {
    /// Moves on to a phase; going back is not possible.
    pub fn advance(&self, to: Phase) {
        self.0.send_if_modified(|now| {
            let forward = to > *now;
            if forward {
                *now = to;
            }
            forward
        });
    }
}

impl Watch {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is at least `phase`. Also returns when the trigger is gone. Cancel safe.
    pub async fn reached(&mut self, phase: Phase) {
        // an error means that the trigger was dropped: nobody is left who could hold the end back
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_is_heard_and_never_goes_back() {
        let (trigger, mut watch) = drain();
        trigger.advance(Phase::Ending);
        trigger.advance(Phase::Draining);
        watch.reached(Phase::Draining).await;
        assert_eq!(watch.phase(), Phase::Ending);
    }
}
