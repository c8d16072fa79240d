//! What a peer speaks on the socket. A new one implements [`Dialect`] and gets a line in [`named`].
use crate::dialects::{native::Native, raw::Raw, socketio::SocketIo};
use crate::frame;
use crate::users::User;

/// One connection as its dialect sees it.
pub struct Session {
    pub index: usize,
    pub user: &'static User,
    pub first: First,
    /// Where the personal stream stood when the connection opened.
    pub position: Option<Position>,
    /// Where the mark was in the last event: the next one has it at the same place.
    mark_at: usize,
}

/// What a connection asks for before it counts as ready.
pub enum First {
    Nothing,
    Subscribe(String),
    /// What the user's own stream had after this position.
    Recover(Position),
}

/// A place in a recoverable stream.
#[derive(Clone)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

/// What a frame of the server's means to a scenario.
pub enum Event {
    /// Connected, authenticated and subscribed.
    Ready,
    /// A marked event arrived: when it was sent, and the bytes of the frame's payload.
    Delivery { sent: u64, bytes: usize },
    /// A typing frame of the other user arrived.
    Typing { bytes: usize },
    /// The request with this number was answered.
    Ack(u32),
    /// The missed publications, all of them in order, or not.
    Recovered { complete: bool },
}

/// What a message or a post carries for the generator to recognise it.
pub struct Mark {
    pub sender: u32,
    pub sequence: u32,
    pub sent: u64,
}

pub trait Dialect {
    /// Path of the upgrade request.
    fn path(&self, user: &User) -> String;
    /// One complete frame of the server's; answers go to `out`.
    fn received(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, String>;
    /// A post to a channel, acknowledged with `id`.
    fn post(&self, channel: &str, id: u32, data: &str, out: &mut Vec<u8>);
    /// A message to one user, acknowledged with the mark's sequence.
    fn message(&self, recipient: &User, mark: &Mark, out: &mut Vec<u8>);
    /// An ephemeral frame to the partner of `user`; nobody acknowledges it.
    fn typing(&self, user: &User, partner: &User, out: &mut Vec<u8>);
    /// Asks for what the user's stream had after `since`. Only for servers that keep streams.
    fn recover(&self, user: &User, since: &Position, out: &mut Vec<u8>) {
        let _ = (user, since, out);
        panic!("this dialect does not recover");
    }
}

/// The dialect of that name.
pub fn named(name: &str) -> Result<Box<dyn Dialect>, String> {
    match name {
        "native" => Ok(Box::new(Native)),
        "raw" => Ok(Box::new(Raw)),
        "socketio" => Ok(Box::new(SocketIo)),
        _ => Err(format!("no dialect is called {name:?}: native, raw or socketio")),
    }
}

impl Session {
    pub fn new(index: usize, user: &'static User, first: First) -> Self {
        Session { index, user, first, position: None, mark_at: 0 }
    }

    /// The delivery that `payload` is, by the text of its mark.
    pub fn delivery(&mut self, payload: &[u8]) -> Result<Option<Event>, String> {
        let known = payload.get(self.mark_at..).is_some_and(|rest| rest.starts_with(b"~~"));
        if !known {
            self.mark_at = find(payload, b"~~").ok_or_else(|| unexpected(payload))?;
        }
        let digits = payload.get(self.mark_at + 2..self.mark_at + 26);
        let sent = hexadecimal(&digits.ok_or_else(|| unexpected(payload))?[8..]);
        Ok(Some(Event::Delivery { sent, bytes: payload.len() }))
    }
}

impl Mark {
    /// The mark as text, filled up to `size` characters.
    pub fn text(&self, size: usize) -> String {
        format!("~~{:08x}{:016x}{}", self.sequence, self.sent, "x".repeat(size.saturating_sub(26)))
    }

    /// The mark as a valid UUID: message ids are the only free field of a message.
    pub fn uuid(&self) -> String {
        let Mark { sender, sequence, sent } = self;
        let (high, low) = (sequence >> 12 & 0xffff, sequence & 0xfff);
        let (sent_high, sent_low) = (sent >> 48 & 0xfff, sent & 0xffff_ffff_ffff);
        format!("{sender:08x}-{high:04x}-4{low:03x}-8{sent_high:03x}-{sent_low:012x}")
    }

    /// Reads sender and time back from the text of [`Mark::uuid`].
    pub fn from_uuid(text: &[u8]) -> Option<(u32, u64)> {
        let text = text.get(..36)?;
        let sent = hexadecimal(&text[20..23]) << 48 | hexadecimal(&text[24..36]);
        Some((hexadecimal(&text[..8]) as u32, sent))
    }
}

/// Appends a text frame.
pub fn text(payload: &str, out: &mut Vec<u8>) {
    frame::write(frame::TEXT, payload.as_bytes(), out);
}

/// The message of a failure: what came instead.
pub fn unexpected(payload: &[u8]) -> String {
    format!("unexpected: {}", String::from_utf8_lossy(&payload[..payload.len().min(200)]))
}

/// Where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// What follows `needle` in `bytes`.
pub fn after<'a>(bytes: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    find(bytes, needle).map(|at| &bytes[at + needle.len()..])
}

/// The decimal number that `bytes` begin with.
pub fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let count = digits.clone().count();
    (count > 0).then(|| digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

fn hexadecimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, &digit| {
        let units = if digit <= b'9' { digit - b'0' } else { (digit | 32) - b'a' + 10 };
        value << 4 | u64::from(units & 15)
    })
}
