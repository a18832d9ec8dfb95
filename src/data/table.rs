//! `tags.csv`: which separator it has, what its columns are, and which files it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use csv::StringRecord;

use super::Skips;
use super::files;
use super::mask_files;
use super::seen::LeftOut;
use super::text::read_text;

/// Separators of columns; where several fit equally, the first.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// What the column of the files may be called.
const FILE_HEADERS: [&str; 10] = [
    "file",
    "filename",
    "file_name",
    "image",
    "image_name",
    "image_id",
    "img",
    "name",
    "path",
    "id",
];

/// What the column of the tags may be called.
const TAG_HEADERS: [&str; 8] = [
    "tags",
    "tag",
    "labels",
    "label",
    "classes",
    "class",
    "category",
    "categories",
];

/// The files of a table with their tags, in the order of their paths. Names without a folder do not mean files in
/// `besides`, where other images are.
pub(super) fn read(
    dir: &Path,
    table: &Path,
    besides: Option<&Path>,
    skips: &mut Skips,
) -> Result<BTreeMap<PathBuf, Vec<String>>> {
    let text = read_text(table)?;
    let place = table.display();
    let finder = Finder::new(dir, besides)?;
    let separator = separator(&text, &finder);
    let rows = records(&text, separator).map_err(|e| anyhow!("cannot read {place}: {e}"))?;
    let mut rows = rows
        .into_iter()
        .filter(|(_, row)| !row.iter().all(str::is_empty))
        .peekable();
    let header = rows.next_if(|(_, row)| is_header(row, &finder)).map(|(_, row)| row);
    // A separator at the end of a row begins no column.
    let header = header.map(|header| without_ends(&header, 1));
    let columns = header.as_ref().map_or(2, StringRecord::len);
    let rows: Vec<_> = rows.map(|(line, row)| (line, without_ends(&row, columns))).collect();
    let one_hot = header.as_ref().filter(|header| is_one_hot(header, &rows));
    let mut found: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let mut missing = Vec::new();
    for (line, row) in &rows {
        let file = row.get(0).unwrap_or_default();
        let several = separator == b',' && one_hot.is_none() && row.len() > 2;
        if file.is_empty() || several {
            bail!(
                "{place} line {line} is not of the form file,tag;tag; write several tags with semicolons between them"
            );
        }
        let Some(path) = finder.find(file) else {
            missing.push((*line, file));
            continue;
        };
        let tags: Vec<String> = match one_hot {
            Some(header) => header
                .iter()
                .zip(row)
                .skip(1)
                .filter(|(_, value)| flag(value) == Some(true))
                .map(|(class, _)| class.to_owned())
                .collect(),
            None => {
                let between: &[char] = if separator == b',' { &[';'] } else { &[';', ','] };
                let tags = row.iter().skip(1).flat_map(|field| field.split(between));
                let tags = tags.map(str::trim).filter(|tag| !tag.is_empty());
                tags.map(str::to_owned).collect()
            }
        };
        found.entry(path).or_default().extend(tags);
    }
    if let (true, Some((line, first))) = (found.is_empty(), missing.first()) {
        bail!(
            "{place}: none of its {} lines begins with an image file (line {line} with {first:?}); rows are file,tag;tag with files relative to {}, and a comma, semicolon, tab or | behind the file",
            missing.len(),
            dir.display()
        );
    }
    for (line, file) in missing {
        skips.skip_as(
            "images that tags.csv names but that do not exist",
            &dir.join(file),
            format!(
                "{place} line {line} names {}, which does not exist",
                dir.join(file).display()
            ),
        );
    }
    Ok(found)
}

/// Rows with the lines that they begin at.
fn records(text: &str, separator: u8) -> Result<Vec<(u64, StringRecord)>, csv::Error> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for (number, row) in reader.records().enumerate() {
        let row = row?;
        let line = row.position().map_or(number as u64 + 1, |p| p.line());
        rows.push((line, row));
    }
    Ok(rows)
}

/// A row without the empty fields at its end that are beyond the first `columns`.
fn without_ends(row: &StringRecord, columns: usize) -> StringRecord {
    let filled = (0..row.len()).rfind(|i| !row[*i].is_empty()).map_or(0, |last| last + 1);
    row.iter().take(filled.max(columns)).collect()
}

