//! The report of a run: one HTML file with scores, curves and pictures that needs nothing else to be read.

mod curves;
mod overlay;
mod page;

use std::path::Path;

use anyhow::Result;
use image::RgbImage;

use crate::files::write_bytes;
use crate::metrics::StageScore;

pub use curves::Curve;
pub use overlay::{grid, heat, mask, mask_to_height, to_height};

/// What the report shows. Parts that are empty are left out of the page.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// Facts about the run, as name and value: method, data, device, seed ...
    pub summary: Vec<(String, String)>,
    /// Stages with their scores, in the order of the run.
    pub stages: Vec<(String, StageScore)>,
    /// The C foreground names; class `c` has the palette's colour `c + 1`.
    pub classes: Vec<String>,
    /// Losses, scores and the like over the run.
    pub curves: Vec<Curve>,
    /// Headings of the cells of `rows`.
    pub columns: Vec<String>,
    /// Sample images with what the stages made of them.
    pub rows: Vec<PictureRow>,
    /// What the run did and how many seconds that took.
    pub timings: Vec<(String, f64)>,
    /// Remarks on the run, such as the images that were skipped.
    pub notes: Vec<String>,
}

/// One sample image.
#[derive(Clone, Debug, Default)]
pub struct PictureRow {
    /// Name of the image.
    pub name: String,
    /// Names of the classes that it is tagged with.
    pub tags: Vec<String>,
    /// A picture for every column; `None` (or none at all) where a stage has nothing to show.
    pub cells: Vec<Option<RgbImage>>,
}

/// Writes the report as one self-contained HTML file that makes no request of any kind.
///
/// Once loaded, `<body>` carries `data-check="images=N/N curves=M/M"` (drawn and present) and `data-errors="0"` (errors
/// of scripts, pictures and the content security policy), so that a test can tell a page that works.
///
/// # Errors
/// When a picture or curve cannot be encoded or the file cannot be written; an older report is kept then.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    write_bytes(path, page::render(report)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Confusion;

    fn written(report: &Report) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        write(report, &path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_empty_run_renders() {
        let html = written(&Report::default());
        assert!(html.contains("</html>") && !html.contains("<section"));
    }

    #[test]
    fn escapes_every_name_and_asks_for_nothing() {
        let evil = || "<script>alert('x')</script>\"&".to_string();
        let mut confusion = Confusion::new(2);
        confusion.add(&[0, 1], &[0, 1]).unwrap();
        let score = StageScore::new(&confusion, &[evil()], &evil(), 1).unwrap();
        let report = Report {
            title: evil(),
            summary: vec![(evil(), evil())],
            stages: vec![(evil(), score)],
            classes: vec![evil()],
            curves: vec![Curve {
                title: evil(),
                x: evil(),
                y: evil(),
                series: vec![(evil(), vec![(0.0, 1.0)]), (evil(), vec![(0.0, 2.0)])],
            }],
            columns: vec![evil(), evil()],
            rows: vec![PictureRow {
                name: evil(),
                tags: vec![evil()],
                cells: vec![Some(RgbImage::new(4, 3)), None],
            }],
            timings: vec![(evil(), 3.0)],
            notes: vec![evil()],
        };
        let html = written(&report);
        assert!(!html.contains("<script>alert") && !html.contains("alert('x')"));
        assert_eq!(html.matches("data:image/png;base64,").count(), 1);
        assert_eq!(html.matches("<svg").count(), 1);
        let outside = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http:") && !outside.contains("https:"));
    }

    #[test]
    fn a_report_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let path = dir.path().join("file").join("report.html");
        let error = write(&Report::default(), &path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
