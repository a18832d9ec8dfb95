//! What `assets/report.html` needs, in the form in which it is printed.

use std::io::Cursor;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use minijinja::{Environment, Value, context};

use super::{Curve, PictureRow, Report, curves, overlay};
use crate::data::palette;
use crate::metrics::StageScore;

const TEMPLATE: &str = include_str!("../../assets/report.html");

/// Pictures up to this size are kept exactly and enlarged as pixels.
const SMALL: u32 = 128;

/// Larger pictures are reduced to this height.
const LARGEST: u32 = 480;

const JPEG_QUALITY: u8 = 88;

/// The page as HTML.
///
/// # Errors
/// When a picture or a curve cannot be encoded.
pub fn render(report: &Report) -> Result<String> {
    let facts = report.summary.iter();
    let total: f64 = report.timings.iter().map(|(_, seconds)| seconds).sum();
    let page = context! {
        title => &report.title,
        version => env!("CARGO_PKG_VERSION"),
        summary => facts.map(|(name, text)| context! { name, text }).collect::<Value>(),
        stages => stages(&report.stages),
        classes => classes(report),
        curves => report.curves.iter().map(curve).collect::<Result<Value>>()?,
        columns => report.columns.iter().collect::<Value>(),
        rows => report.rows.iter().map(|row| pictures(row, report)).collect::<Result<Value>>()?,
        timings => timings(&report.timings),
        total => duration(total),
        notes => report.notes.iter().collect::<Value>(),
    };
    // The name's ending turns on the escaping of HTML.
    Environment::new()
        .render_named_str("report.html", TEMPLATE, page)
        .context("cannot fill in the template of the report")
}

/// Stages with their mIoU, each compared with the one before on the same split.
fn stages(stages: &[(String, StageScore)]) -> Value {
    let stage = |(i, (name, score)): (usize, &(String, StageScore))| {
        let before = stages[..i].iter().rev().find(|s| s.1.split == score.split);
        let mut detail = format!("{}, {} images", score.split, score.images);
        if let Some(threshold) = score.threshold {
            detail += &format!(", threshold {threshold:.2}");
        }
        context! {
            name,
            detail,
            text => format!("{:.1}", score.mean_iou),
            width => percent(score.mean_iou),
            worse => before.is_some_and(|(_, b)| score.mean_iou < b.mean_iou),
            change => before.map(|(name, b)| {
                let change = format!("{:+.1}", score.mean_iou - b.mean_iou);
                format!("{} on {name}", change.replace('-', "\u{2212}"))
            }),
        }
    };
    stages.iter().enumerate().map(stage).collect()
}

fn timings(timings: &[(String, f64)]) -> Value {
    let longest = timings.iter().map(|t| t.1).fold(f64::MIN_POSITIVE, f64::max);
    let timing = |(name, seconds): &(String, f64)| {
        context! {
            name,
            text => duration(*seconds),
            width => percent(100.0 * seconds / longest),
        }
    };
    timings.iter().map(timing).collect()
}

/// A length for CSS: 0..=100 with one decimal, 0 for NaN.
fn percent(value: f64) -> f64 {
    (value.clamp(0.0, 100.0).max(0.0) * 10.0).round() / 10.0
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The background and the classes, each with its colour and its IoU in every stage.
fn classes(report: &Report) -> Value {
    let names = std::iter::once("background").chain(report.classes.iter().map(String::as_str));
    let class = |(name, color): (&str, [u8; 3])| {
        let iou = |(_, score): &(String, StageScore)| {
            let value = score.iou.get(name).copied().flatten()?;
            Some(context! { text => format!("{value:.1}"), width => percent(value) })
        };
        context! { name, color => hex(color), iou => report.stages.iter().map(iou).collect::<Value>() }
    };
    names.zip(palette()).map(class).collect()
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn curve(curve: &Curve) -> Result<Value> {
    let key = |(i, (name, _)): (usize, &(String, _))| context! { name, color => curves::color(i) };
    Ok(context! {
        title => &curve.title,
        svg => curve.svg()?.map(Value::from_safe_string),
        legend => curve.series.iter().enumerate().map(key).collect::<Value>(),
    })
}

fn pictures(row: &PictureRow, report: &Report) -> Result<Value> {
    let colors = palette();
    let tag = |name: &String| {
        let class = report.classes.iter().position(|class| class == name);
        let color = class.and_then(|c| colors.get(c + 1));
        context! { name, color => hex(color.copied().unwrap_or([128; 3])) }
    };
    let cell = |(i, column): (usize, &String)| {
        let label = format!("{}: {column}", row.name);
        match row.cells.get(i) {
            Some(Some(picture)) if !picture.is_empty() => {
                encode(picture, &label).with_context(|| format!("cannot encode the picture '{label}' for the report"))
            }
            _ => Ok(Value::from(())),
        }
    };
    Ok(context! {
        name => &row.name,
        tags => row.tags.iter().map(tag).collect::<Value>(),
        cells => report.columns.iter().enumerate().map(cell).collect::<Result<Value>>()?,
    })
}

fn encode(picture: &RgbImage, label: &str) -> Result<Value> {
    let small = picture.width().max(picture.height()) <= SMALL;
    let reduced;
    let picture = if picture.width().max(picture.height()) > LARGEST {
        reduced = overlay::to_height(picture, picture.height().min(LARGEST));
        &reduced
    } else {
        picture
    };
    let mut bytes = Cursor::new(Vec::new());
    let kind = if small {
        picture.write_to(&mut bytes, ImageFormat::Png)?;
        "png"
    } else {
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
        "jpeg"
    };
    let uri = format!("data:image/{kind};base64,{}", STANDARD.encode(bytes.get_ref()));
    Ok(context! {
        label,
        uri => Value::from_safe_string(uri),
        width => picture.width(),
        height => picture.height(),
        pixelated => small,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let texts = [0.04, 9.97, 59.6, 3599.0, 3725.0, f64::NAN].map(duration);
        assert_eq!(
            texts,
            ["0.0 s", "10 s", "1 min 00 s", "59 min 59 s", "1 h 02 min", "0.0 s"]
        );
    }

    #[test]
    fn pictures_are_exact_when_small_and_bounded_when_large() {
        let html = |width, height| {
            let report = Report {
                columns: vec!["image".to_string()],
                rows: vec![PictureRow {
                    cells: vec![Some(RgbImage::new(width, height))],
                    ..PictureRow::default()
                }],
                ..Report::default()
            };
            render(&report).unwrap()
        };
        let small = html(96, 96);
        assert!(small.contains("class=\"pixelated\" src=\"data:image/png;base64,"));
        let large = html(3000, 1000);
        assert!(large.contains("src=\"data:image/jpeg;base64,"));
        assert!(large.contains("width=\"1440\" height=\"480\""));
    }
}
