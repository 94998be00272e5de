//! The door of ingest: takes what MQTT and HTTP bring, decodes it in the caller's task, and queues
//! it for the committer.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use jiff::tz::TimeZone;
use tokio::sync::{Semaphore, oneshot};

use super::{
    decode::{Decoded, MessageContext, decode},
    metrics::Meters,
    outcome::{Detailed, ImportTerms},
    queue::Queue,
    rejection::{Rejection, RejectionReason},
    submission::{DeviceRef, Origin, Reply, Submission, Task},
    verdict::Verdict,
};
use crate::{
    clock::Clock,
    mqtt::{Entry, Offer, PublishTap, SessionStore, TappedMessage},
    registry::Registry,
    routes::{MessageKind, PayloadForm, RouteMatch, RouteTable},
    telemetry::{DeviceKey, DeviceKind, Sample, SensorName, Timestamp},
};

pub struct Tap {
    pub(super) routes: RouteTable,
    pub(super) registry: Arc<Registry>,
    pub(super) queue: Arc<Queue<Task>>,
    pub(super) zone: TimeZone,
    pub(super) clock: Clock,
    pub(super) meters: Arc<Meters>,
    /// Rehearsals that somebody waits for; further ones wait here.
    pub(super) rehearsals: Semaphore,
}

pub(super) const REHEARSALS_MAX: usize = 4;

/// A message that did not come over MQTT, or comes a second time.
#[derive(Debug, Clone)]
pub struct Upload {
    /// `mqtt` or `http`.
    pub source: &'static str,
    /// The topic or the path that it came by.
    pub topic: String,
    pub payload: Bytes,
    /// Whose it is, where topic and body don't say.
    pub device: Option<DeviceKey>,
    pub form: PayloadForm,
    /// When it came first; `None`: it does so just now.
    pub received_at: Option<Timestamp>,
    /// It is in quarantine or on hold, and stays there when it is refused again.
    pub is_kept_already: bool,
}

/// Readings of one device with times of their own, at most as many as a message may have.
#[derive(Debug, Clone)]
pub struct Import {
    pub device: DeviceKey,
    pub readings: Vec<Sample>,
    pub terms: ImportTerms,
}

impl PublishTap for Tap {
    fn offer(&self, message: TappedMessage) -> Offer {
        let publication = message.publication.clone();
        let Some(found) = self.routes.find(publication.topic.as_str()) else {
            return Offer::Pass(message);
        };
        if !self.queue.has_room() {
            return self.full(message);
        }
        let origin = Origin {
            source: "mqtt",
            topic: publication.topic.shared(),
            payload: publication.payload.clone(),
            route: Some(found.route),
            is_kept_already: false,
            is_replayed: false,
            held: None,
        };
        let received_at = Timestamp::from_micros(publication.received_at);
        let submission = self.routed(found, origin, received_at, Reply::Mqtt(message));
        match self.push(Task::Message(Box::new(submission))) {
            Err(Task::Message(submission)) => match submission.reply {
                Reply::Mqtt(message) => self.full(message),
                Reply::Waiting(_) | Reply::Detailed(_) => Offer::Taken,
            },
            Ok(()) | Err(_) => Offer::Taken,
        }
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_room(context)
    }
}

