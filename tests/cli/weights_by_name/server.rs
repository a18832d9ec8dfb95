//! A web server on this machine that does what a test says, good or bad.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Path with its slash.
    pub path: String,
    /// Where the range starts that was asked for.
    pub from: Option<usize>,
}

/// A server that runs until the tests end.
pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Starts a server that answers request `n`, counted from 0, by `answer(n, what, connection)`, and closes the connection
/// then.
pub fn serve(answer: impl Fn(usize, &Asked, &mut TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (list, answer) = (Arc::clone(&list), Arc::clone(&answer));
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let what = head(&stream);
                let n = {
                    let mut list = list.lock().unwrap();
                    list.push(what.clone());
                    list.len() - 1
                };
                answer(n, &what, &mut stream);
            });
        }
    });
    Server { address, asked }
}

impl Server {
    /// The address of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// All it was asked for so far: where the range starts, if any.
    pub fn ranges(&self) -> Vec<Option<usize>> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|asked| asked.from).collect()
    }
}

fn head(stream: &TcpStream) -> Asked {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut from = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    Asked { path, from }
}

/// Sends `head`, one header a line, and what follows it. A client that is gone is no matter.
pub fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = head.trim().replace('\n', "\r\n");
    let _ = stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
}

/// Answers as a good server of `file` does, but sends `most` bytes at most.
pub fn send_file(asked: &Asked, stream: &mut TcpStream, file: &[u8], most: usize) {
    let total = file.len();
    let rest = &file[asked.from.unwrap_or(0).min(total)..];
    let head = match asked.from {
        Some(from) => format!(
            "HTTP/1.1 206 Partial Content\nContent-Range: bytes {from}-{}/{total}\nContent-Length: {}",
            total - 1,
            rest.len()
        ),
        None => format!("HTTP/1.1 200 OK\nContent-Length: {total}"),
    };
    send(stream, &head, &rest[..rest.len().min(most)]);
}
