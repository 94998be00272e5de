//! What may be asked of the engine, and how whoever asked is told.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    alarm::{
        lifecycle::{Command, CommandError},
        rule::InvalidRule,
    },
    registry::Device,
    store::{AlarmRow, AlarmRuleRow, StoreError},
    telemetry::{SensorId, Timestamp},
};

const ORDER_WEIGHT: usize = 1_024;

/// Something for the engine to do.
#[derive(Debug)]
pub enum Order {
    /// An operator's command on an alarm. The reply is the alarm as it then stands; dropped: the
    /// order was not carried out.
    Operate {
        alarm: i64,
        action: Action,
        actor: Option<String>,
        note: Option<String>,
        reply: oneshot::Sender<Result<AlarmRow, OrderError>>,
    },
    /// The same of several alarms, in one transaction: those that refuse it keep none of the others from
    /// it. Bound: what a request may name.
    OperateAll {
        /// Each once.
        alarms: Vec<i64>,
        action: Action,
        actor: Option<String>,
        note: Option<String>,
        reply: oneshot::Sender<Result<Vec<Operated>, OrderError>>,
    },
    /// A rule was made or edited.
    PutRule {
        row: AlarmRuleRow,
        done: Option<Done>,
    },
    /// A rule was deleted.
    RemoveRule {
        id: i64,
        done: Option<Done>,
    },
    /// A device or one of its sensors was edited: other rules may be for it.
    Reconsider {
        device: Arc<Device>,
    },
    /// A device or a sensor is being deleted: its alarms end and are followed no more, so that their
    /// rows can go.
    Forget {
        device: Arc<Device>,
        /// This one of its sensors only.
        sensor: Option<SensorId>,
        /// Told what the store says that will not change; dropped: it may be asked for again.
        done: Option<oneshot::Sender<Result<(), StoreError>>>,
    },
    Presence {
        device: Arc<Device>,
        online: bool,
        at: Timestamp,
    },
}

/// One alarm of [`Order::OperateAll`], and why not.
pub type Operated = (i64, Result<(), CommandError>);

/// Told when an order is carried out; dropped: it was not, or it was of no use.
pub type Done = oneshot::Sender<()>;

/// What an operator does to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Acknowledge,
    Unacknowledge,
    Clear,
    Shelve { until: Timestamp },
    Unshelve,
    Reset,
    TakeOutOfService,
    PutInService,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The alarm is not in a state for it; or it is closed, or there is none.
    #[error(transparent)]
    Refused(#[from] CommandError),
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What whoever waits for an order is told.
#[derive(Debug)]
pub enum CarriedOut {
    /// Of [`Order::Operate`].
    Alarm(Box<AlarmRow>),
    /// Of [`Order::OperateAll`].
    Each(Vec<Operated>),
    /// Of the others.
    Silently,
}

impl Order {
    /// Bytes that it holds on to.
    pub fn weight(&self) -> usize {
        let named = if let Self::OperateAll { alarms, .. } = self { alarms.len() } else { 0 };
        ORDER_WEIGHT + named * size_of::<i64>()
    }

    /// A person waits for the reply; another may be asked for when there is no room.
    pub fn is_of_operator(&self) -> bool {
        matches!(self, Self::Operate { .. } | Self::OperateAll { .. })
    }

    /// Who waited was told that it is not done.
    pub fn is_given_up(&self) -> bool {
        match self {
            Self::Operate { reply, .. } => reply.is_closed(),
            Self::OperateAll { reply, .. } => reply.is_closed(),
            _ => false,
        }
    }

    /// Tells whoever waits for a reply, should anybody still do.
    pub fn answer(self, result: Result<CarriedOut, OrderError>) {
        match (self, result) {
            (Self::Operate { reply, .. }, Ok(CarriedOut::Alarm(alarm))) => {
                let _ = reply.send(Ok(*alarm));
            }
            (Self::Operate { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
            (Self::OperateAll { reply, .. }, Ok(CarriedOut::Each(each))) => {
                let _ = reply.send(Ok(each));
            }
            (Self::OperateAll { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
            (
                Self::PutRule { done: Some(done), .. } | Self::RemoveRule { done: Some(done), .. },
                Ok(_),
            ) => drop(done.send(())),
            (Self::Forget { done: Some(done), .. }, Ok(_)) => drop(done.send(Ok(()))),
            (Self::Forget { done: Some(done), .. }, Err(OrderError::Store(error)))
                if error.is_poison() =>
            {
                drop(done.send(Err(error)));
            }
            _ => {}
        }
    }
}

impl Action {
    pub(super) fn command(self) -> Option<Command<'static>> {
        Some(match self {
            Self::Acknowledge => Command::Acknowledge,
            Self::Unacknowledge => Command::Unacknowledge,
            Self::Clear => return None,
            Self::Shelve { until } => Command::Shelve { until },
            Self::Unshelve => Command::Unshelve,
            Self::Reset => Command::Reset,
            Self::TakeOutOfService => Command::TakeOutOfService,
            Self::PutInService => Command::PutInService,
        })
    }
}
