//! PASCAL VOC's XML files of annotations.

use std::fmt::Write;

use super::Picture;

/// The annotation of an image: an object a part, with its bounding box, whose corners VOC counts from 1 and includes.
pub fn annotation(picture: &Picture, classes: &[String]) -> String {
    let mut text = format!(
        "<annotation>\n  <folder>VOC</folder>\n  <filename>{}</filename>\n  <size>\n    <width>{}</width>\n    <height>{}</height>\n    <depth>3</depth>\n  </size>\n  <segmented>1</segmented>\n",
        escaped(picture.file),
        picture.regions.width,
        picture.regions.height
    );
    for (class, region) in picture.parts() {
        let [x, y, width, height] = region.bounds;
        let name = classes.get(class).map_or("", String::as_str);
        let _ = write!(
            text,
            "  <object>\n    <name>{}</name>\n    <pose>Unspecified</pose>\n    <truncated>0</truncated>\n    <difficult>0</difficult>\n    <bndbox>\n      <xmin>{}</xmin>\n      <ymin>{}</ymin>\n      <xmax>{}</xmax>\n      <ymax>{}</ymax>\n    </bndbox>\n  </object>\n",
            escaped(name),
            x + 1,
            y + 1,
            x + width,
            y + height
        );
    }
    text + "</annotation>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
