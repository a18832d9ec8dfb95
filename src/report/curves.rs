//! Curves drawn as inline SVG.

use anyhow::{Result, anyhow};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Colours of the series, told apart by colour-blind eyes too (Okabe and Ito 2008); reused when they run out.
const COLORS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
];

// assets/report.html knows these three and the first colour by value, to replace them in dark mode.
const TEXT: RGBColor = RGBColor(0x4B, 0x52, 0x60);
const AXIS: RGBColor = RGBColor(0xA9, 0xB0, 0xBC);
const GRID: RGBColor = RGBColor(0xE4, 0xE7, 0xEC);

/// Units of the drawing; about twice its pixels on the page, since plotters rounds to whole units.
const SIZE: (u32, u32) = (760, 460);
const FONT: f64 = 32.0;

/// Above this many points a series is drawn as its running mean, with the points faint behind it.
const SMOOTHED: usize = 200;

/// Below this many points a series has a dot at each.
const DOTTED: usize = 40;

/// Most points of a drawn line; more could not be told apart.
const DRAWN: usize = 800;

/// One diagram: lines over common axes.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Heading.
    pub title: String,
    /// What the horizontal axis shows, with its unit.
    pub x: String,
    /// What the vertical axis shows, with its unit.
    pub y: String,
    /// Names of the lines and their points (x, y) in the order of x. Points that are not finite are skipped.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Curve {
    /// The diagram as an `<svg>` element without title and legend, the series in the order of the colours; `None`
    /// where no point is finite.
    ///
    /// # Errors
    /// When plotters cannot draw it.
    pub fn svg(&self) -> Result<Option<String>> {
        let series: Vec<Vec<(f64, f64)>> = self.series.iter().map(|(_, s)| finite(s)).collect();
        let points = || series.iter().flatten();
        let Some(x) = range(points().map(|p| p.0)) else {
            return Ok(None);
        };
        let Some(y) = range(points().map(|p| p.1)) else {
            return Ok(None);
        };
        let mut svg = String::new();
        self.draw(&mut svg, &series, x, padded(y))
            .map_err(|e| anyhow!("cannot draw the curve '{}': {e}", self.title))?;
        Ok(Some(svg))
    }

    fn draw(
        &self,
        svg: &mut String,
        series: &[Vec<(f64, f64)>],
        x: (f64, f64),
        y: (f64, f64),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .margin_right(36)
            .x_label_area_size(88)
            .y_label_area_size(120)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        let text = ("sans-serif", FONT).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(2))
            .axis_style(AXIS.stroke_width(2))
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|v| tick(*v, x))
            .y_label_formatter(&|v| tick(*v, y))
            .x_desc(&self.x)
            .y_desc(&self.y)
            .draw()?;
        for (points, color) in series.iter().zip(COLORS.iter().cycle()) {
            line(&mut chart, points, color)?;
        }
        root.present()?;
        drop(chart);
        drop(root);
        Ok(())
    }
}

