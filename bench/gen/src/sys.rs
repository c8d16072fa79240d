//! The few Linux calls that std does not offer. Declared by hand, so that the generator builds
//! without any dependency.
use crate::clock::{self, MILLISECOND, SECOND};
use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

pub const READABLE: u32 = 0x001;
pub const WRITABLE: u32 = 0x004;
pub const BROKEN: u32 = 0x008 | 0x010;

const EPOLL_CLOEXEC: c_int = 0o2000000;
const EPOLL_CTL_ADD: c_int = 1;
const EPOLL_CTL_MOD: c_int = 3;
const SYS_EPOLL_PWAIT2: c_long = 441;
const CLOCK_THREAD_CPUTIME_ID: c_int = 3;
const RLIMIT_NOFILE: c_int = 7;
const SOL_SOCKET: c_int = 1;
const SO_LINGER: c_int = 13;

unsafe extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut Readiness) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn clock_gettime(clock: c_int, time: *mut [i64; 2]) -> c_int;
    fn getrlimit(resource: c_int, limit: *mut [u64; 2]) -> c_int;
    fn setrlimit(resource: c_int, limit: *const [u64; 2]) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, size: u32) -> c_int;
}

/// struct epoll_event; packed on x86-64 only.
#[derive(Clone, Copy, Default)]
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub struct Readiness {
    pub events: u32,
    pub token: u64,
}

/// How long a wait asks again and again before it sleeps.
const AWAKE: u64 = MILLISECOND / 10;
static IDLE: AtomicU64 = AtomicU64::new(0);

/// Seconds of processor time that waits spent without sleeping.
pub fn idle_seconds() -> f64 {
    IDLE.load(Ordering::Relaxed) as f64 / SECOND as f64
}

/// Processor time of this thread, which does not count while others have the core.
fn thread_nanoseconds() -> u64 {
    let mut time = [0i64; 2];
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time[0] as u64 * SECOND + time[1] as u64
}

/// A level-triggered epoll instance; lives as long as the process.
pub struct Epoll {
    fd: c_int,
    ready: Vec<Readiness>,
}

impl Epoll {
    pub fn new() -> Self {
        let fd = unsafe { epoll_create1(EPOLL_CLOEXEC) };
        assert!(fd >= 0, "epoll_create1: {}", io::Error::last_os_error());
        Epoll { fd, ready: vec![Readiness::default(); 4096] }
    }

    /// Watches `stream`; what happens on it is reported with `token`.
    pub fn add(&self, stream: &TcpStream, events: u32, token: usize) {
        self.control(EPOLL_CTL_ADD, stream, events, token);
    }

    /// Changes what is watched.
    pub fn change(&self, stream: &TcpStream, events: u32, token: usize) {
        self.control(EPOLL_CTL_MOD, stream, events, token);
    }

    fn control(&self, operation: c_int, stream: &TcpStream, events: u32, token: usize) {
        let mut event = Readiness { events, token: token as u64 };
        let result = unsafe { epoll_ctl(self.fd, operation, stream.as_raw_fd(), &mut event) };
        assert!(result == 0, "epoll_ctl: {}", io::Error::last_os_error());
    }

    /// Waits at most `timeout_ns` and returns how many are ready; [`Epoll::ready`] reads them.
    /// Sleeps only when nothing has come for a while: waking a halted core costs the server
    /// several microseconds a send on a virtual machine, more or less of it by chance.
    pub fn wait(&mut self, timeout_ns: u64) -> usize {
        let count = self.ask(0);
        if count > 0 {
            return count;
        }
        let begin = clock::now();
        let cpu = thread_nanoseconds();
        loop {
            let count = self.ask(0);
            let waited = clock::now() - begin;
            if count > 0 || waited >= timeout_ns.min(AWAKE) {
                IDLE.fetch_add(thread_nanoseconds() - cpu, Ordering::Relaxed);
                let asleep = count == 0 && waited < timeout_ns;
                return if asleep { self.ask(timeout_ns - waited) } else { count };
            }
        }
    }

    /// epoll_pwait2, because epoll_wait's milliseconds are too coarse for an open loop.
    fn ask(&mut self, timeout_ns: u64) -> usize {
        let timeout = [(timeout_ns / 1_000_000_000) as i64, (timeout_ns % 1_000_000_000) as i64];
        let (list, size) = (self.ready.as_mut_ptr(), self.ready.len());
        let timeout = timeout.as_ptr();
        let count = unsafe {
            syscall(SYS_EPOLL_PWAIT2, self.fd, list, size as c_int, timeout, 0usize, 0usize)
        };
        count.max(0) as usize
    }

    /// The token and the events of one that is ready.
    pub fn ready(&self, index: usize) -> (usize, u32) {
        let entry = self.ready[index];
        (entry.token as usize, entry.events)
    }
}

/// Raises the number of open files to the hard limit, never above it.
pub fn raise_open_files() {
    let mut limit = [0u64; 2];
    unsafe {
        getrlimit(RLIMIT_NOFILE, &mut limit);
        limit[0] = limit[1];
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/// Closing then resets: thousands of sockets in TIME_WAIT would use up the ports.
pub fn reset_on_close(stream: &TcpStream) {
    let linger: [c_int; 2] = [1, 0];
    unsafe { setsockopt(stream.as_raw_fd(), SOL_SOCKET, SO_LINGER, linger.as_ptr().cast(), 8) };
}
