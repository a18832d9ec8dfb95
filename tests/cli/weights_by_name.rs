//! Published weights by name: against servers that are slow, cut off, or send something else, and pips that fail.

#[path = "weights_by_name/commands.rs"]
mod commands;
#[cfg(unix)]
#[path = "weights_by_name/pip.rs"]
mod pip;
#[path = "weights_by_name/server.rs"]
mod server;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use weakseg::weights::fetch::{Cache, Fetcher, Patience, State};
use weakseg::weights::published::{PublishedFile, Source};

use server::{Server, send, send_file, serve};

/// Several buffers long, so that it can be cut in the middle of what one read gives.
fn content() -> Vec<u8> {
    (0..300_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry(sources: Vec<Source>) -> PublishedFile {
    let content = content();
    PublishedFile {
        name: "tiny".to_owned(),
        backbone: "tiny".to_owned(),
        file: "tiny.pth".to_owned(),
        bytes: content.len() as u64,
        sha256: digest(&content)[..8].to_owned(),
        licence: "MIT".to_owned(),
        publisher: "nobody".to_owned(),
        sources,
    }
}

fn address(url: String) -> Source {
    Source::Address { url }
}

/// The weights from one address of `server`.
fn from(server: &Server) -> PublishedFile {
    entry(vec![address(server.url("/tiny.pth"))])
}

fn fetcher(folder: &Path) -> Fetcher {
    Fetcher {
        patience: Patience {
            connect: Duration::from_secs(5),
            stall: Duration::from_millis(150),
            pause: Duration::from_millis(1),
            tries: 3,
        },
        ..Fetcher::new(Cache::new(folder))
    }
}

/// The cache has the file and no unfinished one.
#[track_caller]
fn is_there(folder: &Path) {
    assert!(fs::read(folder.join("tiny.pth")).unwrap() == content());
    assert!(!folder.join("tiny.pth.part").exists());
}

/// It fails with one line that has all of `parts`, and leaves no file.
#[track_caller]
fn fails(fetcher: &Fetcher, entry: &PublishedFile, parts: &[&str]) {
    let error = format!("{:#}", fetcher.ensure(entry).unwrap_err());
    for part in parts {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
    assert!(!error.contains('\n'), "{error}");
    assert_ne!(fetcher.cache.check(entry).unwrap(), State::Checked);
}

#[test]
fn a_file_is_fetched_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("made/on/the/way");
    let server = serve(|_, asked, stream| send_file(asked, stream, &content(), usize::MAX));
    let (fetcher, entry) = (fetcher(&folder), from(&server));
    for _ in 0..2 {
        assert_eq!(fetcher.ensure(&entry).unwrap(), folder.join("tiny.pth"));
    }
    fetcher.ensure_in_full(&entry).unwrap();
    is_there(&folder);
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_slow_server_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|_, _, stream| {
        let content = content();
        send(
            stream,
            &format!("HTTP/1.1 200 OK\nContent-Length: {}", content.len()),
            &[],
        );
        // In all longer than a stall may be.
        for piece in content.chunks(content.len() / 5) {
            thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(piece);
        }
    });
    fetcher(dir.path()).ensure(&from(&server)).unwrap();
    is_there(dir.path());
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_cut_or_stalled_connection_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|n, asked, stream| match n {
        0 => send_file(asked, stream, &content(), 100_001),
        1 => {
            send_file(asked, stream, &content(), 50_000);
            thread::sleep(Duration::from_millis(400));
        }
        // Nothing at all, twice.
        2 | 3 => {}
        _ => send_file(asked, stream, &content(), usize::MAX),
    });
    fetcher(dir.path()).ensure(&from(&server)).unwrap();
    is_there(dir.path());
    let gone_on = Some(150_001);
    assert_eq!(server.ranges(), [None, Some(100_001), gone_on, gone_on, gone_on]);
}

#[test]
fn the_next_process_goes_on_where_one_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|n, asked, stream| match n {
        0 => send_file(asked, stream, &content(), 70_000),
        1..=3 => {}
        _ => send_file(asked, stream, &content(), usize::MAX),
    });
    let (fetcher, entry) = (fetcher(dir.path()), from(&server));
    let parts = ["tiny", "after 70000 of 300000 bytes", "put tiny.pth into"];
    fails(&fetcher, &entry, &parts);
    fetcher.ensure(&entry).unwrap();
    is_there(dir.path());
    assert_eq!(server.ranges().last(), Some(&Some(70_000)));
}

#[test]
fn a_server_that_knows_no_ranges_is_asked_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|n, _, stream| {
        let content = content();
        let most = if n == 0 { 1_000 } else { content.len() };
        let head = format!("HTTP/1.1 200 OK\nContent-Length: {}", content.len());
        send(stream, &head, &content[..most]);
    });
    fetcher(dir.path()).ensure(&from(&server)).unwrap();
    is_there(dir.path());
    assert_eq!(server.ranges(), [None, Some(1_000)]);
}

#[test]
fn a_server_that_refuses_ranges_is_asked_for_all() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tiny.pth.part"), &content()[..10]).unwrap();
    let server = serve(|_, asked, stream| match asked.from {
        Some(_) => send(stream, "HTTP/1.1 416 Range Not Satisfiable", b""),
        None => send_file(asked, stream, &content(), usize::MAX),
    });
    fetcher(dir.path()).ensure(&from(&server)).unwrap();
    is_there(dir.path());
}

