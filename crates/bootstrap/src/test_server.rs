//! A web server for tests, which misbehaves as it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request: its first line's target and the headers, names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The first byte of the range that is asked for.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Another `Content-Length` than the body's.
    pub(crate) said_length: Option<usize>,
    /// No `Content-Length`: the end of the connection ends the body.
    pub(crate) no_length: bool,
    /// Send that many bytes of the body, then close.
    pub(crate) cut: Option<usize>,
    /// Send that many bytes of the body, then nothing more.
    pub(crate) stall: Option<usize>,
    /// Send the body byte by byte with this pause.
    pub(crate) drip: Option<Duration>,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn redirect(target: &str) -> Self {
        Self { status: 302, headers: vec![("Location".into(), target.into())], ..Self::default() }
    }

    /// The body, or the range of it that is asked for.
    pub(crate) fn ranged(request: &Request, body: &[u8]) -> Self {
        match request.range_start() {
            Some(start) if start < body.len() => Self {
                status: 206,
                headers: vec![("Content-Range".into(), format!("bytes {start}-{}/{}", body.len() - 1, body.len()))],
                body: body[start..].to_vec(),
                ..Self::default()
            },
            Some(_) => Self::status(416),
            None => Self::ok(body),
        }
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a free port of the loopback, until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            connections: Arc::default(),
            stop: Arc::default(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        let (requests, connections, stop) =
            (Arc::clone(&server.requests), Arc::clone(&server.connections), Arc::clone(&server.stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                *connections.lock().unwrap() += 1;
                let (handler, requests, stop) = (Arc::clone(&handler), Arc::clone(&requests), Arc::clone(&stop));
                std::thread::spawn(move || serve(stream, &*handler, &requests, &stop));
            }
        });
        server
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn serve(stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<Request>>, stop: &AtomicBool) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        requests.lock().unwrap().push(request.clone());
        if send(&stream, &handler(&request), stop).is_none() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    Some(Request { target, headers })
}

/// `None` when the connection is to be closed.
fn send(mut stream: &TcpStream, reply: &Reply, stop: &AtomicBool) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if reply.no_length {
        head += "Connection: close\r\n";
    } else {
        head += &format!("Content-Length: {}\r\n", reply.said_length.unwrap_or(reply.body.len()));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    let end = reply.cut.or(reply.stall).unwrap_or(reply.body.len()).min(reply.body.len());
    match reply.drip {
        Some(pause) => {
            for byte in &reply.body[..end] {
                stream.write_all(&[*byte]).ok()?;
                std::thread::sleep(pause);
                if stop.load(Ordering::Relaxed) {
                    return None;
                }
            }
        }
        None => stream.write_all(&reply.body[..end]).ok()?,
    }
    if reply.stall.is_some() {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        return None;
    }
    (reply.cut.is_none() && !reply.no_length && reply.said_length.is_none()).then_some(())
}
