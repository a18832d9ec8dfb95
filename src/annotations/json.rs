//! Places of values in a JSON text, found without building anything: files of annotations have hundreds of megabytes.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;

/// The members of the object that `text` is: their names, with where their values are.
///
/// # Errors
/// Where it is no object, or is cut off, with the line.
pub fn members(text: &[u8]) -> Result<Vec<(String, Range<usize>)>> {
    let mut found = Vec::new();
    let end = each(text, 0..text.len(), (b'{', b'}'), &mut |name, value| {
        let name = name.unwrap_or_default();
        found.push((parse(text, name)?, value));
        Ok(())
    })?;
    match blank(text, end) {
        at if at == text.len() => Ok(found),
        at => bail!("line {}: something follows the end", line(text, at)),
    }
}

/// Calls `each_one` with where each element is of the array that `text[array]` is.
///
/// # Errors
/// Where it is no array, or is cut off, with the line; and the first of `each_one`.
pub fn elements(text: &[u8], array: Range<usize>, each_one: &mut dyn FnMut(Range<usize>) -> Result<()>) -> Result<()> {
    each(text, array, (b'[', b']'), &mut |_, value| each_one(value)).map(|_| ())
}

/// The value at `text[place]`.
///
/// # Errors
/// Where it is none, or another than is wanted, with the line in the whole text.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a [u8], place: Range<usize>) -> Result<T> {
    let start = place.start;
    serde_json::from_slice(&text[place]).map_err(|error| {
        let line = line(text, start) + error.line().saturating_sub(1);
        // serde_json's own place is that in the value.
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
        anyhow!("line {line}: {what}")
    })
}

/// Whether one of the names is in the first kilobytes of a text, which need not be whole.
pub fn begins_with(text: &[u8], names: &[&str]) -> bool {
    let start = String::from_utf8_lossy(&text[..text.len().min(4096)]);
    names.iter().any(|name| start.contains(&format!("\"{name}\"")))
}

/// The number of the line that the byte `at` is on, from 1.
pub fn line(text: &[u8], at: usize) -> usize {
    text[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// Walks over what is between two brackets, and gives the place behind them. Names are those of an object's members.
fn each(
    text: &[u8],
    within: Range<usize>,
    (open, close): (u8, u8),
    found: &mut dyn FnMut(Option<Range<usize>>, Range<usize>) -> Result<()>,
) -> Result<usize> {
    let text = &text[..within.end];
    let fail = |at: usize, what: &str| match at >= text.len() {
        true => anyhow!("line {}: it is cut off", line(text, at)),
        false => anyhow!("line {}: {what} is expected", line(text, at)),
    };
    let mut at = blank(text, within.start);
    if text.get(at) != Some(&open) {
        return Err(fail(at, &format!("{:?}", open as char)));
    }
    at = blank(text, at + 1);
    if text.get(at) == Some(&close) {
        return Ok(at + 1);
    }
    loop {
        let mut name = None;
        if open == b'{' {
            let end = string(text, at).ok_or_else(|| fail(at, "a name in quotes"))?;
            name = Some(at..end);
            at = blank(text, end);
            if text.get(at) != Some(&b':') {
                return Err(fail(at, "':'"));
            }
            at = blank(text, at + 1);
        }
        let end = value(text, at).ok_or_else(|| match text.get(at) {
            Some(b'"' | b'[' | b'{') => fail(text.len(), "its end"),
            _ => fail(at, "a value"),
        })?;
        found(name, at..end)?;
        at = blank(text, end);
        match text.get(at) {
            Some(b',') => at = blank(text, at + 1),
            Some(byte) if *byte == close => return Ok(at + 1),
            _ => return Err(fail(at, &format!("',' or {:?}", close as char))),
        }
    }
}

/// The end of the white space from `at` on.
fn blank(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let length = rest.iter().position(|b| !b" \t\r\n".contains(b));
    at + length.unwrap_or(rest.len())
}

/// The end of the string that begins at `at`.
fn string(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The end of the value that begins at `at`: of brackets, the one that closes the first, whatever is between them.
fn value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string(text, at),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at, 0_usize);
            loop {
                match text.get(at)? {
                    b'"' => at = string(text, at)?,
                    byte => {
                        match byte {
                            b'{' | b'[' => depth += 1,
                            b'}' | b']' => depth -= 1,
                            _ => {}
                        }
                        at += 1;
                        if depth == 0 {
                            return Some(at);
                        }
                    }
                }
            }
        }
        _ => {
            let rest = &text[at..];
            let length = rest.iter().position(|b| b",]} \t\r\n".contains(b));
            let length = length.unwrap_or(rest.len());
            (length > 0).then_some(at + length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_are() {
        let text = br#" {"a" : [1, {"]": "\"["}, "x,y" ], "b\u0041":null, "c": {} } "#;
        let found = members(text).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "bA", "c"]);
        let mut parts = Vec::new();
        elements(text, found[0].1.clone(), &mut |place| {
            parts.push(String::from_utf8(text[place].to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        assert_eq!(parts, ["1", r#"{"]": "\"["}"#, r#""x,y""#]);
        assert_eq!(parse::<Option<u8>>(text, found[1].1.clone()).unwrap(), None);
        assert_eq!(members(b"{}").unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_named_with_its_line() {
        for (text, part) in [
            ("", "line 1: it is cut off"),
            ("[1]", "line 1: '{' is expected"),
            ("{\"a\": [1,\n 2", "line 2: it is cut off"),
            ("{\"a\": 1\n", "line 2: it is cut off"),
            ("{\"a\": 1\n \"b\": 2}", "line 2: ',' or '}' is expected"),
            ("{\"a\"\n1}", "line 2: ':' is expected"),
            ("{a: 1}", "line 1: a name in quotes is expected"),
            ("{}\n\n{}", "line 3: something follows"),
            ("{\"a\": }", "line 1: a value is expected"),
            ("{\"\\q\": 1}", "line 1: invalid escape"),
        ] {
            let error = members(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let text = b"{\"a\": [\n1,\n\"x\"]}";
        let place = members(text).unwrap()[0].1.clone();
        let error = parse::<Vec<u8>>(text, place).unwrap_err().to_string();
        assert!(error.starts_with("line 3: invalid type: string"), "{error}");
        let deep = vec![b'['; 1 << 20];
        assert!(elements(&deep, 0..deep.len(), &mut |_| Ok(())).is_err());
    }
}
