//! `data.yaml` of a YOLO data set: where its parts are, and the names of its classes.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::yaml::{self, Value};

/// What a `data.yaml` says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Config {
    /// The folder that the parts are relative to, where one is given: often that of another machine.
    pub path: Option<String>,
    /// Folders or lists of the training images.
    pub train: Vec<String>,
    /// Of the validation images.
    pub val: Vec<String>,
    /// Of the test images.
    pub test: Vec<String>,
    /// Names of the classes, in the order of their numbers.
    pub names: Vec<String>,
    /// Whether labels are of keypoints (`kpt_shape`): a box, then points that are no polygon.
    pub keypoints: bool,
}

impl Config {
    /// Reads the text of a `data.yaml`. Of YAML it knows what such files have: scalars, and lists and maps of scalars,
    /// in lines or in brackets. Other keys may hold anything.
    ///
    /// # Errors
    /// One line that names `place` and the line: a form that is not known here, no names, or numbers of classes that do
    /// not go from 0 up by one.
    pub fn parse(text: &str, place: &Path) -> Result<Config> {
        read(text).map_err(|error| anyhow!("{} {error:#}", place.display()))
    }
}

fn read(text: &str) -> Result<Config> {
    let mut config = Config::default();
    let mut count = None;
    for entry in yaml::entries(
        text,
        &["path", "train", "val", "valid", "test", "names", "nc", "kpt_shape"],
    )? {
        let (key, value, line) = (entry.key.as_str(), entry.value, entry.line);
        let wrong = |what: &str| anyhow!("line {line}: {key} is {what}");
        match (key, value) {
            ("path", Value::Text(path)) => config.path = Some(path),
            ("names", Value::List(names)) => config.names = names,
            ("names", Value::Map(names)) => config.names = numbered(names).with_context(|| format!("line {line}"))?,
            ("names", Value::Text(name)) => bail!(
                "line {line}: names is the text {name:?}; write the names as a list, or as a map from their numbers"
            ),
            ("nc", Value::Text(text)) => {
                count = Some(text.parse::<usize>().map_err(|_| wrong("no number"))?);
            }
            ("kpt_shape", value) => config.keypoints = value != Value::Nothing,
            (_, Value::Nothing) => {}
            ("train" | "val" | "valid" | "test", value) => {
                let paths = match value {
                    Value::Text(path) => vec![path],
                    Value::List(paths) => paths,
                    _ => return Err(wrong("neither a path nor a list of paths")),
                };
                match key {
                    "train" => config.train = paths,
                    "test" => config.test = paths,
                    _ => config.val = paths,
                }
            }
            _ => return Err(wrong("of a form that is not known here")),
        }
    }
    ensure!(!config.names.is_empty(), "has no names of classes");
    if let Some(count) = count.filter(|count| *count != config.names.len()) {
        bail!("has {} names, but nc is {count}; make them agree", config.names.len());
    }
    Ok(config)
}

/// The names in the order of their numbers.
fn numbered(names: Vec<(String, String)>) -> Result<Vec<String>> {
    let mut found = vec![None; names.len()];
    for (number, name) in names {
        let place = number.parse::<usize>().ok().and_then(|n| found.get_mut(n));
        match place {
            Some(place @ None) => *place = Some(name),
            _ => bail!("the numbers of the names have to go from 0 up by one, each once; {number:?} does not fit"),
        }
    }
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("data.yaml")).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_read_in_every_form() {
        for names in [
            "names: [cat, 'big dog', \"it's\"]",
            "names: ['cat',\n  'big dog',\n  \"it's\"]  # three",
            "names:\n- cat\n- big dog\n- 'it''s'",
            "names:\n  - cat\n  - \"big dog\"\n\n  - it's # a comment\n",
            "names:\n  0: cat\n  1: big dog\n  2: it's\n",
            "names:\n  2: it's\n  0: 'cat'\n  1: big dog\n",
            "names: {0: cat, 1: 'big dog', 2: it's}",
        ] {
            let config = parse(names).unwrap();
            assert_eq!(config.names, ["cat", "big dog", "it's"], "{names}");
        }
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(
            "# COCO8\r\npath: ../datasets/coco8 # root\r\ntrain: images/train\r\nval:\r\n  - images/val\r\n  - images/more\r\ntest:\r\n\r\nnc: 2\r\nnames:\r\n  0: person\r\n  1: a: b\r\ndownload: |\r\n  import x\r\n  names: [y]\r\nroboflow:\r\n  license: CC\r\n",
        )
        .unwrap();
        let expected = Config {
            path: Some("../datasets/coco8".into()),
            train: vec!["images/train".into()],
            val: vec!["images/val".into(), "images/more".into()],
            test: vec![],
            names: vec!["person".into(), "a: b".into()],
            keypoints: false,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, part) in [
            ("train: a\n", "has no names"),
            ("nc: 3\nnames: [a, b]", "2 names, but nc is 3"),
            ("nc: x\nnames: [a, b]", "line 1: nc is no number"),
            ("\nnames: cat", "line 2: names is the text \"cat\""),
            ("names: {0: a, 2: b}", "from 0 up by one, each once; \"2\""),
            ("names:\n  0: a\n  0: b", "each once; \"0\""),
            ("names: &x [a]", "line 1: \"&x [a]\""),
            ("names: [a, [b]]", "line 1"),
            (
                "names:\n- name: cat\n- name: dog",
                "line 2: \"name: cat\" is a map in a list",
            ),
            ("names: [name: cat]", "line 1: \"name: cat\" is a map in a list"),
            ("names: [a,\n b\ntrain: x", "line 1: the bracket is not closed"),
            ("names:\n  - a\n  b: c", "line 3"),
            ("names:\n  - |\n    a", "line 2"),
            ("names:\n  - 'a", "line 2: a quote is not closed"),
            ("names: [a]\nnames: [b]", "line 2: names is there twice"),
            ("names: [a]\ntrain: {x: y}", "line 2: train is neither"),
            ("names: [a]\njust words", "line 2"),
            ("\tnames: [a]", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.starts_with("data.yaml ") && error.contains(part),
                "{text:?}: {error}"
            );
        }
    }
}