/// Colour of series number `series`, as `#RRGGBB`.
pub fn color(series: usize) -> String {
    let RGBColor(r, g, b) = COLORS[series % COLORS.len()];
    format!("#{r:02X}{g:02X}{b:02X}")
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn line(chart: &mut Chart, points: &[(f64, f64)], color: &RGBColor) -> Result<(), Box<dyn std::error::Error>> {
    if points.len() > SMOOTHED {
        let faint = extremes(points, DRAWN / 2);
        chart.draw_series(LineSeries::new(faint, color.mix(0.25).stroke_width(2)))?;
        let mean = thinned(&running_mean(points, points.len() / 40), DRAWN / 2);
        chart.draw_series(LineSeries::new(mean, color.stroke_width(4)))?;
        return Ok(());
    }
    chart.draw_series(LineSeries::new(points.to_vec(), color.stroke_width(4)))?;
    if points.len() < DOTTED {
        let dots = points.iter().map(|p| Circle::new(*p, 6, color.filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}

fn finite(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    // Wider than f32 reaches, narrow enough for differences to stay finite.
    let drawable = |v: f64| v.is_finite() && v.abs() < 1e100;
    let points = points.iter().copied();
    points.filter(|p| drawable(p.0) && drawable(p.1)).collect()
}

/// Lowest and highest value, pulled apart where they are (nearly) equal.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    if low > high {
        return None;
    }
    let size = low.abs().max(high.abs());
    if high - low > (1e-6 * size).max(1e-12) {
        return Some((low, high));
    }
    let room = if size > 1e-12 { 0.1 * size } else { 1.0 };
    Some((low - room, high + room))
}

/// Room above and below, and from zero where that is near.
fn padded((low, high): (f64, f64)) -> (f64, f64) {
    let room = 0.06 * (high - low);
    let near_zero = low >= 0.0 && low < 0.4 * high;
    (if near_zero { 0.0 } else { low - room }, high + room)
}

/// The label of the value `v` on an axis over `low..high`.
fn tick(v: f64, (low, high): (f64, f64)) -> String {
    let step = (high - low) / 10.0;
    if v.abs() < 1e-6 * step {
        return "0".to_string();
    }
    if step < 1e-5 || v.abs() >= 1e6 {
        return format!("{v:.1e}");
    }
    let decimals = (-step.log10()).ceil().clamp(0.0, 6.0) as usize;
    let text = format!("{v:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// Mean over `window` points around each point, over fewer at the ends.
fn running_mean(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let half = window / 2;
    let mut sums = vec![0.0];
    for (_, y) in points {
        sums.push(sums[sums.len() - 1] + y);
    }
    points
        .iter()
        .enumerate()
        .map(|(i, (x, _))| {
            // As many points before as after: a mean over one side only would shift a falling curve.
            let reach = half.min(i).min(points.len() - 1 - i);
            let (first, last) = (i - reach, i + reach + 1);
            (*x, (sums[last] - sums[first]) / (last - first) as f64)
        })
        .collect()
}

/// At most about `most` of the points, evenly chosen, the last one included.
fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(most).max(1);
    let mut kept: Vec<_> = points.iter().step_by(step).copied().collect();
    if !(points.len().max(1) - 1).is_multiple_of(step) {
        kept.extend(points.last());
    }
    kept
}

/// The lowest and the highest point of every one of `bins` stretches: what a line through all of them covers.
fn extremes(points: &[(f64, f64)], bins: usize) -> Vec<(f64, f64)> {
    let by_y = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
    let mut kept = Vec::new();
    for stretch in points.chunks(points.len().div_ceil(bins).max(1)) {
        let low = stretch.iter().enumerate().min_by(by_y);
        let high = stretch.iter().enumerate().max_by(by_y);
        if let (Some((i, low)), Some((j, high))) = (low, high) {
            match i.cmp(&j) {
                std::cmp::Ordering::Less => kept.extend([*low, *high]),
                std::cmp::Ordering::Equal => kept.push(*low),
                std::cmp::Ordering::Greater => kept.extend([*high, *low]),
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Vec<(f64, f64)>) -> Option<String> {
        let curve = Curve {
            title: "loss".to_string(),
            x: "step".to_string(),
            y: "a < b".to_string(),
            series: vec![("train".to_string(), points)],
        };
        curve.svg().unwrap()
    }

    #[test]
    fn draws_lines_axes_and_escaped_text() {
        let svg = drawn(vec![(0.0, 3.0), (1.0, f64::NAN), (2.0, 1.0)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 2, "NaN is skipped");
        assert!(svg.contains(&color(0)) && svg.contains("a &lt; b"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn takes_any_numbers() {
        assert!(drawn(vec![]).is_none());
        assert!(drawn(vec![(0.0, f64::INFINITY), (f64::NAN, 0.0)]).is_none());
        for y in [0.0, 1.0, -4e-300, 1e38, 12345.0, 0.1 + 0.2] {
            assert!(drawn(vec![(5.0, y)]).unwrap().contains("<circle"), "{y}");
            let flat = drawn(vec![(0.0, y), (9.0, y)]).unwrap();
            assert!(flat.contains("<polyline") && !flat.contains("NaN"), "{y}");
        }
        assert!(drawn(vec![(0.0, -3e38), (1.0, 3e38), (2.0, 1e-38)]).is_some());
    }

    #[test]
    fn long_series_are_smoothed_and_bounded() {
        let noisy = |i: i32| (f64::from(i), 1.0 / f64::from(i + 1) + f64::from(i % 2));
        let svg = drawn((0..50_000).map(noisy).collect()).unwrap();
        assert!(svg.len() < 40_000, "{} bytes", svg.len());
        let flat = running_mean(&[(0.0, 2.0); 300], 7);
        assert!(flat.iter().all(|p| (p.1 - 2.0).abs() < 1e-12));
        let straight: Vec<_> = (0..300).map(|i| (0.0, f64::from(i))).collect();
        assert_eq!(running_mean(&straight, 9), straight, "no shift at the ends");
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!(tick(0.30000000000000004, (0.0, 1.0)), "0.3");
        assert_eq!(tick(20.0, (0.0, 100.0)), "20");
        assert_eq!(tick(2500.0, (0.0, 20_000.0)), "2500");
        assert_eq!(tick(-1e-17, (-1.0, 1.0)), "0");
        assert_eq!(tick(2e7, (0.0, 1e8)), "2.0e7");
    }
}
