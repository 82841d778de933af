//! Processes that find each other by TCP, where no MPI has started them: by `torchrun`, by `srun`, or by hand.
//!
//! ```text
//! process 0 listens at a place that all know; each other one tells it where it listens itself
//!   and is told where all do
//! then each connects to every process before it, twice: one connection for calls, one for those beside them
//! a message is its length in 8 bytes and its bytes; the highest bit of the length: these are the last words of a
//!   process that leaves
//! ```
//!
//! An exchange writes to all and reads from all in turn, never waiting for one of them, so that no two processes wait for
//! each other to read. A process that ends its connections, or does not answer within the deadline, is named.
//!
//! What connects has to know the job's name, which keeps jobs apart that share a machine by mistake; it keeps nobody out
//! who means harm: nothing is encrypted, as with MPI and NCCL.

use crate::launched::Place;
use crate::processes::Processes;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a greeting begins with: whose it is, and how it goes on.
const GREETING: [u8; 8] = *b"belamy-1";
/// Ways to each other process: one for calls, one for those beside them.
const WAYS: usize = 2;
/// The bit of a message's length that says that it is the last.
const LAST: u64 = 1 << 63;
/// Who connects says at once who it is.
const GREETS_WITHIN: Duration = Duration::from_secs(5);
/// No message is longer.
const LONGEST: u64 = 1 << 34;

/// A connection to each other process; none to itself.
type Way = Vec<Option<TcpStream>>;

struct Links {
    ways: [Mutex<Way>; WAYS],
    /// The same sockets, to be closed while a thread is busy with them.
    all: Vec<TcpStream>,
}

/// The processes of a job that TCP connects, or the first of them.
#[derive(Clone)]
pub struct Tcp {
    index: usize,
    count: usize,
    way: usize,
    deadline: Duration,
    links: Arc<Links>,
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TCP process {} of {}", self.index, self.count)
    }
}

impl Tcp {
    /// Connects this process with all others of its job. Fails when one of them does not come within `deadline`, and says
    /// which, or where they were waited for.
    pub fn connect(place: &Place, deadline: Duration) -> Result<Arc<Tcp>, String> {
        let until = Instant::now() + deadline;
        let at = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
        let listener = listener.map_err(|error| at("no port to listen at", error))?;
        let own = listener.local_addr().map_err(|error| at("no port to listen at", error))?.port();
        let addresses = match place.index {
            0 => gathered(place, own, until)?,
            _ => told(place, own, until)?,
        };
        let mut ways: [Way; WAYS] =
            std::array::from_fn(|_| (0..place.count).map(|_| None).collect());
        for (other, address) in addresses.iter().enumerate().take(place.index) {
            for (way, links) in ways.iter_mut().enumerate() {
                let mut stream = reach(*address, until)
                    .map_err(|error| format!("process {other} at {address}: {error}"))?;
                send(&mut stream, &greeting(place, way as u16), until)
                    .map_err(|error| format!("process {other} at {address}: {error}"))?;
                links[other] = Some(stream);
            }
        }
        for _ in 0..WAYS * (place.count - place.index - 1) {
            let missing = || {
                let missing = (place.index + 1..place.count).find(|&p| ways[WAYS - 1][p].is_none());
                missing.unwrap_or(place.count - 1)
            };
            let (stream, other, way) = accepted(&listener, place, until)
                .map_err(|why| format!("process {} has not connected: {why}", missing()))?;
            let link = ways.get_mut(usize::from(way)).and_then(|links| links.get_mut(other));
            match link {
                Some(link @ None) if other > place.index => *link = Some(stream),
                _ => return Err(format!("process {other} has connected twice")),
            }
        }
        Tcp::over(place, ways, deadline)
    }

    fn over(place: &Place, ways: [Way; WAYS], deadline: Duration) -> Result<Arc<Tcp>, String> {
        let prepared = |stream: &TcpStream| {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            stream.try_clone()
        };
        let all = ways.iter().flatten().flatten().map(prepared).collect::<std::io::Result<_>>();
        let all = all.map_err(|error| format!("a connection cannot be used: {error}"))?;
        let links = Arc::new(Links { ways: ways.map(Mutex::new), all });
        let Place { index, count, .. } = *place;
        Ok(Arc::new(Tcp { index, count, way: 0, deadline, links }))
    }
}

/// Who connects: the job, which process, and by which way, or at which port it listens.
fn greeting(place: &Place, number: u16) -> Vec<u8> {
    let mut greeting = GREETING.to_vec();
    greeting.extend((place.count as u32).to_le_bytes());
    greeting.extend((place.index as u32).to_le_bytes());
    greeting.extend(number.to_le_bytes());
    greeting.extend((place.job.len() as u16).to_le_bytes());
    greeting.extend(place.job.bytes());
    greeting
}