/// The separator with which most rows begin with an image file.
fn separator(text: &str, finder: &Finder) -> u8 {
    let files = |separator: u8| {
        let rows = records(text, separator).unwrap_or_default();
        let is_file = |(_, row): &&(u64, StringRecord)| {
            row.len() > 1 && row.get(0).is_some_and(|file| finder.find(file).is_some())
        };
        rows.iter().filter(is_file).count()
    };
    let mut best = (0, SEPARATORS[0]);
    for separator in SEPARATORS {
        let count = files(separator);
        if count > best.0 {
            best = (count, separator);
        }
    }
    best.1
}

fn is_header(row: &StringRecord, finder: &Finder) -> bool {
    let known = |names: &[&str], field: Option<&str>| {
        field.is_some_and(|field| names.iter().any(|name| field.eq_ignore_ascii_case(name)))
    };
    let (files, tags) = (known(&FILE_HEADERS, row.get(0)), known(&TAG_HEADERS, row.get(1)));
    // One such word alone may be an image.jpg, or a tag.
    let is_image = || row.get(0).is_some_and(|file| finder.find(file).is_some());
    known(&["file"], row.get(0)) || files && tags || (files || tags) && !is_image()
}

/// Whether the columns behind the first are classes, and hold which of them an image has.
fn is_one_hot(header: &StringRecord, rows: &[(u64, StringRecord)]) -> bool {
    let named = header.get(1).unwrap_or_default();
    let is_tags = header.len() == 2 && TAG_HEADERS.iter().any(|t| named.eq_ignore_ascii_case(t));
    let is_flags = |row: &StringRecord| row.len() == header.len() && row.iter().skip(1).all(|v| flag(v).is_some());
    header.len() > 1 && !is_tags && !rows.is_empty() && rows.iter().all(|(_, row)| is_flags(row))
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "yes" | "x" => Some(true),
        "" | "0" | "0.0" | "-1" | "-1.0" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// Finds the files that a table means.
struct Finder {
    dir: PathBuf,
    /// The image files by their names, and by these without extension, in lower case.
    by_name: BTreeMap<String, Vec<PathBuf>>,
}

impl Finder {
    fn new(dir: &Path, besides: Option<&Path>) -> Result<Finder> {
        let inside = |folder: &Path| {
            let inside = folder
                .canonicalize()
                .ok()?
                .strip_prefix(dir.canonicalize().ok()?)
                .ok()?
                .to_owned();
            Some(dir.join(inside))
        };
        let besides = besides.and_then(inside);
        let is_other = |path: &Path| besides.as_ref().is_some_and(|folder| path.starts_with(folder));
        let mut images = Vec::new();
        files::walk(dir, &mut images, &mut LeftOut::default())?;
        let mut by_name: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let masks = mask_files::folder(dir);
        for path in images
            .into_iter()
            .filter(|path| !path.starts_with(&masks) && !is_other(path))
        {
            for name in [files::file_name(&path), files::stem(&path)] {
                by_name.entry(name.to_lowercase()).or_default().push(path.clone());
            }
        }
        Ok(Finder {
            dir: dir.to_owned(),
            by_name,
        })
    }

    /// The file as it is named; with `\` for `/`; else the only image of that name in any case, in any folder below,
    /// with an extension or without.
    fn find(&self, file: &str) -> Option<PathBuf> {
        let given = self.dir.join(file);
        if given.is_file() {
            return Some(given);
        }
        let file = file.replace('\\', "/");
        let slashed = self.dir.join(&file);
        if slashed.is_file() {
            return Some(slashed);
        }
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", &file));
        let candidates = self.by_name.get(&name.to_lowercase())?;
        let mut fitting = candidates.iter().filter(|path| {
            let parent = path.parent().unwrap_or(Path::new(""));
            parent.ends_with(folder)
        });
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What the table gives for the images a.jpg, b.jpg and images/c.jpg, as `file: tags`.
    fn tags(table: &[u8]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("images")).unwrap();
        for name in ["a.jpg", "b.jpg", "images/c.jpg"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let path = dir.path().join("tags.csv");
        fs::write(&path, table).unwrap();
        let rows = read(dir.path(), &path, None, &mut Skips::default()).map_err(|e| e.to_string())?;
        let row = |(path, tags): (PathBuf, Vec<String>)| format!("{}: {}", files::file_name(&path), tags.join("+"));
        Ok(rows.into_iter().map(row).collect())
    }

    #[test]
    fn separators_are_told_apart_by_the_file() {
        let expected = ["a.jpg: cat+dog", "b.jpg: dog", "c.jpg: cat"];
        for table in [
            "file,tags\na.jpg,cat;dog\nb.jpg,dog\nimages/c.jpg,cat\n",
            "file;tags\r\na.jpg;cat;dog\r\nb.jpg;dog\r\nimages/c.jpg;cat\r\n",
            "a.jpg;cat,dog\nb.jpg;dog\nimages\\c.jpg;cat\n",
            "file\ttags\na.jpg\tcat;dog\nb.jpg\tdog\nc.jpg\tcat\n",
            "a.jpg|cat|dog\nb.jpg|dog\nc.jpg|cat\n",
            "\u{feff}filename,label\n\"a.jpg\",\"cat;dog\"\n\"b.jpg\",dog\nC,cat\n",
            "a,cat;dog\n\nb,dog\nc,cat\n",
            "image,cat,dog\na.jpg,1,1\nb.jpg,0,1\nc.jpg,1,0\n",
            "image;cat;dog\na.jpg;1.0;1.0\nb.jpg;;1\nc.jpg;true;false\n",
            // Separators at the ends of rows, of all or of some.
            "file,tags,\na.jpg,cat;dog,\nb.jpg,dog,\nc.jpg,cat,\n",
            "file,tags\na.jpg,cat;dog,,\nb.jpg,dog\nc.jpg,cat,\n",
            "a.jpg;cat;dog;\nb.jpg;dog;\nc.jpg;cat;\n",
            "image,cat,dog,\na.jpg,1,1,\nb.jpg,0,1,\nc.jpg,1,0,\n",
        ] {
            assert_eq!(tags(table.as_bytes()).unwrap(), expected, "{table}");
        }
    }

    #[test]
    fn one_message_tells_what_is_wrong() {
        let colons = tags(b"file:tags\na.jpg:cat\nb.jpg:dog\n").unwrap_err();
        assert!(
            colons.contains("none of its") && colons.contains("semicolon, tab or |"),
            "{colons}"
        );
        let commas = tags(b"a.jpg,cat\nb.jpg,dog,cat\n").unwrap_err();
        assert!(commas.contains("line 2 is not of the form file,tag;tag"), "{commas}");
        assert!(tags(b"a.jpg,cat\n,dog\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn files_that_are_missing_or_not_clear_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["x", "y"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("a.jpg"), "").unwrap();
        }
        fs::write(dir.path().join("b.jpg"), "").unwrap();
        let path = dir.path().join("tags.csv");
        fs::write(&path, "a.jpg,cat\nb.jpg,dog\ngone.jpg,dog\nY/a,cat\n").unwrap();
        let mut skips = Skips::default();
        let rows = read(dir.path(), &path, None, &mut skips).unwrap();
        assert_eq!((rows.len(), skips.count), (1, 3));
        fs::write(&path, "y/a,cat\n").unwrap();
        assert_eq!(read(dir.path(), &path, None, &mut skips).unwrap().len(), 1);
    }

    #[test]
    fn a_header_is_one_beside_an_image_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["image.jpg", "b.jpg"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let path = dir.path().join("tags.csv");
        let read = |table: &str| {
            fs::write(&path, table).unwrap();
            let rows = read(dir.path(), &path, None, &mut Skips::default()).unwrap();
            rows.into_values().map(|tags| tags.join("+")).collect::<Vec<_>>()
        };
        assert_eq!(read("image,label\nimage.jpg,cat\nb.jpg,dog\n"), ["dog", "cat"]);
        assert_eq!(read("image,cat\nb,dog\n"), ["dog", "cat"]);
    }

    #[test]
    fn names_do_not_mean_files_of_the_folder_besides() {
        let dir = tempfile::tempdir().unwrap();
        let val = dir.path().join("val");
        fs::create_dir(&val).unwrap();
        for name in ["a.jpg", "val/b.jpg", "val/c.jpg"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let path = dir.path().join("tags.csv");
        fs::write(&path, "a.jpg,cat\nb.jpg,dog\nval/c.jpg,dog\n").unwrap();
        let mut skips = Skips::default();
        let found = read(dir.path(), &path, Some(&val), &mut skips).unwrap();
        let found: Vec<String> = found.keys().map(|path| files::file_name(path)).collect();
        assert_eq!((found, skips.count), (vec!["a.jpg".to_owned(), "c.jpg".to_owned()], 1));
        assert_eq!(read(dir.path(), &path, None, &mut skips).unwrap().len(), 3);
    }
}
