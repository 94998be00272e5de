use brooklet::{clock::Clock, mqtt::*};
use futures_util::future::BoxFuture;
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
struct A;
impl Authorizer for A {
    fn connect(&self, _: ConnectAttempt) -> BoxFuture<'_, Result<Identity, ReasonCode>> {
        Box::pin(async { Ok(Identity(None)) })
    }
    fn may_publish(&self, _: &Client, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &Client, _: &str) -> bool {
        true
    }
}
struct T;
impl PublishTap for T {
    fn offer(&self, m: TappedMessage) -> Offer {
        Offer::Pass(m)
    }
    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
struct O;
impl SessionObserver for O {
    fn connected(&self, c: &Arc<Client>, p: bool) {
        eprintln!("+ {} {p}", c.client_id)
    }
    fn disconnected(&self, c: &Arc<Client>, r: ReasonCode) {
        eprintln!("- {} {}", c.client_id, r.label())
    }
}
#[tokio::main]
async fn main() {
    let limits = Limits {
        connections_max: 10000,
        connect_timeout: Duration::from_secs(5),
        packet_size_max: 1 << 20,
        receive_maximum: 1000,
        inflight_max: 1000,
        queued_messages_max: 10000,
        queued_bytes_max: 64 << 20,
        session_expiry_max: 86400,
        keep_alive_max: 0,
        topic_alias_max: 16,
        subscriptions_max: 1000,
        topics: topic::TopicLimits {
            levels_max: 64,
            bytes_max: 1024,
        },
        retained_messages_max: 100000,
        retained_bytes_max: 1 << 28,
        stall_timeout: Duration::from_secs(30),
    };
    let p = Publisher::new(limits, Clock::system());
    let b = Broker::new(
        &p,
        Hooks {
            authorizer: Arc::new(A),
            tap: Arc::new(T),
            observer: Arc::new(O),
        },
    );
    let s = tokio::net::TcpListener::bind("127.0.0.1:18830")
        .await
        .unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let l = Listener::new(s, b.clone());
    let sw = b.clone();
    let h = async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sw.sweep().await;
        }
    };
    tokio::select! { _=l.run(stop.clone(),Duration::from_secs(5))=>{}, _=h=>{} }
}