#[test]
fn what_an_earlier_process_left_may_be_of_other_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("tiny.pth.part");
    let server = serve(|_, asked, stream| send_file(asked, stream, &content(), usize::MAX));
    for left in [vec![0; 20], vec![0; content().len()], vec![0; 400_000]] {
        fs::write(&part, &left).unwrap();
        let _ = fs::remove_file(dir.path().join("tiny.pth"));
        fetcher(dir.path()).ensure(&from(&server)).unwrap();
        is_there(dir.path());
    }
}

#[test]
fn a_file_of_another_length_is_refused() {
    let longer = [content(), vec![0]].concat();
    for other in [content()[1..].to_vec(), longer] {
        for is_announced in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let body = other.clone();
            let server = serve(move |_, _, stream| {
                let length = format!("\nContent-Length: {}", body.len());
                let length = if is_announced { &length } else { "" };
                send(stream, &format!("HTTP/1.1 200 OK{length}"), &body);
            });
            fails(&fetcher(dir.path()), &from(&server), &[" 300000"]);
            assert!(!dir.path().join("tiny.pth").exists());
        }
    }
}

#[test]
fn other_bytes_are_refused_with_both_digests() {
    let dir = tempfile::tempdir().unwrap();
    let other = vec![7; content().len()];
    let (body, found) = (other.clone(), digest(&other));
    let server = serve(move |_, asked, stream| send_file(asked, stream, &body, usize::MAX));
    let entry = from(&server);
    fails(&fetcher(dir.path()), &entry, &[&found, &entry.sha256]);
    let left = fs::read_dir(dir.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tiny.pth.lock"]);
}

#[test]
fn where_a_source_has_nothing_the_next_one_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|_, asked, stream| match asked.path.as_str() {
        "/gone" => send(stream, "HTTP/1.1 404 Not Found", b"no such file"),
        "/loop" => send(stream, "HTTP/1.1 302 Found\nLocation: /loop", b""),
        // Begins well, so that the next source goes on with it.
        "/half" => send_file(asked, stream, &content()[..], 200_000 - asked.from.unwrap_or(0)),
        _ => send_file(asked, stream, &content(), usize::MAX),
    });
    let paths = ["/gone", "/loop", "/half", "/good"];
    let mut all: Vec<Source> = paths.iter().map(|path| address(server.url(path))).collect();
    let some = entry(all[..3].to_vec());
    let parts = ["/gone: it answered 404 Not Found", "/loop: ", "/half: "];
    fails(&fetcher(dir.path()), &some, &parts);
    // Nobody listens there.
    all.insert(0, address("http://127.0.0.1:1/".to_owned()));
    fetcher(dir.path()).ensure(&entry(all)).unwrap();
    is_there(dir.path());
    assert_eq!(server.ranges().last(), Some(&Some(200_000)));
}

#[test]
fn a_server_without_encryption_gives_no_file_by_https() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|_, asked, stream| send_file(asked, stream, &content(), usize::MAX));
    let url = server.url("/tiny.pth").replace("http:", "https:");
    fails(&fetcher(dir.path()), &entry(vec![address(url)]), &["https:"]);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|n, asked, stream| match n {
        0 => send(stream, "HTTP/1.1 503 Service Unavailable", b""),
        1 => send(stream, "HTTP/1.1 429 Too Many Requests", b""),
        _ => send_file(asked, stream, &content(), usize::MAX),
    });
    fetcher(dir.path()).ensure(&from(&server)).unwrap();
    is_there(dir.path());
}

#[test]
fn redirects_are_followed_also_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|n, asked, stream| match (asked.path.as_str(), n) {
        ("/tiny.pth", _) => send(stream, "HTTP/1.1 302 Found\nLocation: /elsewhere", b""),
        (_, 1) => send_file(asked, stream, &content(), 123_456),
        _ => send_file(asked, stream, &content(), usize::MAX),
    });
    fetcher(dir.path()).ensure(&from(&server)).unwrap();
    is_there(dir.path());
    assert_eq!(server.ranges().last(), Some(&Some(123_456)));
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|_, asked, stream| send_file(asked, stream, &content(), usize::MAX));
    let (fetcher, entry) = (fetcher(dir.path()), from(&server));
    for damaged in [&b"short"[..], &vec![0; content().len()]] {
        fs::write(dir.path().join("tiny.pth"), damaged).unwrap();
        fetcher.ensure(&entry).unwrap();
        is_there(dir.path());
    }
    // What a user has put there by hand is taken as it is.
    let by_hand = tempfile::tempdir().unwrap();
    fs::write(by_hand.path().join("tiny.pth"), content()).unwrap();
    self::fetcher(by_hand.path()).ensure(&entry).unwrap();
    assert_eq!(server.ranges().len(), 2);
}

#[test]
fn two_that_fetch_at_once_fetch_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(|_, asked, stream| {
        thread::sleep(Duration::from_millis(100));
        send_file(asked, stream, &content(), usize::MAX);
    });
    let (fetcher, entry) = (Arc::new(fetcher(dir.path())), Arc::new(from(&server)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (fetcher, entry) = (Arc::clone(&fetcher), Arc::clone(&entry));
            thread::spawn(move || fetcher.ensure(&entry).unwrap())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), dir.path().join("tiny.pth"));
    }
    is_there(dir.path());
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let folder = dir.path().join("file/cache");
    let server = serve(|_, asked, stream| send_file(asked, stream, &content(), usize::MAX));
    let named = folder.display().to_string();
    let parts = [named.as_str(), "WEAKSEG_WEIGHTS"];
    fails(&fetcher(&folder), &from(&server), &parts);
    assert_eq!(server.ranges(), []);
}
