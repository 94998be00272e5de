//! The drawing itself: axes and grid, envelopes, lines, limits, markers, names.

use plotters::{
    chart::{ChartBuilder, DualCoordChartContext},
    coord::{Shift, cartesian::Cartesian2d},
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{Circle, PathElement, Polygon, Rectangle, Text},
    series::{DashedLineSeries, LineSeries},
    style::{
        Color, IntoFont, RGBAColor, RGBColor, ShapeStyle, TRANSPARENT, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use plotters_svg::SVGBackend;

use super::{
    Axis, Chart, ChartError, Limit, Point, Series, Values,
    gaps::runs,
    legend,
    metadata::{self, millis},
    text::{clean, ems, escaped},
    theme::Rgb,
    time_axis::TimeAxis,
    value_axis::ValueAxis,
};
use crate::telemetry::Quality;

/// Units of the drawing in a pixel: the crate's coordinates are whole numbers.
const FINE: f64 = 4.0;
/// Of labels, in pixels.
const FONT: f64 = 11.0;
/// Above and below the plot, in pixels.
const TOP: f64 = 24.0;
const BOTTOM: f64 = 34.0;
/// Beside the plot where there is no axis.
const MARGIN: f64 = 14.0;
/// Points of doubtful quality that are drawn one by one.
const DOTS_MAX: usize = 60;

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane = Cartesian2d<TimeAxis, ValueAxis>;
type Plot<'a, 'b> = DualCoordChartContext<'a, SVGBackend<'b>, Plane, Plane>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Where the plot is, in pixels.
struct Layout {
    left: f64,
    right: f64,
    width: f64,
    height: f64,
}

struct Axes {
    time: TimeAxis,
    left: ValueAxis,
    right: ValueAxis,
    has_right: bool,
}

pub(super) fn svg(chart: &Chart) -> Result<String, ChartError> {
    let axes = Axes::of(chart);
    let layout = Layout::of(chart, &axes);
    let mut drawing = String::new();
    let size = (fine(f64::from(chart.width)) as u32, fine(f64::from(chart.height)) as u32);
    let root = SVGBackend::with_string(&mut drawing, size).into_drawing_area();
    draw(chart, &axes, &layout, &root).map_err(|error| ChartError(error.to_string()))?;
    drop(root);
    // The crate's own root element gives way to one that says more.
    let inner = drawing.split_once('\n').map_or("", |(_, rest)| rest).trim_end();
    let inner = inner.strip_suffix("</svg>").unwrap_or(inner);
    let names: Vec<_> = chart.series.iter().map(|series| legend::name(chart, series)).collect();
    let (plot_width, plot_height) = layout.plot();
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" \
         role=\"img\" lang=\"{}\" aria-label=\"{}\" data-plot=\"{},{TOP},{plot_width},{plot_height}\" \
         data-from=\"{}\" data-to=\"{}\">\n<metadata id=\"series\">{}</metadata>\n{inner}</svg>\n",
        chart.width,
        chart.height,
        size.0,
        size.1,
        chart.locale.tag(),
        escaped(&chart.locale.title(&names.join(", "))),
        layout.left,
        millis(chart.from.as_micros()),
        millis(chart.to.as_micros()),
        escaped(&metadata::json(chart, axes.bounds())),
    ))
}

impl Axes {
    fn of(chart: &Chart) -> Self {
        let range = (chart.from.as_micros(), chart.to.as_micros());
        let time = TimeAxis::new(range, (chart.width / 90).max(2), &chart.zone, chart.locale);
        let ticks = (chart.height / 55).max(2);
        let axis = |axis| ValueAxis::new(extent(chart, axis), ticks);
        let has_right = chart.series.iter().any(|series| series.axis == Axis::Right);
        Self { time, left: axis(Axis::Left), right: axis(Axis::Right), has_right }
    }

    /// Of the values, left and, where there is one, right.
    fn bounds(&self) -> ((f64, f64), Option<(f64, f64)>) {
        (self.left.bounds(), self.has_right.then(|| self.right.bounds()))
    }
}

