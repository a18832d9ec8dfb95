//! A file from an address, with a cut connection gone on with.

use std::io;
use std::thread;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, Error};

use super::failure::{Failure, one_line};
use super::part::Part;

/// How long to wait for a server, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To be connected.
    pub connect: Duration,
    /// For the next bytes.
    pub stall: Duration,
    /// Before another try, and as much longer before each further one in a row that brings nothing.
    pub pause: Duration,
    /// Tries in a row that bring nothing.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            tries: 3,
        }
    }
}

/// Fetches the rest of `part` from `url`, trying again as long as that brings more of it. A server that cannot go on in
/// the middle is asked for all of it.
///
/// There is no condition in the request that the file has not changed meanwhile: its SHA-256 is checked in the end.
///
/// # Errors
/// Where the server cannot be reached, does not have a file of the right length, or stops sending for good.
pub(super) fn download(url: &str, part: &mut Part, patience: Patience) -> Result<(), Failure> {
    let agent = agent(url, patience);
    let start = part.length();
    let (mut best, mut vain) = (start, 0);
    while !part.is_whole() {
        let Err(failure) = once(&agent, url, part, best > start) else {
            continue;
        };
        let Failure::Cut(why) = failure else {
            return Err(failure);
        };
        if part.length() > best {
            (best, vain) = (part.length(), 0);
        } else {
            vain += 1;
        }
        let stopped = format!("{why}, after {best} of {} bytes", part.entry.bytes);
        if vain >= patience.tries {
            return Err(Failure::Cut(stopped));
        }
        log::info!("{url}: {stopped}: trying again");
        thread::sleep(patience.pause * vain.max(1));
    }
    Ok(())
}

/// Proxies are those of the environment, unless the server is this machine.
fn agent(url: &str, patience: Patience) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // Also for where it is redirected to.
        .https_only(url.starts_with("https://"))
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall))
        .user_agent(concat!("weakseg/", env!("CARGO_PKG_VERSION")));
    if url.contains("://127.0.0.1:") {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// One request. `is_known`: the server has sent something before, so that it is worth waiting where it is away.
fn once(agent: &Agent, url: &str, part: &mut Part, is_known: bool) -> Result<(), Failure> {
    let from = part.length();
    // Packed bytes could neither be counted nor gone on with.
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    let response = request.call().map_err(|error| told(&error, is_known))?;
    let status = response.status();
    let length = match status {
        StatusCode::OK => number(&response, header::CONTENT_LENGTH),
        StatusCode::PARTIAL_CONTENT => {
            let (start, total) = range(&response);
            if start != Some(from) {
                return Err(Failure::Source(
                    "it sent another part of the file than it was asked for".to_owned(),
                ));
            }
            total
        }
        StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => range(&response).1,
        _ if may_pass(status) => return Err(Failure::Cut(format!("it answered {status}"))),
        _ => return Err(Failure::Source(format!("it answered {status}"))),
    };
    // Before what is there already is given up for an error page or another file.
    if let Some(length) = length.filter(|length| *length != part.entry.bytes) {
        return Err(Failure::length(part.entry, length));
    }
    if status != StatusCode::PARTIAL_CONTENT {
        part.clear()?;
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(Failure::Cut("it cannot go on in the middle".to_owned()));
    }
    part.append(response.into_body().into_reader())
        .map_err(|failure| match failure {
            Failure::Cut(why) => Failure::Cut(format!("the connection was cut ({why})")),
            other => other,
        })?;
    if part.is_whole() {
        Ok(())
    } else {
        Err(Failure::Cut("the server stopped early".to_owned()))
    }
}

/// What a request's failure means.
fn told(error: &Error, is_known: bool) -> Failure {
    let (text, may_pass) = match error {
        Error::HostNotFound => ("its host is not found: no network?".to_owned(), is_known),
        Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            ("it does not answer: no network?".to_owned(), is_known)
        }
        Error::Timeout(_) => ("it sent nothing for too long".to_owned(), true),
        Error::Io(error) => {
            use io::ErrorKind as Kind;
            let is_cut = matches!(
                error.kind(),
                Kind::ConnectionReset
                    | Kind::ConnectionAborted
                    | Kind::BrokenPipe
                    | Kind::UnexpectedEof
                    | Kind::TimedOut
            );
            let what = if is_cut {
                "the connection was cut"
            } else {
                "it cannot be reached"
            };
            let text = one_line(&format!("{what} ({error})"));
            (text, is_cut || is_known)
        }
        Error::RequireHttpsOnly(url) => (one_line(&format!("it leads to {url}, which is not https")), false),
        other => (one_line(&other.to_string()), false),
    };
    if may_pass {
        Failure::Cut(text)
    } else {
        Failure::Source(text)
    }
}

/// Whether the server may answer something else in a moment.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

fn number(response: &Response<Body>, name: header::HeaderName) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// Where the part that was sent starts, and how long the whole file is: `bytes 5-9/10`, each of which may be missing.
fn range(response: &Response<Body>) -> (Option<u64>, Option<u64>) {
    let value = response.headers().get(header::CONTENT_RANGE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let (part, total) = text.split_once('/').unwrap_or((text, ""));
    let part = part.trim().strip_prefix("bytes").unwrap_or("");
    let start = part.split('-').next().unwrap_or("");
    (start.trim().parse().ok(), total.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_never_left() {
        let is_kept = |url| agent(url, Patience::default()).config().https_only();
        assert!(is_kept("https://example.org/a"));
        assert!(!is_kept("http://127.0.0.1:80/a"));
    }
}
