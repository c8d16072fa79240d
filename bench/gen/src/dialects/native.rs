//! Rialto's native frames, `{type, id?, channel?, offset?, payload}`, which the JSON peers speak
//! too: requests, events and therefore their sizes are the same for all of them.
use crate::dialect::{
    Dialect, Event, First, Mark, Position, Session, after, number, text, unexpected,
};
use crate::users::User;

pub struct Native;

/// How many events each user misses in the recovery scenario.
pub const MISSED: u64 = 10;

impl Dialect for Native {
    fn path(&self, user: &User) -> String {
        format!("/ws?token={}", user.token)
    }

    fn received(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, String> {
        let kind = payload.strip_prefix(br#"{"type":""#).ok_or_else(|| unexpected(payload))?;
        let kind = kind.split(|&byte| byte == b'"').next().unwrap_or_default();
        match kind {
            b"post" => session.delivery(payload),
            b"message" => message(session, payload),
            b"typing_indicator" => Ok(Some(Event::Typing { bytes: payload.len() })),
            b"ack" => acknowledged(session, payload),
            b"connected" => {
                session.position = position(payload);
                match &session.first {
                    First::Nothing => return Ok(Some(Event::Ready)),
                    First::Subscribe(channel) => {
                        request("subscribe", "s", &format!(r#"{{"channel":"{channel}"}}"#), out);
                    }
                    First::Recover(since) => self.recover(session.user, since, out),
                }
                Ok(None)
            }
            b"error" => Err(unexpected(payload)),
            // Presence and the like: other events of the personal channel.
            _ => Ok(None),
        }
    }

    fn post(&self, channel: &str, id: u32, data: &str, out: &mut Vec<u8>) {
        let name = channel.strip_prefix("bench:").unwrap_or(channel);
        let payload = format!(r#"{{"channel_name":"{name}","data":"{data}"}}"#);
        // What is to be stored says so in its name; only our own server is asked for it.
        let operation = if name.starts_with('s') { "bench.store" } else { "bench.post" };
        request(operation, &format!("c{id}"), &payload, out);
    }

    fn message(&self, recipient: &User, mark: &Mark, out: &mut Vec<u8>) {
        let (recipient, id) = (&recipient.id, mark.uuid());
        let payload =
            format!(r#"{{"recipient_id":"{recipient}","message_type":"text","id":"{id}"}}"#);
        request("message", &format!("c{}", mark.sequence), &payload, out);
    }

    fn typing(&self, user: &User, _partner: &User, out: &mut Vec<u8>) {
        let conversation = &user.conversation;
        let payload = format!(r#"{{"conversation_id":"{conversation}","is_typing":true}}"#);
        text(&format!(r#"{{"type":"typing_indicator","payload":{payload}}}"#), out);
    }

    fn recover(&self, user: &User, since: &Position, out: &mut Vec<u8>) {
        let Position { epoch, offset } = since;
        let channel = format!("user:{}", user.id);
        let since = format!(r#"{{"epoch":"{epoch}","offset":{offset}}}"#);
        let payload = format!(r#"{{"channel":"{channel}","recover":{since}}}"#);
        request("subscribe", "r", &payload, out);
    }
}

fn request(kind: &str, id: &str, payload: &str, out: &mut Vec<u8>) {
    text(&format!(r#"{{"type":"{kind}","id":"{id}","payload":{payload}}}"#), out);
}

fn message(session: &Session, payload: &[u8]) -> Result<Option<Event>, String> {
    let id = after(payload, br#""id":""#).ok_or_else(|| unexpected(payload))?;
    let (sender, sent) = Mark::from_uuid(id).ok_or_else(|| unexpected(payload))?;
    let own = sender as usize == session.index;
    Ok((!own).then_some(Event::Delivery { sent, bytes: payload.len() }))
}

/// Requests are numbered c0, c1 …; `s` is the subscription and `r` the recovery.
fn acknowledged(session: &Session, payload: &[u8]) -> Result<Option<Event>, String> {
    let id = after(payload, br#""id":""#).ok_or_else(|| unexpected(payload))?;
    match id.first() {
        Some(b's') => Ok(Some(Event::Ready)),
        Some(b'r') => Ok(Some(Event::Recovered { complete: complete(session, payload) })),
        Some(b'c') => Ok(number(&id[1..]).map(|id| Event::Ack(id as u32))),
        _ => Err(unexpected(payload)),
    }
}

fn position(connected: &[u8]) -> Option<Position> {
    let subscription = after(connected, br#""subscriptions":"#)?;
    let epoch = after(subscription, br#""epoch":""#)?.split(|&byte| byte == b'"').next()?;
    let offset = number(after(subscription, br#""offset":"#)?)?;
    Some(Position { epoch: String::from_utf8_lossy(epoch).into_owned(), offset })
}

/// Whether the answer has exactly the missed publications, in order, and says so.
fn complete(session: &Session, payload: &[u8]) -> bool {
    let (Some(now), Some(list)) = (&session.position, after(payload, br#""publications":["#))
    else {
        return false;
    };
    let mut rest = list;
    let mut next = now.offset - MISSED + 1;
    while let Some(found) = after(rest, br#""offset":"#) {
        // The channel's own position may stand behind the list.
        if next > now.offset {
            break;
        }
        if number(found) != Some(next) {
            return false;
        }
        next += 1;
        rest = found;
    }
    next == now.offset + 1 && after(payload, br#""recovered":true"#).is_some()
}