impl SessionStore for Tap {
    fn offer(&self, entry: Box<Entry>) -> Result<(), Box<Entry>> {
        match self.push(Task::Broker(entry)) {
            // A closed queue never has room again: dropping the entry says "not stored".
            Err(Task::Broker(entry)) if !self.queue.is_closed() => Err(entry),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn insist(&self, entry: Box<Entry>) {
        let task = Task::Broker(entry);
        // A closed queue is the process's end: what was not taken by then was not promised either.
        let _ = self.queue.push_over(task.weight(), task);
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_room(context)
    }
}

impl Tap {
    fn push(&self, task: Task) -> Result<(), Task> {
        self.queue.try_push(task.weight(), task)
    }

    /// A closed queue never has room again: dropping the message says "not stored".
    fn full(&self, message: TappedMessage) -> Offer {
        if self.queue.is_closed() {
            drop(message);
            return Offer::Taken;
        }
        Offer::Full(message)
    }

    fn routed(
        &self,
        found: RouteMatch<'_>,
        origin: Origin,
        received_at: Timestamp,
        reply: Reply,
    ) -> Submission {
        let received = self.clock.monotonic();
        let kind = found.kind;
        let taught = if found.teaches_gateway { DeviceKind::Gateway } else { DeviceKind::Device };
        let named = self.device(found.device, taught).map(|device| {
            let sensor = found.sensor.map(SensorName::in_topic).transpose();
            let sensor = sensor.map_err(|error| {
                let given = found.sensor.unwrap_or_default();
                Rejection::of_sensor(given, RejectionReason::Name, error.to_string())
            });
            (device, sensor)
        });
        let (device, content) = match named {
            Err(rejection) => (DeviceRef::Illegal, Err(rejection)),
            Ok((device, Err(rejection))) => (device, Err(rejection)),
            Ok((device, Ok(sensor))) => {
                let context = MessageContext {
                    kind,
                    form: found.form,
                    device: device.key(),
                    sensor: sensor.as_ref(),
                    received_at,
                    zone: &self.zone,
                };
                let content = decode(&origin.payload, &context);
                (device, content)
            }
        };
        Submission { device, kind, content, received_at, received, origin, reply, import: None }
    }

    fn device(&self, text: &str, kind: DeviceKind) -> Result<DeviceRef, Rejection> {
        if let Some(device) = self.registry.get(text) {
            return Ok(DeviceRef::Known(device));
        }
        DeviceKey::new(text)
            .map(|key| DeviceRef::New(key, kind))
            .map_err(|error| Rejection::of_message(RejectionReason::DeviceId, error.to_string()))
    }

    /// Takes a message that is not a client's PUBLISH, waits for room and for the verdict.
    pub async fn upload(&self, upload: Upload) -> Verdict {
        let (sender, verdict) = oneshot::channel();
        let submission = self.submission(upload, Reply::Waiting(sender));
        self.submit(Task::Message(submission)).await;
        verdict.await.unwrap_or_default()
    }

    /// The same for a message of a hold. It leaves the hold once it is stored, or refused for what it
    /// says; where it had left it before, nothing comes of it.
    pub(super) async fn replay(&self, upload: Upload, held: i64) -> Verdict {
        let (sender, verdict) = oneshot::channel();
        let mut submission = self.submission(upload, Reply::Waiting(sender));
        submission.origin.held = Some(held);
        self.submit(Task::Message(submission)).await;
        verdict.await.unwrap_or_default()
    }

    /// The same as `upload`, and what became of each reading.
    pub async fn upload_detailed(&self, upload: Upload) -> Detailed {
        let (sender, told) = oneshot::channel();
        let submission = self.submission(upload, Reply::Detailed(sender));
        self.submit(Task::Message(submission)).await;
        told.await.unwrap_or_default()
    }

    /// What would become of a message; nothing of it is kept.
    pub async fn rehearse(&self, upload: Upload) -> Detailed {
        let _place = self.rehearsals.acquire().await;
        let (sender, told) = oneshot::channel();
        let submission = self.submission(upload, Reply::Detailed(sender));
        self.submit(Task::Rehearsal(submission)).await;
        told.await.unwrap_or_default()
    }

    /// Stores readings that come from elsewhere than their device.
    pub async fn import(&self, import: Import) -> Detailed {
        let (sender, told) = oneshot::channel();
        let submission = self.imported(import, Reply::Detailed(sender));
        self.submit(Task::Message(submission)).await;
        told.await.unwrap_or_default()
    }

    /// What would become of such readings; nothing of them is kept.
    pub async fn rehearse_import(&self, import: Import) -> Detailed {
        let _place = self.rehearsals.acquire().await;
        let (sender, told) = oneshot::channel();
        let submission = self.imported(import, Reply::Detailed(sender));
        self.submit(Task::Rehearsal(submission)).await;
        told.await.unwrap_or_default()
    }

    fn imported(&self, import: Import, reply: Reply) -> Box<Submission> {
        let Import { device, readings, terms } = import;
        let received_at = Timestamp::from_micros(self.clock.unix_micros());
        let device = match self.registry.get(device.as_str()) {
            Some(device) => DeviceRef::Known(device),
            None => DeviceRef::New(device, DeviceKind::Device),
        };
        Box::new(Submission {
            device,
            kind: MessageKind::Data,
            content: Ok(Decoded { readings, ..Decoded::default() }),
            received_at,
            received: self.clock.monotonic(),
            origin: Origin {
                source: "import",
                topic: "import".into(),
                payload: Bytes::new(),
                route: None,
                is_kept_already: true,
                is_replayed: false,
                held: None,
            },
            reply,
            import: Some(terms),
        })
    }

    fn submission(&self, upload: Upload, reply: Reply) -> Box<Submission> {
        let Upload { source, topic, payload, device, form, received_at, is_kept_already } = upload;
        let now = Timestamp::from_micros(self.clock.unix_micros());
        let is_replayed = received_at.is_some();
        let received_at = received_at.unwrap_or(now);
        let route = self.routes.find(&topic);
        let origin = Origin {
            source,
            topic: topic.as_str().into(),
            payload,
            route: route.map(|found| found.route),
            is_kept_already,
            is_replayed,
            held: None,
        };
        Box::new(match route {
            Some(found) => self.routed(found, origin, received_at, reply),
            None => self.unrouted(device, form, origin, received_at, reply),
        })
    }

    /// Waits for room. A closed queue drops the task, which says "not stored".
    async fn submit(&self, mut task: Task) {
        loop {
            std::future::poll_fn(|context| self.queue.poll_room(context)).await;
            task = match self.push(task) {
                Ok(()) => return,
                Err(_) if self.queue.is_closed() => return,
                Err(task) => task,
            };
        }
    }

    /// An HTTP upload: the device is the caller's word, else the body's.
    fn unrouted(
        &self,
        device: Option<DeviceKey>,
        form: PayloadForm,
        origin: Origin,
        received_at: Timestamp,
        reply: Reply,
    ) -> Submission {
        let received = self.clock.monotonic();
        let kind = MessageKind::Data;
        let context = MessageContext {
            kind,
            form,
            device: device.as_ref(),
            sensor: None,
            received_at,
            zone: &self.zone,
        };
        let content = decode(&origin.payload, &context);
        let in_body = content.as_ref().ok().and_then(|decoded| decoded.device_in_body.clone());
        let named = match (device, in_body) {
            (Some(device), _) => self.device(device.as_str(), DeviceKind::Device),
            (None, Some(text)) => self.device(&text, DeviceKind::Device),
            (None, None) => Err(Rejection::of_message(
                RejectionReason::DeviceId,
                "nothing says whose data it is: bind the key to a device, or send X-Device-ID or \
                 device_id",
            )),
        };
        let (device, content) = match (named, content) {
            (Ok(device), content) => (device, content),
            (Err(_), Err(rejection)) | (Err(rejection), Ok(_)) => {
                (DeviceRef::Illegal, Err(rejection))
            }
        };
        Submission { device, kind, content, received_at, received, origin, reply, import: None }
    }

    /// Whether messages of this topic are ingest's.
    pub fn takes(&self, topic: &str) -> bool {
        self.routes.find(topic).is_some()
    }

    /// The zone of times without an offset.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Messages that wait for the committer.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}
