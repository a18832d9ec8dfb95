//! What the rows of COCO's JSON hold, as far as it is read.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// An id: a number, or in some programs' files a text. Numbers come before texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(untagged, expecting = "an id is a number or a text")]
pub(super) enum Id {
    Number(i64),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Text(text) => write!(f, "{text:?}"),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct CategoryRow {
    pub id: Id,
    pub name: String,
    pub supercategory: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ImageRow {
    pub id: Id,
    pub file_name: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
}

/// An annotation without its region.
#[derive(Deserialize)]
pub(super) struct AnnotationRow {
    pub image_id: Id,
    pub category_id: Id,
    #[serde(default)]
    pub iscrowd: Crowd,
    #[serde(default)]
    pub segmentation: IsThere,
}

/// `iscrowd`, which is 0 or 1, or in some files a truth value.
#[derive(Clone, Copy, Default)]
pub(super) struct Crowd(pub bool);

impl<'de> Deserialize<'de> for Crowd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "iscrowd is 0 or 1")]
        enum Flag {
            Number(i64),
            Truth(bool),
        }
        Ok(match Flag::deserialize(deserializer)? {
            Flag::Number(number) => Crowd(number != 0),
            Flag::Truth(truth) => Crowd(truth),
        })
    }
}

/// Whether a region is there, which is walked over: an array or an object with something in it.
#[derive(Clone, Copy, Default)]
pub(super) struct IsThere(pub bool);

impl<'de> Deserialize<'de> for IsThere {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = IsThere;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("polygons or runs")
            }

            fn visit_unit<E>(self) -> Result<IsThere, E> {
                Ok(IsThere(false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<IsThere, A::Error> {
                let mut there = false;
                // `[[]]` is a region that is not there either.
                while let Some(IsFilled(filled)) = seq.next_element()? {
                    there |= filled;
                }
                Ok(IsThere(there))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsThere, A::Error> {
                let mut there = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    there = true;
                }
                Ok(IsThere(there))
            }
        }
        deserializer.deserialize_any(Walk)
    }
}

/// Whether an element is anything but an empty array.
struct IsFilled(bool);

impl<'de> Deserialize<'de> for IsFilled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = IsFilled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a polygon: numbers, or points")
            }

            fn visit_f64<E>(self, _: f64) -> Result<IsFilled, E> {
                Ok(IsFilled(true))
            }

            fn visit_i64<E>(self, _: i64) -> Result<IsFilled, E> {
                Ok(IsFilled(true))
            }

            fn visit_u64<E>(self, _: u64) -> Result<IsFilled, E> {
                Ok(IsFilled(true))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<IsFilled, A::Error> {
                let mut filled = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(IsFilled(filled))
            }
        }
        deserializer.deserialize_any(Walk)
    }
}

/// An annotation with its region.
#[derive(Deserialize)]
pub(super) struct RegionRow {
    #[serde(default)]
    pub segmentation: Option<Segmentation>,
    #[serde(default)]
    pub bbox: Option<Vec<f32>>,
    #[serde(default)]
    pub area: Option<f64>,
    #[serde(default)]
    pub score: Option<f32>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a segmentation is polygons, or runs with their size and counts"
)]
pub(super) enum Segmentation {
    // First: an array would do for the fields of the other too.
    Polygons(Vec<Ring>),
    Runs { size: [u32; 2], counts: Counts },
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "counts are lengths of runs, or COCO's string of them")]
pub(super) enum Counts {
    Plain(Vec<u32>),
    Compressed(String),
}

/// A polygon as `[x, y, x, y, ...]`, as points, or a number of one that lacks its brackets.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a polygon is numbers, or points of two")]
pub(super) enum Ring {
    Flat(Vec<f32>),
    Points(Vec<[f32; 2]>),
    Number(f32),
}