/// The next connection of a process of this job, with its index and number. Others are turned away.
fn accepted(
    listener: &TcpListener,
    place: &Place,
    until: Instant,
) -> Result<(TcpStream, usize, u16), String> {
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let until = until.min(Instant::now() + GREETS_WITHIN);
                let Ok(mut head) = received(&mut stream, 20, until) else { continue };
                let length = u16::from_le_bytes([head[18], head[19]]);
                let Ok(job) = received(&mut stream, usize::from(length), until) else { continue };
                head.extend(job);
                let word = |at: usize| {
                    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
                };
                let (index, number) = (word(12) as usize, u16::from_le_bytes([head[16], head[17]]));
                if head == greeting(&Place { index, ..place.clone() }, number)
                    && index < place.count
                {
                    return Ok((stream, index, number));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Instant::now() > until {
                    return Err("it did not come within the deadline".to_owned());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Process 0: learns where all others listen, and tells each of them.
fn gathered(place: &Place, own: u16, until: Instant) -> Result<Vec<SocketAddr>, String> {
    let Place { count, host, port, .. } = place;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))
        .map_err(|error| format!("cannot listen at port {port}: {error}"))?;
    let mut met: Vec<Option<(TcpStream, SocketAddr)>> = (0..*count).map(|_| None).collect();
    for _ in 1..*count {
        let missing = || (1..*count).find(|&process| met[process].is_none()).unwrap_or(0);
        let (stream, index, port) = accepted(&listener, place, until)
            .map_err(|why| format!("process {} at {host}:{port}: {why}", missing()))?;
        let address = stream.peer_addr().map_err(|error| error.to_string())?;
        if index == 0 || met[index].is_some() {
            return Err(format!("there are two processes {index}: the job is started twice"));
        }
        met[index] = Some((stream, SocketAddr::new(address.ip(), port)));
    }
    let mut addresses = vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), own)];
    addresses.extend(met.iter().flatten().map(|(_, address)| *address));
    let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let list = list.join("\n");
    for (process, link) in met.into_iter().enumerate().filter_map(|(p, link)| Some((p, link?.0))) {
        let mut link = link;
        let text = [&(list.len() as u32).to_le_bytes()[..], list.as_bytes()].concat();
        send(&mut link, &text, until).map_err(|error| format!("process {process}: {error}"))?;
    }
    Ok(addresses)
}

/// Any other: tells process 0 where it listens, and is told where all do.
fn told(place: &Place, own: u16, until: Instant) -> Result<Vec<SocketAddr>, String> {
    let Place { host, port, .. } = place;
    let first = |why: String| format!("process 0 at {host}:{port}: {why}");
    let mut link = loop {
        let found = (host.as_str(), *port).to_socket_addrs();
        let address = found.ok().and_then(|mut found| {
            // What listens there listens by version 4.
            found.find(SocketAddr::is_ipv4)
        });
        match address {
            Some(address) => break reach(address, until).map_err(first)?,
            None if Instant::now() > until => return Err(first("there is no such host".into())),
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let master = link.peer_addr().map_err(|error| first(error.to_string()))?.ip();
    let mut listed = || -> Result<Vec<u8>, String> {
        send(&mut link, &greeting(place, own), until)?;
        let head = received(&mut link, 4, until)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        // No address takes more.
        if length > 64 * place.count {
            return Err("it does not speak as a process of this job".to_owned());
        }
        received(&mut link, length, until)
    };
    let list = String::from_utf8(listed().map_err(first)?).unwrap_or_default();
    let addresses: Vec<SocketAddr> = list.lines().filter_map(|line| line.parse().ok()).collect();
    if addresses.len() != place.count {
        return Err(first("it does not speak as a process of this job".to_owned()));
    }
    let known = |address: SocketAddr| match address.ip().is_unspecified() {
        true => SocketAddr::new(master, address.port()),
        false => address,
    };
    Ok(addresses.into_iter().map(known).collect())
}

/// A connection to an address where somebody may not listen yet.
fn reach(address: SocketAddr, until: Instant) -> Result<TcpStream, String> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let found = TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)));
        match found {
            Ok(stream) => return Ok(stream),
            Err(error) if left.is_zero() => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(20).min(left)),
        }
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8], until: Instant) -> Result<(), String> {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let sent = stream.set_nonblocking(false).and_then(|()| stream.set_write_timeout(Some(left)));
    sent.and_then(|()| stream.write_all(bytes)).map_err(|error| error.to_string())
}

fn received(stream: &mut TcpStream, count: usize, until: Instant) -> Result<Vec<u8>, String> {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut bytes = vec![0; count];
    let read = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(left)));
    let read = read.and_then(|()| stream.read_exact(&mut bytes));
    read.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => "it takes this process for none of its job's".to_owned(),
        _ => error.to_string(),
    })?;
    Ok(bytes)
}

/// What has been sent to another process of an exchange, and what has come from it.
struct Passing {
    head: [u8; 8],
    sent: usize,
    length: [u8; 8],
    message: Vec<u8>,
    received: usize,
    wanted: Option<u64>,
}

