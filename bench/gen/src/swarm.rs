//! All connections of a scenario: connecting, reading, writing. One thread, one epoll.
use crate::clock::{self, MILLISECOND, SECOND};
use crate::dialect::{Dialect, Event, First, Mark, Position, Session};
use crate::frame;
use crate::sys::{self, Epoll};
use crate::users::User;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// How many connections are being opened at any time.
const OPENING: usize = 64;
/// Opening gives up when nothing more has become ready for so long.
const OPENING_PATIENCE: u64 = 10 * SECOND;
pub const NOT_RECOVERED: &str = "an answer without exactly the missed events";
/// Large enough to empty a socket that received a burst in one call.
const READ_BYTES: usize = 1 << 20;

#[derive(PartialEq, Clone, Copy)]
enum State {
    Upgrading,
    Open,
    Closed,
}

struct Connection {
    stream: TcpStream,
    state: State,
    session: Session,
    /// An incomplete frame.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    awaits_room: bool,
    sequence: u32,
}

/// Something that came, on which connection and when.
pub struct Arrival {
    pub index: usize,
    pub at: u64,
    pub event: Event,
}

/// The outcome of opening many connections.
pub struct Opened {
    pub ready: usize,
    pub seconds: f64,
}

pub struct Swarm<'a> {
    port: u16,
    dialect: &'a dyn Dialect,
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// When the last bytes were read.
    pub read_at: u64,
    pub failures: u64,
    pub first_failure: String,
}

impl<'a> Swarm<'a> {
    pub fn new(port: u16, dialect: &'a dyn Dialect) -> Self {
        Swarm {
            port,
            dialect,
            epoll: Epoll::new(),
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
            read_at: clock::now(),
            failures: 0,
            first_failure: String::new(),
        }
    }

    pub fn session(&self, index: usize) -> &Session {
        &self.connections[index].session
    }

    /// Opens one connection for each user, a limited number at a time, and waits until they are
    /// ready. `first` says what the connection of that index begins with.
    pub fn open(&mut self, users: &[&'static User], first: &dyn Fn(usize) -> First) -> Opened {
        let begin = clock::now();
        let failures = self.failures;
        let (mut started, mut ready, mut last) = (0, 0, begin);
        let mut arrivals = Vec::new();
        loop {
            let settled = ready + (self.failures - failures) as usize;
            if settled >= users.len() || clock::now() - last > OPENING_PATIENCE {
                break;
            }
            while started < users.len() && started - settled < OPENING {
                self.connect(users[started], first(started));
                started += 1;
            }
            self.poll(200 * MILLISECOND, &mut arrivals);
            for arrival in &arrivals {
                match arrival.event {
                    Event::Ready | Event::Recovered { complete: true } => {
                        ready += 1;
                        last = arrival.at;
                    }
                    Event::Recovered { complete: false } => self.complain(NOT_RECOVERED),
                    _ => {}
                }
            }
        }
        Opened { ready, seconds: clock::seconds_between(begin, last) }
    }

    fn connect(&mut self, user: &'static User, first: First) {
        let index = self.connections.len();
        // On the loopback the kernel completes the handshake without the server's help.
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_nonblocking(true).expect("nonblocking");
        sys::reset_on_close(&stream);
        self.epoll.add(&stream, sys::READABLE, index);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.dialect.path(user),
            self.port
        );
        self.connections.push(Connection {
            stream,
            state: State::Upgrading,
            session: Session::new(index, user, first),
            inbox: Vec::new(),
            outbox: request.into_bytes(),
            awaits_room: false,
            sequence: 0,
        });
        self.flush(index);
    }

    /// Waits at most `timeout_ns`, reads all that is ready and puts what it meant in `arrivals`.
    pub fn poll(&mut self, timeout_ns: u64, arrivals: &mut Vec<Arrival>) {
        arrivals.clear();
        for entry in 0..self.epoll.wait(timeout_ns) {
            let (index, events) = self.epoll.ready(entry);
            if events & sys::WRITABLE != 0 {
                self.flush(index);
            }
            if events & (sys::READABLE | sys::BROKEN) != 0 {
                self.read(index, arrivals);
            }
        }
    }

    /// Polls for `nanoseconds` and forgets what comes: the rest of a closed loop.
    pub fn drain(&mut self, nanoseconds: u64) {
        let until = clock::now() + nanoseconds;
        let mut arrivals = Vec::new();
        while clock::now() < until {
            self.poll(20 * MILLISECOND, &mut arrivals);
        }
    }

