//! Signed-in GET requests on keep-alive connections, one at a time on each.
use super::Bench;
use crate::clock::{self, MILLISECOND};
use crate::dialect::{find, number};
use crate::phase::{Phase, Tally};
use crate::sys::{self, Epoll};
use crate::users::User;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

const CONNECTIONS: usize = 64;

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent_at: u64,
}

impl Client {
    fn new(port: u16, path: &str, user: &User) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_nonblocking(true).expect("nonblocking");
        sys::reset_on_close(&stream);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {}\r\n\
             Accept: application/json\r\n\r\n",
            user.token
        );
        Client { stream, request: request.into_bytes(), answer: Vec::new(), sent_at: 0 }
    }

    /// Requests are small: they fit into the socket at once.
    fn send(&mut self) -> Result<(), String> {
        self.answer.clear();
        self.sent_at = clock::now();
        self.stream.write_all(&self.request).map_err(|error| error.to_string())
    }

    /// Reads; the bytes of the body once the answer is complete.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        match self.stream.read(buffer) {
            Ok(0) => return Err("closed by the server".into()),
            Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(error.to_string()),
        }
        let Some(end) = find(&self.answer, b"\r\n\r\n") else { return Ok(None) };
        if !self.answer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&self.answer).into_owned());
        }
        let length = body_length(&self.answer[..end]).ok_or("an answer without its length")?;
        Ok((self.answer.len() >= end + 4 + length).then_some(length))
    }
}

fn body_length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?;
    let mut values = text.lines().filter_map(|line| line.split_once(": "));
    let (_, value) = values.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    number(value.as_bytes()).map(|length| length as usize)
}

/// Closed loop of GET `path` with 64 users.
pub fn run(bench: &Bench, scenario: &str, path: &str) {
    let mut epoll = Epoll::new();
    let users = bench.users(CONNECTIONS);
    let mut clients: Vec<Client> =
        users.into_iter().map(|user| Client::new(bench.port, path, user)).collect();
    let mut failure = String::new();
    for (index, client) in clients.iter_mut().enumerate() {
        epoll.add(&client.stream, sys::READABLE, index);
        client.send().unwrap_or_else(|error| failure = error);
    }
    let mut tally = Tally::new();
    let mut phase = Phase::new(&bench.probe, bench.seconds);
    let mut buffer = vec![0; 1 << 16];
    while failure.is_empty() && phase.running(&mut tally) {
        for entry in 0..epoll.wait(20 * MILLISECOND) {
            let client = &mut clients[epoll.ready(entry).0];
            let answer = client.receive(&mut buffer).and_then(|complete| {
                let Some(bytes) = complete else { return Ok(()) };
                tally.add(clock::now() - client.sent_at);
                tally.size(bytes);
                client.send()
            });
            answer.unwrap_or_else(|error| failure = error);
        }
    }
    let report = phase.report(&tally);
    report.print(&bench.peer, scenario, u64::from(!failure.is_empty()), &failure);
}
