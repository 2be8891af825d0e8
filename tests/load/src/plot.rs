//! What do the latencies look like? Their percentiles, each nine as wide as the one before.

use std::{error::Error, path::Path};

use hdrhistogram::Histogram;
use plotters::prelude::*;

/// Draws the curve of the latencies as SVG; draws nothing where there are none.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(file: &Path, title: &str, latency_ns: &Histogram<u64>) -> Result<(), Box<dyn Error>> {
    if latency_ns.is_empty() {
        return Ok(());
    }
    let nines_max = nines_of(latency_ns.len());
    let points = points(latency_ns, nines_max);
    let lowest = points.first().map_or(1.0, |(_, us)| us.max(1.0));
    let highest = points.last().map_or(1.0, |(_, us)| *us).max(lowest * 2.0);

    let root = SVGBackend::new(file, SIZE_PX).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..nines_max, (lowest..highest).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .x_desc("percentile")
        .x_label_formatter(&|nines| percent(*nines))
        .y_desc("µs from emission to receipt")
        .y_label_formatter(&|us| format!("{us:.0}"))
        .draw()?;
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    root.present()?;
    Ok(())
}

/// How many nines so many records can tell of.
#[expect(clippy::cast_precision_loss, reason = "only its magnitude matters")]
fn nines_of(records: u64) -> f64 {
    (records as f64).log10().clamp(1.0, NINES_MAX)
}

/// Nines and microseconds.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn points(latency_ns: &Histogram<u64>, nines_max: f64) -> Vec<(f64, f64)> {
    (0..=POINTS)
        .map(|number| {
            let nines = nines_max * f64::from(number) / f64::from(POINTS);
            let quantile = 1.0 - 10_f64.powf(-nines);
            let us = latency_ns.value_at_quantile(quantile) as f64 / 1e3;
            (nines, us.max(0.001))
        })
        .collect()
}

/// 2 nines are 99 %.
fn percent(nines: f64) -> String {
    let percent = 100.0 - 100.0 * 10_f64.powf(-nines);
    let text = format!("{percent:.4}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

const SIZE_PX: (u32, u32) = (800, 480);
const POINTS: u32 = 200;
const NINES_MAX: f64 = 6.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_read_as_percentiles() {
        for (nines, text) in [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (4.0, "99.99 %")] {
            assert_eq!(percent(nines), text);
        }
    }
}
