//! The formats that masks are handed on in, and come back in.

/// A format of annotated images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// COCO's instances JSON.
    Coco,
    /// YOLO's label files for segmentation.
    Yolo,
    /// labelme's JSON files.
    Labelme,
    /// CVAT's "Segmentation mask 1.1".
    Cvat,
    /// A year folder of a VOCdevkit.
    Voc,
    /// An image folder of Hugging Face's datasets, with masks.
    Hf,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] = [
        Format::Coco,
        Format::Yolo,
        Format::Labelme,
        Format::Cvat,
        Format::Voc,
        Format::Hf,
    ];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Coco => "coco",
            Format::Yolo => "yolo",
            Format::Labelme => "labelme",
            Format::Cvat => "cvat",
            Format::Voc => "voc",
            Format::Hf => "hf",
        }
    }

    /// The format that is called so.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether it has a way to say that pixels are to be ignored.
    pub fn keeps_ignored(self) -> bool {
        self != Format::Yolo
    }

    /// Whether programs that read it expect the images beside the annotations.
    pub fn wants_images(self) -> bool {
        !matches!(self, Format::Coco | Format::Cvat)
    }

    /// A name among `classes` that the format takes for something else, with what that is.
    pub fn taken(self, classes: &[String]) -> Option<(&str, &'static str)> {
        let meaning = |name: &str| match self {
            Format::Cvat if name.starts_with('#') => Some("a comment"),
            Format::Cvat if ["ignored", "__ignore__"].contains(&name.to_ascii_lowercase().as_str()) => {
                Some("what is ignored")
            }
            Format::Cvat if name.eq_ignore_ascii_case("background") => Some("the background"),
            Format::Labelme if name == "__ignore__" => Some("what is ignored"),
            Format::Labelme if name == "_background_" => Some("the background"),
            _ => None,
        };
        classes.iter().find_map(|name| Some((name.as_str(), meaning(name)?)))
    }
}
