//! As much of YAML as a `data.yaml` has: a map of scalars, and of lists and maps of scalars. What is not understood is
//! refused, but under keys that nobody asks for.

use anyhow::{Result, bail, ensure};

/// A value under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Nothing,
    Text(String),
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

/// A key of the file's map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub value: Value,
    pub line: usize,
}

/// A line without its comment, with its number.
struct Line<'a> {
    number: usize,
    text: &'a str,
}

/// The entries of the keys `wanted`, in the order of the file.
///
/// # Errors
/// With the line: what is no `key: value`, a key twice, and under the keys `wanted` all that is not understood.
pub(super) fn entries(text: &str, wanted: &[&str]) -> Result<Vec<Entry>> {
    let mut found: Vec<Entry> = Vec::new();
    let mut lines = text
        .lines()
        .zip(1..)
        .map(|(text, number)| Line { number, text })
        .peekable();
    while let Some(Line { number, text }) = lines.next() {
        let plain = without_comment(text);
        if plain.is_empty() || ["---", "..."].contains(&plain) {
            continue;
        }
        let pair = match plain.starts_with([' ', '\t', '-']) {
            true => None,
            false => pair(plain),
        };
        let Some((key, inline)) = pair else {
            bail!("line {number}: {plain:?} is not of the form key: value");
        };
        // Elements of a list may stand as far left as their key.
        let belongs = |line: &Line| line.text.starts_with([' ', '\t', '-', ']', '}']) && !line.text.starts_with("---");
        let mut under = Vec::new();
        while let Some(line) = lines.next_if(|line| belongs(line) || without_comment(line.text).is_empty()) {
            under.push(line);
        }
        let key = scalar(key, number)?;
        if !wanted.contains(&key.as_str()) {
            continue;
        }
        ensure!(
            found.iter().all(|e| e.key != key),
            "line {number}: {key} is there twice"
        );
        let under: Vec<Line> = under
            .into_iter()
            .map(|line| Line {
                text: without_comment(line.text).trim(),
                ..line
            })
            .filter(|line| !line.text.is_empty())
            .collect();
        found.push(Entry {
            key,
            value: value(inline, number, &under)?,
            line: number,
        });
    }
    Ok(found)
}

fn value(inline: &str, number: usize, under: &[Line]) -> Result<Value> {
    if let Some(open) = inline.chars().next().filter(|c| "[{".contains(*c)) {
        let mut whole = inline.to_owned();
        for line in under {
            whole += " ";
            whole += line.text;
        }
        return in_brackets(&whole, open, number);
    }
    if !inline.is_empty() {
        if let Some(line) = under.first() {
            bail!("line {}: a value of several lines is not understood here", line.number);
        }
        return Ok(match inline {
            "~" | "null" => Value::Nothing,
            _ => Value::Text(scalar(inline, number)?),
        });
    }
    let Some(first) = under.first() else {
        return Ok(Value::Nothing);
    };
    let is_element = |text: &str| {
        text.strip_prefix('-')
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    if is_element(first.text) {
        let mut list = Vec::new();
        for line in under {
            match line.text.strip_prefix("- ") {
                Some(text) => list.push(element(text.trim(), line.number)?),
                None => bail!("line {}: {:?} is no element of the list", line.number, line.text),
            }
        }
        return Ok(Value::List(list));
    }
    let mut map = Vec::new();
    for line in under {
        match pair(line.text) {
            Some((key, text)) => map.push((scalar(key, line.number)?, scalar(text, line.number)?)),
            None => bail!("line {}: {:?} is not of the form key: value", line.number, line.text),
        }
    }
    Ok(Value::Map(map))
}

/// A list or map in brackets.
fn in_brackets(text: &str, open: char, number: usize) -> Result<Value> {
    let close = if open == '[' { ']' } else { '}' };
    let Some(inside) = text[1..].strip_suffix(close) else {
        bail!("line {number}: the bracket is not closed at the end of the value");
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for at in outside_of_quotes(inside, ',') {
        parts.push(inside[start..at].trim());
        start = at + 1;
    }
    parts.push(inside[start..].trim());
    // A comma may follow the last.
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    if open == '[' {
        let list = parts.into_iter().map(|part| element(part, number));
        return Ok(Value::List(list.collect::<Result<_>>()?));
    }
    let mut map = Vec::new();
    for part in parts {
        match pair(part) {
            Some((key, text)) => map.push((scalar(key, number)?, scalar(text, number)?)),
            None => bail!("line {number}: {part:?} is not of the form key: value"),
        }
    }
    Ok(Value::Map(map))
}

/// What is before and behind the first colon that white space or the end follows.
fn pair(text: &str) -> Option<(&str, &str)> {
    let ends = |at: &usize| text[at + 1..].is_empty() || text[at + 1..].starts_with([' ', '\t']);
    let at = outside_of_quotes(text, ':').into_iter().find(ends)?;
    Some((text[..at].trim(), text[at + 1..].trim()))
}

/// An element of a list: a scalar. One of the form `key: value` is a map.
fn element(text: &str, number: usize) -> Result<String> {
    ensure!(
        pair(text).is_none(),
        "line {number}: {text:?} is a map in a list, which is not understood here; put a text with a colon into quotes"
    );
    scalar(text, number)
}

/// A scalar without its quotes.
fn scalar(text: &str, number: usize) -> Result<String> {
    let quote = text.chars().next().filter(|c| "'\"".contains(*c));
    let Some(quote) = quote else {
        // These begin what is more than a scalar; in brackets, others would be left over.
        let special = text.is_empty() || text.starts_with(['&', '*', '!', '|', '>', '%', '@', '`', '[', '{', '?']);
        let left_over = text.ends_with([']', '}']);
        ensure!(
            !special && !left_over,
            "line {number}: {text:?} is not understood here; write a plain text or number"
        );
        return Ok(text.to_owned());
    };
    let Some(inside) = text[1..].strip_suffix(quote) else {
        bail!("line {number}: a quote is not closed, or something follows it: {text}");
    };
    if quote == '\'' {
        let plain = inside.replace("''", "\u{0}");
        ensure!(
            !plain.contains('\''),
            "line {number}: something follows a quote: {text}"
        );
        return Ok(plain.replace('\u{0}', "'"));
    }
    let mut plain = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some(c @ ('"' | '\\' | '/')) => plain.push(c),
                _ => bail!("line {number}: an escape that is not understood here: {text}"),
            },
            ('"', _) => bail!("line {number}: something follows a quote: {text}"),
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

/// The line up to a comment, without white space at its end.
fn without_comment(line: &str) -> &str {
    let begins = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '\t']);
    let end = outside_of_quotes(line, '#').into_iter().find(begins);
    line[..end.unwrap_or(line.len())].trim_end()
}

/// Where `sign` is in the text but in quotes, which begin where a value can begin.
fn outside_of_quotes(text: &str, sign: char) -> Vec<usize> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut before = ' ';
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) => {
                let closes = c == open && !escaped;
                escaped = open == '"' && c == '\\' && !escaped;
                if closes {
                    quote = None;
                }
            }
            None if "'\"".contains(c) && " \t[{,:'\"".contains(before) => quote = Some(c),
            None if c == sign => found.push(at),
            None => {}
        }
        before = c;
    }
    found
}