/// From the least to the greatest value of an axis; limits that are not far off are in it.
fn extent(chart: &Chart, axis: Axis) -> Option<(f64, f64)> {
    let series = chart.series.iter().filter(|series| series.axis == axis);
    let values = series.flat_map(|series| &series.points).filter_map(|point| point.values);
    let wider =
        |(least, most): (f64, f64), (low, high): (f64, f64)| (least.min(low), most.max(high));
    let of_data = values.map(|values| (values.min, values.max)).reduce(wider)?;
    let room = (of_data.1 - of_data.0).max(of_data.0.abs() * 0.02);
    let near = (of_data.0 - room)..=(of_data.1 + room);
    let limits = chart.limits.iter().filter(|limit| limit.axis == axis);
    let edges = limits.flat_map(|limit| [limit.low, limit.high]).flatten();
    let near_edges = edges.filter(|edge| near.contains(edge));
    Some(near_edges.fold(of_data, |all, edge| wider(all, (edge, edge))))
}

impl Layout {
    fn of(chart: &Chart, axes: &Axes) -> Self {
        let room = |axis: &ValueAxis| {
            let widths = axis.ticks().into_iter().map(|tick| ems(&axis.label(tick)));
            (widths.fold(2.0, f64::max) * FONT + 16.0).min(f64::from(chart.width) / 4.0).ceil()
        };
        Self {
            left: room(&axes.left),
            right: if axes.has_right { room(&axes.right) } else { MARGIN },
            width: f64::from(chart.width),
            height: f64::from(chart.height),
        }
    }

    /// Width and height.
    fn plot(&self) -> (f64, f64) {
        (self.width - self.left - self.right, self.height - TOP - BOTTOM)
    }
}

fn draw(chart: &Chart, axes: &Axes, layout: &Layout, root: &Root<'_>) -> Drawn {
    let mut builder = ChartBuilder::on(root);
    builder
        .margin_top(fine(TOP))
        .x_label_area_size(fine(BOTTOM))
        .y_label_area_size(fine(layout.left));
    match axes.has_right {
        true => builder.right_y_label_area_size(fine(layout.right)),
        false => builder.margin_right(fine(layout.right)),
    };
    let plane = builder.build_cartesian_2d(axes.time.clone(), axes.left.clone())?;
    let mut plot = plane.set_secondary_coord(axes.time.clone(), axes.right.clone());
    draw_axes(chart, axes, &mut plot)?;
    for limit in &chart.limits {
        draw_limit(chart, axes, &mut plot, limit)?;
    }
    for (at, series) in chart.series.iter().enumerate() {
        draw_series(series, chart.theme.series(at), &mut plot)?;
    }
    draw_markers(chart, &mut plot)?;
    draw_names(chart, axes, layout, root)?;
    root.present()
}

fn draw_axes(chart: &Chart, axes: &Axes, plot: &mut Plot<'_, '_>) -> Drawn {
    let label = label_style(chart.theme.text());
    let axis = ShapeStyle::from(&rgb(chart.theme.axis())).stroke_width(fine(1.0) as u32);
    plot.configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(ShapeStyle::from(&rgb(chart.theme.grid())).stroke_width(fine(1.0) as u32))
        .axis_style(axis)
        .label_style(label.clone())
        .set_all_tick_mark_size(fine(4.0))
        .draw()?;
    if axes.has_right {
        plot.configure_secondary_axes()
            .axis_style(axis)
            .label_style(label)
            .set_all_tick_mark_size(fine(4.0))
            .draw()?;
    }
    Ok(())
}

fn draw_limit(chart: &Chart, axes: &Axes, plot: &mut Plot<'_, '_>, limit: &Limit) -> Drawn {
    let axis = match limit.axis {
        Axis::Left => &axes.left,
        Axis::Right => &axes.right,
    };
    let (bottom, top) = axis.bounds();
    let (low, high) = (limit.low.unwrap_or(bottom), limit.high.unwrap_or(top));
    let (from, to) = (chart.from.as_micros(), chart.to.as_micros());
    let colour = rgb(chart.theme.severity(limit.severity));
    let (low, high) = (low.max(bottom), high.min(top));
    if low < high {
        let area = Rectangle::new([(from, low), (to, high)], colour.mix(0.08).filled());
        on_axis(plot, limit.axis, std::iter::once(area))?;
    }
    for edge in [limit.low, limit.high].into_iter().flatten() {
        if (bottom..=top).contains(&edge) {
            dashed(plot, limit.axis, vec![(from, edge), (to, edge)], (colour.mix(0.9), 1.25))?;
        }
    }
    Ok(())
}

fn draw_series(series: &Series, colour: Rgb, plot: &mut Plot<'_, '_>) -> Drawn {
    let colour = rgb(colour);
    let runs: Vec<_> = runs(&series.points);
    let lines = runs.iter().filter_map(|run| series.points.get(run.clone()));
    for line in lines.clone() {
        draw_envelope(series.axis, line, colour.mix(0.18), plot)?;
    }
    for line in lines {
        draw_line(series.axis, line, colour, plot)?;
    }
    draw_doubts(series, colour, plot)
}

