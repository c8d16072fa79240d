//! Text commands without JSON, the upper bound of what a socket server can do:
//! `j channel`, `p channel text`, `d user id text`, `t user text` → `C`, `J`, the text, `a id`.
use crate::dialect::{Dialect, Event, First, Mark, Session, number, text, unexpected};
use crate::users::User;

pub struct Raw;

/// Sizes of the events that the JSON peers send, for the texts to be as long.
const POST_BYTES: usize = 203;
const MESSAGE_BYTES: usize = 397;
const TYPING_BYTES: usize = 263;

impl Dialect for Raw {
    fn path(&self, user: &User) -> String {
        format!("/ws?token={}", user.token)
    }

    fn received(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, String> {
        match payload.first() {
            Some(b'~') => session.delivery(payload),
            Some(b't') => Ok(Some(Event::Typing { bytes: payload.len() })),
            Some(b'a') => Ok(number(&payload[2..]).map(|id| Event::Ack(id as u32))),
            Some(b'J') => Ok(Some(Event::Ready)),
            Some(b'C') => {
                let First::Subscribe(channel) = &session.first else {
                    return Ok(Some(Event::Ready));
                };
                text(&format!("j {channel}"), out);
                Ok(None)
            }
            _ => Err(unexpected(payload)),
        }
    }

    fn post(&self, channel: &str, _id: u32, data: &str, out: &mut Vec<u8>) {
        text(&format!("p {channel} {data:x<POST_BYTES$}"), out);
    }

    fn message(&self, recipient: &User, mark: &Mark, out: &mut Vec<u8>) {
        let (sequence, data) = (mark.sequence, mark.text(MESSAGE_BYTES));
        text(&format!("d {} {sequence} {data}", recipient.id), out);
    }

    fn typing(&self, _user: &User, partner: &User, out: &mut Vec<u8>) {
        text(&format!("t {} {:t<TYPING_BYTES$}", partner.id, ""), out);
    }
}
