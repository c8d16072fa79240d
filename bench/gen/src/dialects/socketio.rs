//! Socket.IO 4 (Engine.IO 4) straight over WebSocket with the default JSON parser. Its envelope of
//! an event is three bytes shorter than the native one; the peer's event names end in `.io` for it.
use crate::dialect::{Dialect, Event, First, Mark, Session, after, number, text, unexpected};
use crate::users::User;

pub struct SocketIo;

/// Acknowledgement number of the subscription; requests count from the one after it.
const SUBSCRIPTION: u64 = 0;

impl Dialect for SocketIo {
    fn path(&self, _user: &User) -> String {
        "/socket.io/?EIO=4&transport=websocket".into()
    }

    fn received(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, String> {
        match payload {
            [b'0', ..] => text(&format!(r#"40{{"token":"{}"}}"#, session.user.token), out),
            [b'2'] => text("3", out),
            [b'4', b'0', ..] => match &session.first {
                First::Subscribe(channel) => text(
                    &format!(r#"42{SUBSCRIPTION}["subscribe",{{"channel":"{channel}"}}]"#),
                    out,
                ),
                _ => return Ok(Some(Event::Ready)),
            },
            [b'4', b'3', rest @ ..] => {
                return Ok(number(rest).map(|id| match id {
                    SUBSCRIPTION => Event::Ready,
                    id => Event::Ack((id - 1) as u32),
                }));
            }
            [b'4', b'2', rest @ ..] if rest.starts_with(br#"["post.io""#) => {
                return session.delivery(payload);
            }
            [b'4', b'2', rest @ ..] if rest.starts_with(br#"["message.io""#) => {
                let id = after(payload, br#""id":""#).and_then(Mark::from_uuid);
                let (_, sent) = id.ok_or_else(|| unexpected(payload))?;
                return Ok(Some(Event::Delivery { sent, bytes: payload.len() }));
            }
            [b'4', b'2', rest @ ..] if rest.starts_with(br#"["typing_indicator.io""#) => {
                return Ok(Some(Event::Typing { bytes: payload.len() }));
            }
            _ => return Err(unexpected(payload)),
        }
        Ok(None)
    }

    fn post(&self, channel: &str, id: u32, data: &str, out: &mut Vec<u8>) {
        let name = channel.strip_prefix("bench:").unwrap_or(channel);
        let request = id + 1;
        text(
            &format!(r#"42{request}["bench.post",{{"channel_name":"{name}","data":"{data}"}}]"#),
            out,
        );
    }

    fn message(&self, recipient: &User, mark: &Mark, out: &mut Vec<u8>) {
        text(
            &format!(
                r#"42{}["message",{{"recipient_id":"{}","message_type":"text","id":"{}"}}]"#,
                mark.sequence + 1,
                recipient.id,
                mark.uuid()
            ),
            out,
        );
    }

    fn typing(&self, user: &User, _partner: &User, out: &mut Vec<u8>) {
        text(
            &format!(
                r#"42["typing_indicator",{{"conversation_id":"{}","is_typing":true}}]"#,
                user.conversation
            ),
            out,
        );
    }
}