    fn read(&mut self, index: usize, arrivals: &mut Vec<Arrival>) {
        let connection = &mut self.connections[index];
        if connection.state == State::Closed {
            return;
        }
        let count = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return self.fail(index, "closed by the server"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => return self.fail(index, &error.to_string()),
        };
        self.read_at = clock::now();
        let mut inbox = std::mem::take(&mut connection.inbox);
        let outcome = if inbox.is_empty() {
            connection.take(&self.buffer[..count], self.read_at, self.dialect, arrivals)
        } else {
            inbox.extend_from_slice(&self.buffer[..count]);
            connection.take(&inbox, self.read_at, self.dialect, arrivals)
        };
        match outcome {
            Ok(()) => self.flush(index),
            Err(reason) => self.fail(index, &reason),
        }
    }

    /// Writes what waits; the rest when the socket has room again.
    pub fn flush(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.state == State::Closed || connection.outbox.is_empty() {
            return;
        }
        match connection.stream.write(&connection.outbox) {
            Ok(count) => {
                connection.outbox.drain(..count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return self.fail(index, &error.to_string()),
        }
        let waits = !connection.outbox.is_empty();
        if waits != connection.awaits_room {
            connection.awaits_room = waits;
            let events = sys::READABLE | if waits { sys::WRITABLE } else { 0 };
            self.epoll.change(&connection.stream, events, index);
        }
    }

    fn fail(&mut self, index: usize, reason: &str) {
        self.failures += 1;
        if self.first_failure.is_empty() {
            self.first_failure = format!("connection {index}: {reason}");
        }
        let connection = &mut self.connections[index];
        connection.state = State::Closed;
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Counts a failure that is not one connection's.
    pub fn complain(&mut self, reason: &str) {
        self.failures += 1;
        if self.first_failure.is_empty() {
            self.first_failure = reason.into();
        }
    }

    /// The number of the connection's next request.
    fn advance(&mut self, index: usize) -> u32 {
        let sequence = self.connections[index].sequence;
        self.connections[index].sequence += 1;
        sequence
    }

    /// Queues a post to `channel`, marked as sent at `sent`.
    pub fn post(&mut self, index: usize, channel: &str, size: usize, sent: u64) {
        let sequence = self.advance(index);
        let data = Mark { sender: index as u32, sequence, sent }.text(size);
        self.dialect.post(channel, sequence, &data, &mut self.connections[index].outbox);
    }

    /// Queues a message to the user of another connection and returns its number.
    pub fn message(&mut self, index: usize, recipient: &User, sent: u64) -> u32 {
        let sequence = self.advance(index);
        let mark = Mark { sender: index as u32, sequence, sent };
        self.dialect.message(recipient, &mark, &mut self.connections[index].outbox);
        sequence
    }

    /// Queues a typing frame to the partner and returns its number.
    pub fn typing(&mut self, index: usize, partner: &User) -> u32 {
        let sequence = self.advance(index);
        let Connection { session, outbox, .. } = &mut self.connections[index];
        self.dialect.typing(session.user, partner, outbox);
        sequence
    }

    /// Queues the request for what was missed since `position`.
    pub fn recover(&mut self, index: usize, position: &Position) {
        let Connection { session, outbox, .. } = &mut self.connections[index];
        self.dialect.recover(session.user, position, outbox);
    }

    /// Closes everything, and gives the server `seconds` to be done with it.
    pub fn close(self, seconds: f64) {
        drop(self.connections);
        std::thread::sleep(std::time::Duration::from_secs_f64(seconds));
    }
}

impl Connection {
    /// Takes all complete frames out of `bytes` and keeps the rest.
    fn take(
        &mut self,
        bytes: &[u8],
        at: u64,
        dialect: &dyn Dialect,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), String> {
        let mut rest = bytes;
        if self.state == State::Upgrading {
            let Some(end) = crate::dialect::find(rest, b"\r\n\r\n") else {
                self.inbox = rest.to_vec();
                return Ok(());
            };
            if !rest.starts_with(b"HTTP/1.1 101") {
                return Err(crate::dialect::unexpected(rest));
            }
            rest = &rest[end + 4..];
            self.state = State::Open;
        }
        while let Some(frame) = frame::read(rest) {
            match frame.opcode {
                frame::PING => frame::write(frame::PONG, frame.payload, &mut self.outbox),
                frame::CLOSE => return Err(closing(frame.payload)),
                frame::PONG => {}
                _ => {
                    let Connection { session, outbox, .. } = self;
                    if let Some(event) = dialect.received(session, frame.payload, outbox)? {
                        arrivals.push(Arrival { index: session.index, at, event });
                    }
                }
            }
            rest = &rest[frame.size..];
        }
        self.inbox = rest.to_vec();
        Ok(())
    }
}

fn closing(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("closed with {code} {}", String::from_utf8_lossy(reason))
        }
        _ => "closed without a code".into(),
    }
}
