//! A hub on axum and tokio: a queue per connection, a channel is a map of queues, the text of an
//! event is shared between its receivers, and what is queued is flushed at once.
//! Speaks the native frames of storm, fan-out and messages.
mod frames;
mod token;

use axum::extract::Query;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{Router, routing::get};
use frames::{Payload, Request};
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, RwLock};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Queue = UnboundedSender<Utf8Bytes>;

#[derive(Default)]
struct Hub {
    users: RwLock<HashMap<String, Queue>>,
    channels: RwLock<HashMap<String, HashMap<u64, Queue>>>,
    offsets: RwLock<HashMap<String, AtomicU64>>,
}

static HUB: LazyLock<Hub> = LazyLock::new(Hub::default);
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

impl Hub {
    fn next_offset(&self, channel: &str) -> u64 {
        if let Some(offset) = self.offsets.read().unwrap().get(channel) {
            return offset.fetch_add(1, Ordering::Relaxed) + 1;
        }
        let mut offsets = self.offsets.write().unwrap();
        offsets.entry(channel.into()).or_default().fetch_add(1, Ordering::Relaxed) + 1
    }

    fn publish(&self, channel: &str, event: Utf8Bytes) {
        if let Some(members) = self.channels.read().unwrap().get(channel) {
            for member in members.values() {
                let _ = member.send(event.clone());
            }
        }
    }

    fn leave(&self, user: &str, connection: u64, channels: &[String]) {
        self.users.write().unwrap().remove(user);
        let mut all = self.channels.write().unwrap();
        for channel in channels {
            if let Some(members) = all.get_mut(channel) {
                members.remove(&connection);
            }
        }
    }
}

async fn write(mut socket: SplitSink<WebSocket, Message>, mut queue: UnboundedReceiver<Utf8Bytes>) {
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some(text) = next {
            if socket.feed(Message::Text(text)).await.is_err() {
                return;
            }
            next = queue.try_recv().ok();
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

async fn serve(socket: WebSocket, user: String) {
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let (sink, mut stream) = socket.split();
    let (queue, queued) = unbounded_channel::<Utf8Bytes>();
    HUB.users.write().unwrap().insert(user.clone(), queue.clone());
    let _ = queue.send(frames::connected(&user).into());
    let writer = tokio::spawn(write(sink, queued));
    let mut channels = Vec::new();
    while let Some(Ok(frame)) = stream.next().await {
        let Message::Text(text) = frame else { continue };
        let Ok(Request { kind, id, payload }) = serde_json::from_str(&text) else { break };
        if kind == "subscribe" {
            let mut all = HUB.channels.write().unwrap();
            all.entry(payload.channel.clone()).or_default().insert(connection, queue.clone());
            channels.push(payload.channel);
        } else {
            handle(&kind, &user, &payload);
        }
        let _ = queue.send(frames::acknowledged(&id).into());
    }
    writer.abort();
    HUB.leave(&user, connection, &channels);
}

fn handle(kind: &str, user: &str, payload: &Payload) {
    match kind {
        "bench.post" => {
            let channel = format!("bench:{}", payload.channel_name);
            let offset = HUB.next_offset(&channel);
            HUB.publish(&channel, frames::post(&channel, offset, &payload.data).into());
        }
        "message" => {
            let channel = format!("user:{}", payload.recipient_id);
            let offset = HUB.next_offset(&channel);
            if let Some(recipient) = HUB.users.read().unwrap().get(&payload.recipient_id) {
                let event = frames::message(&channel, offset, user, payload);
                let _ = recipient.send(event.into());
            }
        }
        _ => {}
    }
}

async fn upgrade(
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    match query.get("token").and_then(|token| token::verify(token)) {
        Some(user) => upgrade.on_upgrade(move |socket| serve(socket, user)),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

#[tokio::main]
async fn main() {
    let port = std::env::var("PORT").expect("PORT");
    let address = format!("127.0.0.1:{port}");
    let listener = tokio::net::TcpListener::bind(address).await.expect("bind");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route("/ws", get(upgrade))).await.expect("serve");
}
