//! What a client is sent, in order: what it missed, then what happens.
//!
//! The subscription comes first; it says up to which reading the store is to be read. So nothing is
//! sent twice, and nothing is left out between the two.

use std::{future::poll_fn, sync::Arc, vec};

use super::missed::Missed;
use crate::{
    api::{Api, problem::Fault},
    live::{Cursor, Delivery, Event, Filter, Kind, Subscription},
    registry::{Device, Registry},
};

/// Events handed over at a time.
const TAKE_MAX: usize = 64;

pub(super) struct Feed {
    subscription: Subscription,
    /// What comes before everything else.
    head: vec::IntoIter<Event>,
    missed: Missed,
    taken: Vec<Delivery>,
}

impl Feed {
    /// Begins after `last`, where it is given; else with what happens from here on.
    pub(super) async fn open(
        api: &Arc<Api>,
        filter: Filter,
        last: Option<Cursor>,
    ) -> Result<Self, Fault> {
        let subscription = api.streams.hub.subscribe(filter);
        let mut head = Vec::new();
        let missed = match last {
            None => Missed::nothing(api, subscription.start()),
            Some(after) => {
                let filter = subscription.filter();
                if filter.kinds.contains(Kind::Presence) {
                    head.extend(presence(&api.registry, filter));
                }
                let _turn =
                    api.streams.resumes.acquire().await.map_err(|_| Fault::unavailable())?;
                Missed::read(api, filter, (after, subscription.start())).await?
            }
        };
        Ok(Self { subscription, head: head.into_iter(), missed, taken: Vec::new() })
    }

    /// What the client has already; to be asked before the first events are taken.
    pub(super) fn begun_after(&self) -> Cursor {
        self.missed.cursor()
    }

    pub(super) fn filter(&self) -> &Filter {
        self.subscription.filter()
    }

    /// What comes after the cursor is listened to like that.
    pub(super) fn change(&mut self, filter: Filter) -> Cursor {
        self.subscription.change(filter)
    }

    /// Moves the next events to `into`, waiting for the first. `false`: there will be no more. May be
    /// given up while it waits.
    pub(super) async fn take(&mut self, into: &mut Vec<Arc<Event>>) -> bool {
        into.extend(self.head.by_ref().take(TAKE_MAX).map(Arc::new));
        if into.is_empty() {
            into.extend(self.missed.by_ref().take(TAKE_MAX).map(Arc::new));
        }
        if !into.is_empty() {
            return true;
        }
        let (subscription, taken) = (&mut self.subscription, &mut self.taken);
        let is_open = poll_fn(|context| subscription.poll_take(context, taken, TAKE_MAX)).await;
        into.extend(taken.drain(..).map(|delivery| match delivery {
            Delivery::Event(event) => event,
            Delivery::Gap(missed) => Arc::new(Event::gap(Some(missed))),
        }));
        is_open
    }
}

/// The presence of the devices that a filter is about, as it is.
fn presence(registry: &Registry, filter: &Filter) -> Vec<Event> {
    let devices = if filter.is_everything {
        registry.all()
    } else {
        filter.devices.iter().filter_map(|device| registry.get(device.as_str())).collect()
    };
    let event = |device: &Arc<Device>| {
        let device = device.snapshot();
        let at = device.last_seen.unwrap_or(device.first_seen);
        Event::presence(&device.key, device.online, at)
    };
    devices.iter().map(event).collect()
}
