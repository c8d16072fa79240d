//! WebSocket framing of the client's side (RFC 6455).

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Any key is valid; a fixed one costs the generator nothing.
const MASK: [u8; 4] = [0x37, 0x9a, 0x21, 0xc4];

/// Appends one masked frame.
pub fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        size @ 0..126 => out.push(0x80 | size as u8),
        size @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    for (index, byte) in out[start..].iter_mut().enumerate() {
        *byte ^= MASK[index & 3];
    }
}

/// One frame of the server's.
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes of the whole frame, header included.
    pub size: usize,
}

/// The first frame in `bytes`, or nothing while it is incomplete.
pub fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, ..] = *bytes else { return None };
    let (header, size) = match second & 127 {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        size => (2, size as usize),
    };
    let payload = bytes.get(header..header + size)?;
    Some(Frame { opcode: first & 15, payload, size: header + size })
}
