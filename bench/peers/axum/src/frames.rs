//! Native frames.
use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub struct Request {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub id: String,
    pub payload: Payload,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Payload {
    pub channel: String,
    pub channel_name: String,
    pub data: String,
    pub id: String,
    pub message_type: String,
    pub recipient_id: String,
}

#[derive(Serialize)]
struct Event<'a, P> {
    r#type: &'static str,
    channel: &'a str,
    offset: u64,
    payload: P,
}

#[derive(Serialize)]
struct Post<'a> {
    data: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    id: &'a str,
    conversation_id: &'a str,
    sender_id: &'a str,
    recipient_id: &'a str,
    message_type: &'a str,
    timestamp: String,
    session_id: Option<&'a str>,
    is_read: bool,
}

pub fn connected(user: &str) -> String {
    format!(r#"{{"type":"connected","payload":{{"user_id":"{user}"}}}}"#)
}

pub fn acknowledged(id: &str) -> String {
    format!(r#"{{"type":"ack","id":"{id}","payload":{{}}}}"#)
}

pub fn post(channel: &str, offset: u64, data: &str) -> String {
    text(&Event { r#type: "post", channel, offset, payload: Post { data } })
}

pub fn message(channel: &str, offset: u64, sender: &str, sent: &Payload) -> String {
    let payload = Metadata {
        id: &sent.id,
        conversation_id: sender,
        sender_id: sender,
        recipient_id: &sent.recipient_id,
        message_type: &sent.message_type,
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        session_id: None,
        is_read: false,
    };
    text(&Event { r#type: "message", channel, offset, payload })
}

fn text(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("events are plain data")
}
