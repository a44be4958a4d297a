//! Servers for the tests: a closure serves each connection on a thread of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A server that ends when it is dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&accepted));
        let serve = Arc::new(serve);
        listener.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(std::time::Duration::from_micros(200));
                    continue;
                };
                counted.fetch_add(1, Ordering::Relaxed);
                stream.set_nonblocking(false).unwrap();
                stream.set_nodelay(true).unwrap();
                let serve = Arc::clone(&serve);
                thread::Builder::new().stack_size(256 * 1024).spawn(move || serve(stream)).unwrap();
            }
        });
        Self { stop, accepted, thread: Some(thread) }
    }

    /// Starts an HTTP/1.1 server that answers every request with its own name, the
    /// path and the length of the body.
    pub(crate) fn http(listener: TcpListener, name: &'static str) -> Self {
        Self::new(listener, move |stream| answer_requests(stream, name))
    }

    /// How many connections it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer_requests(mut stream: TcpStream, name: &str) {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let path = head.split(' ').nth(1).unwrap_or("?").to_owned();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().unwrap());
        let mut body = bytes.len() - end;
        bytes.drain(..end.min(bytes.len()));
        while body < length {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => body += read,
            }
            bytes.clear();
        }
        bytes.drain(..length.min(bytes.len()));
        let text = format!("{name} {path} {length}\n");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(answer.as_bytes()).is_err() || head.contains("connection: close") {
            return;
        }
    }
}
