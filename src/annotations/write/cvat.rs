//! CVAT's `labelmap.txt`.

use std::fmt::Write;

/// The text of a `labelmap.txt`: the background, the classes, and what is ignored, each with its colour by mask value.
pub fn label_map(classes: &[String], colour: impl Fn(u8) -> [u8; 3]) -> String {
    let mut text = "# label:color_rgb:parts:actions\n".to_owned();
    let known = classes.iter().zip(1..).map(|(name, value)| (name.as_str(), value));
    for (name, value) in [("background", 0)].into_iter().chain(known).chain([("ignored", 255)]) {
        let [red, green, blue] = colour(value);
        let _ = writeln!(text, "{name}:{red},{green},{blue}::");
    }
    text
}