/// From the least to the greatest value of each point.
fn draw_envelope(axis: Axis, line: &[Point], colour: RGBAColor, plot: &mut Plot<'_, '_>) -> Drawn {
    let valued = || line.iter().filter_map(|point| Some((point.at(), point.values?)));
    if line.len() < 2 || valued().all(|(_, values)| values.max <= values.min) {
        return Ok(());
    }
    let above = valued().map(|(at, values)| (at, values.max));
    let mut outline: Vec<_> = above.collect();
    let mut below: Vec<_> = valued().map(|(at, values)| (at, values.min)).collect();
    below.reverse();
    outline.append(&mut below);
    on_axis(plot, axis, std::iter::once(Polygon::new(outline, colour)))
}

/// One line; parts between points of which one is doubtful are dashed, and a point alone is a dot.
fn draw_line(axis: Axis, line: &[Point], colour: RGBColor, plot: &mut Plot<'_, '_>) -> Drawn {
    let place = |point: &Point| Some((point.at(), point.values?.mean));
    if let [alone] = line {
        if let Some((at, Values { min, mean, max })) =
            alone.values.map(|values| (alone.at(), values))
        {
            let bar = PathElement::new(vec![(at, min), (at, max)], stroke(colour.mix(0.5), 1.5));
            on_axis(plot, axis, (max > min).then_some(bar))?;
            let dot = Circle::new((at, mean), fine(2.2), colour.filled());
            on_axis(plot, axis, (alone.quality == Quality::Good).then_some(dot))?;
        }
        return Ok(());
    }
    let mut rest = line;
    while let [first, second, ..] = rest {
        let is_sound = |a: &Point, b: &Point| a.quality.worst(b.quality) == Quality::Good;
        let kind = is_sound(first, second);
        let same = rest.windows(2).take_while(|pair| match pair {
            [a, b] => is_sound(a, b) == kind,
            _ => false,
        });
        let length = same.count();
        let part: Vec<_> = rest.iter().take(length + 1).filter_map(place).collect();
        if kind {
            let series = LineSeries::new(part, stroke(colour.to_rgba(), 1.5));
            match axis {
                Axis::Left => plot.draw_series(series).map(drop)?,
                Axis::Right => plot.draw_secondary_series(series).map(drop)?,
            }
        } else {
            dashed(plot, axis, part, (colour.to_rgba(), 1.5))?;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Hollow dots where the quality is doubtful, as long as they can be told apart; readings without a
/// value stand at the bottom.
fn draw_doubts(series: &Series, colour: RGBColor, plot: &mut Plot<'_, '_>) -> Drawn {
    let bottom = match series.axis {
        Axis::Left => plot.plotting_area().get_y_range().start,
        Axis::Right => plot.secondary_plotting_area().get_y_range().start,
    };
    let doubtful = || series.points.iter().filter(|point| point.quality != Quality::Good);
    if doubtful().count() > DOTS_MAX {
        return Ok(());
    }
    for point in doubtful() {
        let value = point.values.map_or(bottom, |values| values.mean);
        let size = if point.quality == Quality::Bad { 3.4 } else { 2.6 };
        let dot = Circle::new((point.at(), value), fine(size), stroke(colour.to_rgba(), 1.25));
        on_axis(plot, series.axis, std::iter::once(dot))?;
    }
    Ok(())
}

/// A line through the whole plot, with a triangle on top that is filled where an alarm was raised.
fn draw_markers(chart: &Chart, plot: &mut Plot<'_, '_>) -> Drawn {
    let range = plot.plotting_area().get_y_range();
    let length = chart.to.micros_since(chart.from).max(1) as f64;
    let half = (length / f64::from(chart.width) * 5.0) as i64;
    let depth = (range.end - range.start) / f64::from(chart.height) * 9.0;
    for marker in &chart.markers {
        let at = marker.at.as_micros();
        if marker.at < chart.from || marker.at > chart.to {
            continue;
        }
        let colour = rgb(chart.theme.severity(marker.severity));
        let line = vec![(at, range.start), (at, range.end)];
        dashed(plot, Axis::Left, line, (colour.mix(0.55), 1.0))?;
        let (left, right) = (at.saturating_sub(half), at.saturating_add(half));
        let corners = vec![(left, range.end), (right, range.end), (at, range.end - depth)];
        if marker.is_raised {
            plot.draw_series(std::iter::once(Polygon::new(corners, colour.to_rgba())))?;
        } else {
            let mut outline = corners;
            outline.extend(outline.first().copied());
            let outline = PathElement::new(outline, stroke(colour.to_rgba(), 1.25));
            plot.draw_series(std::iter::once(outline))?;
        }
    }
    Ok(())
}

/// Units, names of the series, dates below the times, and what is said of an empty chart.
fn draw_names(chart: &Chart, axes: &Axes, layout: &Layout, root: &Root<'_>) -> Drawn {
    let say = |words: String, (x, y): (f64, f64), side: HPos| {
        let style = label_style(chart.theme.text()).pos(Pos::new(side, VPos::Bottom));
        root.draw(&Text::new(words, (fine(x), fine(y)), style))
    };
    let (plot_width, plot_height) = layout.plot();
    let (left_unit, right_unit) =
        (legend::unit(chart, Axis::Left), legend::unit(chart, Axis::Right));
    let right_edge = layout.width - 6.0;
    let starts = (6.0 + ems(&left_unit) * FONT + 12.0).max(layout.left);
    let ends = (right_edge - ems(&right_unit) * FONT - 8.0).min(layout.left + plot_width);
    say(left_unit, (6.0, 16.0), HPos::Left)?;
    say(right_unit, (right_edge, 16.0), HPos::Right)?;
    for (at, entry) in legend::entries(chart, (starts, ends), FONT).into_iter().enumerate() {
        let colour = rgb(chart.theme.series(at));
        let swatch = [(entry.x, 8.0), (entry.x + 10.0, 11.0)].map(|(x, y)| (fine(x), fine(y)));
        root.draw(&Rectangle::new(swatch, colour.filled()))?;
        say(entry.label, (entry.x + legend::SWATCH, 16.0), HPos::Left)?;
    }
    let length = chart.to.micros_since(chart.from).max(1) as f64;
    let mut said: Option<String> = None;
    let mut free_from = 0.0;
    for tick in axes.time.ticks() {
        let Some(context) = axes.time.context(*tick) else { continue };
        let share = tick.saturating_sub(chart.from.as_micros()) as f64 / length;
        let half = ems(&context) * FONT / 2.0;
        let x = (layout.left + share * plot_width).clamp(half, (layout.width - half).max(half));
        if said.as_ref() != Some(&context) && x - half >= free_from {
            free_from = x + half + 6.0;
            say(context.clone(), (x, layout.height - 3.0), HPos::Center)?;
            said = Some(context);
        }
    }
    if chart.series.iter().all(|series| series.points.is_empty()) {
        let place = (layout.left + plot_width / 2.0, TOP + plot_height / 2.0);
        say(clean(chart.locale.nothing_there()), place, HPos::Center)?;
    }
    Ok(())
}

/// Draws elements against the left or the right axis.
fn on_axis<'b, E>(
    plot: &mut Plot<'_, 'b>,
    axis: Axis,
    elements: impl IntoIterator<Item = E>,
) -> Drawn
where
    for<'e> &'e E: plotters::element::PointCollection<'e, (i64, f64)>,
    E: plotters::element::Drawable<SVGBackend<'b>>,
{
    match axis {
        Axis::Left => plot.draw_series(elements).map(drop),
        Axis::Right => plot.draw_secondary_series(elements).map(drop),
    }
}

fn dashed(
    plot: &mut Plot<'_, '_>,
    axis: Axis,
    points: Vec<(i64, f64)>,
    (colour, width): (RGBAColor, f64),
) -> Drawn {
    let (dash, space) = (fine(5.0) as u32, fine(4.0) as u32);
    let series = DashedLineSeries::new(points, dash, space, stroke(colour, width));
    match axis {
        Axis::Left => plot.draw_series(series).map(drop),
        Axis::Right => plot.draw_secondary_series(series).map(drop),
    }
}

fn label_style(colour: Rgb) -> TextStyle<'static> {
    // The crate takes the size of the whole line.
    let mut style = TextStyle::from(("sans-serif", FONT * FINE * 1.24).into_font());
    style.color = rgb(colour).to_backend_color();
    style
}

fn stroke(colour: RGBAColor, width: f64) -> ShapeStyle {
    ShapeStyle::from(colour).stroke_width(fine(width) as u32)
}

fn rgb((red, green, blue): Rgb) -> RGBColor {
    RGBColor(red, green, blue)
}

fn fine(pixels: f64) -> i32 {
    (pixels * FINE).round() as i32
}