impl Passing {
    fn of(message: &[u8]) -> Passing {
        Passing {
            head: (message.len() as u64).to_le_bytes(),
            sent: 0,
            length: [0; 8],
            message: Vec::new(),
            received: 0,
            wanted: None,
        }
    }

    fn is_sent(&self, message: &[u8]) -> bool {
        self.sent == 8 + message.len()
    }

    fn has_come(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.received as u64 == wanted & !LAST)
    }

    /// Sends and takes what can be without waiting; tells whether anything was.
    fn go_on(&mut self, stream: &mut TcpStream, message: &[u8]) -> Result<bool, String> {
        let mut moved = false;
        while !self.is_sent(message) {
            let rest = match self.sent.checked_sub(8) {
                None => &self.head[self.sent..],
                Some(sent) => &message[sent..],
            };
            match passed(stream.write(rest))? {
                Some(count) => self.sent += count,
                None => break,
            }
            moved = true;
        }
        while !self.has_come() {
            let into = match self.wanted {
                None => &mut self.length[self.received..],
                Some(_) => &mut self.message[self.received..],
            };
            match passed(stream.read(into))? {
                Some(count) => self.received += count,
                None => break,
            }
            moved = true;
            if self.wanted.is_none() && self.received == 8 {
                let wanted = u64::from_le_bytes(self.length);
                let bytes = wanted & !LAST;
                if bytes > LONGEST {
                    return Err("has sent what is no message".to_owned());
                }
                let space = self.message.try_reserve_exact(bytes as usize);
                space.map_err(|_| format!("has sent {bytes} bytes, more than there is memory"))?;
                self.message.resize(bytes as usize, 0);
                (self.wanted, self.received) = (Some(wanted), 0);
            }
        }
        Ok(moved)
    }
}

/// How many bytes went through; none where the socket would have to be waited for.
fn passed(result: std::io::Result<usize>) -> Result<Option<usize>, String> {
    match result {
        Ok(0) => Err("has ended its connection".to_owned()),
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(format!("cannot be reached any more: {error}")),
    }
}

impl Processes for Tcp {
    fn index(&self) -> usize {
        self.index
    }

    fn count(&self) -> usize {
        self.count
    }

    fn exchange(&self, mut to: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        let own = std::mem::take(&mut to[self.index]);
        let mut way = self.links.ways[self.way].lock().unwrap_or_else(PoisonError::into_inner);
        let mut passing: Vec<Passing> = to.iter().map(|message| Passing::of(message)).collect();
        let (mut idle, mut until) = (0u32, Instant::now() + self.deadline);
        loop {
            let (mut moved, mut waiting) = (false, None);
            for (process, link) in way.iter_mut().enumerate().take(self.count) {
                let Some(stream) = link else { continue };
                let (state, message) = (&mut passing[process], &to[process]);
                if state.has_come() && state.is_sent(message) {
                    continue;
                }
                moved |= state
                    .go_on(stream, message)
                    .map_err(|what| format!("process {process} {what}"))?;
                if state.has_come() && state.wanted.is_some_and(|wanted| wanted & LAST != 0) {
                    return Err(String::from_utf8_lossy(&state.message).into_owned());
                }
                if !(state.has_come() && state.is_sent(message)) {
                    waiting.get_or_insert(process);
                }
            }
            let Some(silent) = waiting else { break };
            if moved {
                (idle, until) = (0, Instant::now() + self.deadline);
                continue;
            }
            if Instant::now() > until {
                let seconds = self.deadline.as_secs_f64();
                return Err(format!("process {silent} has not answered for {seconds} s"));
            }
            // Somebody else may have work for this core.
            idle += 1;
            if idle > 200 {
                std::thread::sleep(Duration::from_micros(if idle > 5_000 { 200 } else { 20 }));
            } else {
                std::thread::yield_now();
            }
        }
        let mut from: Vec<Vec<u8>> = passing.into_iter().map(|state| state.message).collect();
        from[self.index] = own;
        Ok(from)
    }

    fn beside(&self) -> Arc<dyn Processes> {
        Arc::new(Tcp { way: WAYS - 1, ..self.clone() })
    }

    /// Says so to the others, who fail then, and ends this process's part; it goes on by itself.
    fn abort(&self, why: &str) {
        let words = [&(why.len() as u64 | LAST).to_le_bytes()[..], why.as_bytes()].concat();
        for way in &self.links.ways {
            // Where a thread is in an exchange the others learn it from the end of the connection.
            let Ok(mut way) = way.try_lock() else { continue };
            let until = Instant::now() + Duration::from_millis(200);
            for stream in way.iter_mut().flatten() {
                // One that is gone need not be told.
                let _ = send(stream, &words, until);
            }
        }
        for stream in &self.links.all {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }

    fn first(&self, count: usize) -> Arc<dyn Processes> {
        Arc::new(Tcp { count: count.min(self.count), ..self.clone() })
    }
}

#[cfg(test)]
mod tests;
