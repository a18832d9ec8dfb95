//! The kinds of data sets.

/// The kinds of data sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Generated pictures, built in.
    Shapes,
    /// A folder of images with `tags.csv`, or with one sub-folder a class.
    Folder,
    /// A year folder of a VOCdevkit.
    Voc,
    /// Images with COCO's instances JSON.
    Coco,
    /// Images with YOLO's label files.
    Yolo,
    /// Images with labelme's JSON files.
    Labelme,
    /// What labelme's `labelme2voc` writes.
    LabelmeVoc,
    /// CVAT's export of segmentation masks.
    Cvat,
    /// mmsegmentation's `img_dir` and `ann_dir`.
    MmSeg,
}

impl Kind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Kind; 9] = [
        Kind::Shapes,
        Kind::Folder,
        Kind::Voc,
        Kind::Coco,
        Kind::Yolo,
        Kind::Labelme,
        Kind::LabelmeVoc,
        Kind::Cvat,
        Kind::MmSeg,
    ];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Shapes => "shapes",
            Kind::Folder => "folder",
            Kind::Voc => "voc",
            Kind::Coco => "coco",
            Kind::Yolo => "yolo",
            Kind::Labelme => "labelme",
            Kind::LabelmeVoc => "labelme2voc",
            Kind::Cvat => "cvat",
            Kind::MmSeg => "mmseg",
        }
    }

    /// Whether its masks are files of values, which may mean others.
    pub(super) fn has_values(self) -> bool {
        !matches!(self, Kind::Coco | Kind::Yolo | Kind::Labelme | Kind::Cvat)
    }

    /// The kind that is called so.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
