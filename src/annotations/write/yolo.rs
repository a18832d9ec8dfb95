//! YOLO's label files for segmentation, and their `data.yaml`.

use std::fmt::Write;

use super::Picture;

/// The label file of an image: a line a part, its class and its border in shares of the image's sides. Holes are joined
/// to the border, as Ultralytics joins parts.
pub fn labels(picture: &Picture) -> String {
    let sides = [picture.regions.width, picture.regions.height].map(f64::from);
    let mut text = String::new();
    for (class, region) in picture.parts() {
        let _ = write!(text, "{class}");
        for at in picture.regions.joined(region) {
            for axis in [0, 1] {
                let _ = write!(text, " {}", share(f64::from(at[axis]) / sides[axis]));
            }
        }
        text.push('\n');
    }
    text
}

/// Seven decimals: within a hundredth of a pixel up to 100,000 pixels.
fn share(value: f64) -> String {
    let text = format!("{value:.7}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// `data.yaml`, for images in one folder: Ultralytics wants one to train and one to validate on.
pub fn config(classes: &[String], images: &str) -> String {
    let mut text =
        format!("# Both name the images that there are labels of.\ntrain: {images}\nval: {images}\nnames:\n");
    for (class, name) in classes.iter().enumerate() {
        let _ = writeln!(text, "  {class}: '{}'", name.replace('\'', "''"));
    }
    text
}
