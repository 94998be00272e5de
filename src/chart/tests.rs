use proptest::prelude::*;

use super::{gaps::runs, time_axis::TimeAxis, value_axis::ValueAxis, *};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 2025-12-19T06:30:00Z.
const START: i64 = 1_766_125_800 * SECOND;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn point(at: i64, value: impl Into<Option<f64>>) -> Point {
    let at = Timestamp::from_micros(at);
    let values = value.into().map(|value| Values { min: value, mean: value, max: value });
    Point { first: at, last: at, count: 1, values, quality: Quality::Good }
}

fn series(name: &str, points: Vec<Point>) -> Series {
    Series {
        sensor: SensorId(7),
        device: "esp-1".to_owned(),
        name: name.to_owned(),
        unit: Some("°C".to_owned()),
        axis: Axis::Left,
        points,
    }
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        from: Timestamp::from_micros(START),
        to: Timestamp::from_micros(START + DAY),
        bucket_micros: 300 * SECOND,
        width: 900,
        height: 320,
        theme: Theme::Light,
        locale: Locale::English,
        zone: TimeZone::UTC,
        series,
        limits: Vec::new(),
        markers: Vec::new(),
    }
}

/// Whether tags are closed in the order in which they were opened, quotes are closed, and every `&` begins
/// an entity that XML knows.
fn check_xml(text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        check_entities(&rest[..at]);
        let mut quote = None;
        let end = rest[at..].find(|c| {
            match quote {
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(open) if c == open => quote = None,
                None => return c == '>',
                Some(_) => {}
            }
            false
        });
        let tag = &rest[at + 1..at + end.unwrap_or_else(|| panic!("{:.200}", &rest[at..]))];
        assert!(!tag.contains('<'), "{tag}");
        check_entities(tag);
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap().to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[at + 2 + tag.len()..];
    }
    assert_eq!((open, rest.trim()), (Vec::<String>::new(), ""));
}

fn check_entities(text: &str) {
    for part in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "apos;", "#39;"];
        assert!(known.iter().any(|entity| part.starts_with(entity)), "{part}");
    }
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

fn metadata_of(svg: &str) -> serde_json::Value {
    let (_, rest) = svg.split_once("<metadata id=\"series\">").unwrap();
    let (text, _) = rest.split_once("</metadata>").unwrap();
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    serde_json::from_str(&text.replace("&#39;", "'").replace("&amp;", "&")).unwrap()
}

#[test]
fn what_is_drawn_stands_beside_it() {
    let mut right = series("humidity", vec![point(START, 40.0), point(START + SECOND, None)]);
    right.axis = Axis::Right;
    right.unit = Some("%".to_owned());
    let mut chart = chart(vec![series("temperature", vec![point(START, 21.5)]), right]);
    chart.limits.push(Limit {
        rule: 3,
        axis: Axis::Left,
        severity: "major",
        low: Some(22.0),
        high: None,
    });
    chart.markers.push(Marker {
        alarm: 9,
        at: Timestamp::from_micros(START + 60 * SECOND),
        severity: "major",
        is_raised: true,
    });
    let svg = chart.svg().unwrap();
    check_xml(&svg);
    let metadata = metadata_of(&svg);
    assert_eq!(metadata["bucket_ms"], 300_000.0);
    assert_eq!(metadata["series"][0]["points"][0][0], START / 1_000);
    assert_eq!(metadata["series"][0]["points"][0][2], 21.5);
    assert_eq!(metadata["series"][1]["axis"], "right");
    assert_eq!(metadata["series"][1]["points"][1][2], serde_json::Value::Null);
    let right = &metadata["axes"]["right"];
    assert_eq!((right["low"].as_f64(), right["high"].as_f64()), (Some(37.8), Some(42.2)));
    assert_eq!(metadata["limits"][0]["low"], 22.0);
    assert_eq!(metadata["markers"][0]["kind"], "raised");
    assert!(svg.contains(&format!("data-from=\"{}\"", START / 1_000)), "{svg}");
    assert!(!svg.contains(" style="), "{svg}");
}

#[test]
fn an_empty_chart_says_so_in_its_language() {
    let mut chart = chart(vec![series("temperature", Vec::new())]);
    assert!(chart.svg().unwrap().contains("No readings in this range"));
    chart.locale = Locale::Chinese;
    assert!(chart.svg().unwrap().contains("此时间范围内没有读数"));
}

#[test]
fn pieces_are_round_and_few_enough() {
    for (range, max, wanted) in [
        (DAY, 450, 300 * SECOND),
        (3_600 * SECOND, 450, 10 * SECOND),
        (30 * DAY, 450, 2 * 3_600 * SECOND),
        (SECOND, 450, 5_000),
        (365 * DAY, 450, DAY),
        (40_000 * DAY, 450, 100 * DAY),
        (1, 450, 1_000),
    ] {
        assert_eq!(bucket_micros(range, max), wanted, "{range}");
    }
}

#[test]
fn a_line_breaks_where_three_readings_are_missing() {
    let at = |n: i64| START + n * 60 * SECOND;
    let points: Vec<_> = [0, 1, 2, 4, 5, 9, 10, 11].map(|n| point(at(n), 1.0)).into();
    assert_eq!(runs(&points), [0..5, 5..8]);
    let mut points: Vec<_> = (0..6).map(|n| point(at(n), 1.0)).collect();
    points[2].values = None;
    assert_eq!(runs(&points), [0..2, 3..6]);
    assert_eq!(runs(&[point(at(0), 1.0), point(at(50), 1.0)]), vec![0..2; 1]);
    assert_eq!(runs(&[]), [0..0; 0]);
}

#[test]
fn pieces_of_many_readings_break_by_the_silence_between_them() {
    // A reading a second, a piece a minute; then a minute of silence.
    let piece = |minute: i64| Point {
        first: Timestamp::from_micros(START + minute * 60 * SECOND),
        last: Timestamp::from_micros(START + (minute * 60 + 59) * SECOND),
        count: 60,
        ..point(START, 1.0)
    };
    let points: Vec<_> = [0, 1, 2, 4, 5].map(piece).into();
    assert_eq!(runs(&points), [0..3, 3..5]);
}

#[test]
fn ticks_of_values_are_round() {
    for (range, wanted) in [
        ((18.2, 25.9), vec!["18", "20", "22", "24", "26"]),
        ((0.0, 0.04), vec!["0.00", "0.01", "0.02", "0.03", "0.04"]),
        ((-10.0, 10.0), vec!["−10", "−5", "0", "5", "10"]),
        ((21.5, 21.5), vec!["20.5", "21.0", "21.5", "22.0", "22.5"]),
        ((990.0, 12_000.0), vec!["2500", "5000", "7500", "10,000", "12,500"]),
    ] {
        let axis = ValueAxis::new(Some(range), 5);
        let labels: Vec<_> = axis.ticks().iter().map(|tick| axis.label(*tick)).collect();
        assert_eq!(labels, wanted, "{range:?}");
    }
}

#[test]
fn ticks_of_time_are_those_of_the_zone() {
    let labels = |length, zone: &TimeZone, locale| {
        let axis = TimeAxis::new((START, START + length), 8, zone, locale);
        let ticks = axis.ticks().iter();
        ticks
            .map(|tick| (axis.label(*tick), axis.context(*tick).unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let of_day = labels(DAY, &zone("Asia/Shanghai"), Locale::Chinese);
    assert_eq!(of_day[0], ("15:00".to_owned(), "2025年12月19日".to_owned()));
    assert_eq!(of_day[3], ("00:00".to_owned(), "2025年12月20日".to_owned()));
    let of_hour = labels(3_600 * SECOND, &zone("Asia/Kathmandu"), Locale::English);
    assert_eq!(of_hour[0], ("12:20".to_owned(), "19 Dec 2025".to_owned()));
    let of_month = labels(30 * DAY, &TimeZone::UTC, Locale::English);
    assert_eq!(of_month[0], ("22 Dec".to_owned(), "2025".to_owned()));
    let of_years = labels(3_000 * DAY, &TimeZone::UTC, Locale::English);
    assert_eq!(of_years[0].0, "2026");
    let of_year = labels(400 * DAY, &TimeZone::UTC, Locale::Chinese);
    assert_eq!(of_year[0], ("1月".to_owned(), "2026年".to_owned()));
}

/// A day has 25 hours; midnight and noon stay where they are.
#[test]
fn ticks_of_hours_follow_the_clock_when_it_is_turned() {
    let start = "2025-10-26T00:00:00+02:00".parse::<Timestamp>().unwrap().as_micros();
    let axis = TimeAxis::new((start, start + 2 * DAY), 8, &zone("Europe/Berlin"), Locale::English);
    let labels: Vec<_> = axis.ticks().iter().map(|tick| axis.label(*tick)).collect();
    assert_eq!(labels, ["00:00", "06:00", "12:00", "18:00", "00:00", "06:00", "12:00", "18:00"]);
}

/// Relative luminance and contrast as WCAG 2.1 has them.
#[test]
fn every_colour_stands_out_from_the_page() {
    let luminance = |(red, green, blue): theme::Rgb| {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    };
    for theme in [Theme::Light, Theme::Dark] {
        let contrast = |colour| {
            let (a, b) = (luminance(colour), luminance(theme.background()));
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        for at in 0..SERIES_MAX {
            let colour = theme.series(at);
            assert!(contrast(colour) >= 3.0, "{} {theme:?} {at}", contrast(colour));
        }
        for word in ["critical", "major", "minor", "warning", "info"] {
            assert!(contrast(theme.severity(word)) >= 3.0, "{theme:?} {word}");
        }
        assert!(contrast(theme.text()) >= 4.5, "{theme:?}");
    }
}

/// Simulated after Viénot, Brettel and Mollon; the first four are those that most charts use.
#[test]
fn the_first_colours_differ_for_those_who_see_no_red_or_no_green() {
    let seen = |(red, green, blue): theme::Rgb, is_red_missing: bool| {
        let [r, g, b] = [red, green, blue].map(f64::from);
        let (r, g) = if is_red_missing {
            (0.112 * r + 0.888 * g, 0.112 * r + 0.888 * g)
        } else {
            (0.293 * r + 0.707 * g, 0.293 * r + 0.707 * g)
        };
        [r, g, b]
    };
    for theme in [Theme::Light, Theme::Dark] {
        for is_red_missing in [true, false] {
            for (a, b) in (0..4).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let [one, other] = [a, b].map(|at| seen(theme.series(at), is_red_missing));
                let squares = one.iter().zip(&other).map(|(x, y)| (x - y).powi(2));
                let distance = squares.sum::<f64>().sqrt();
                assert!(distance > 40.0, "{theme:?} {a} {b}: {distance}");
            }
        }
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3,
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()),
        1 => Just(0.0),
        1 => Just(1e308),
        1 => Just(-1e308),
        1 => Just(5e-324),
    ]
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    let one = (0..DAY / 200, value(), value(), 1_u64..100, 0..3_i64, any::<bool>());
    proptest::collection::vec(one, 0..60).prop_map(|given| {
        let mut at = START;
        let made = given.into_iter().map(|(after, a, b, count, quality, has_value)| {
            at += after;
            let (min, max) = (a.min(b), a.max(b));
            let mean = min / 2.0 + max / 2.0;
            Point {
                first: Timestamp::from_micros(at),
                last: Timestamp::from_micros(at + after / 2),
                count,
                values: has_value.then_some(Values { min, mean, max }),
                quality: Quality::from_code(quality),
            }
        });
        made.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_devices_are_called_and_say_it_is_a_sound_document(
        (device, name, unit) in (any::<String>(), any::<String>(), any::<String>()),
        (left, right) in (points(), points()),
        (width, height) in (WIDTH, HEIGHT),
        limit in value(),
    ) {
        let mut other = series(&name, right);
        other.axis = Axis::Right;
        other.device = device;
        other.unit = Some(unit);
        let mut chart = chart(vec![series("<script>alert(1)</script>", left), other]);
        (chart.width, chart.height) = (width, height);
        chart.limits.push(Limit {
            rule: 1, axis: Axis::Right, severity: "minor", low: Some(limit), high: None,
        });
        let svg = chart.svg().unwrap();
        check_xml(&svg);
        metadata_of(&svg);
        prop_assert!(!svg.contains("<script"));
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", svg);
    }

    #[test]
    fn ticks_are_in_the_range_in_order_and_not_too_many(
        (a, b) in (value(), value()),
        wanted in 2_u32..30,
    ) {
        let axis = ValueAxis::new(Some((a, b)), wanted);
        let (low, high) = axis.bounds();
        prop_assert!(low.is_finite() && high.is_finite() && low < high);
        let ticks = axis.ticks();
        prop_assert!(ticks.len() <= wanted as usize * 2 + 2, "{:?}", ticks);
        prop_assert!(ticks.iter().all(|tick| (low..=high).contains(tick)), "{:?} {:?}", ticks, axis);
        prop_assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", ticks);
        let labels: std::collections::HashSet<_> = ticks.iter().map(|t| axis.label(*t)).collect();
        prop_assert_eq!(labels.len(), ticks.len(), "{:?}", ticks);
    }

    #[test]
    fn ticks_of_any_time_and_zone_are_in_the_range_in_order_and_not_too_many(
        from in Timestamp::MIN.as_micros()..Timestamp::MAX.as_micros(),
        length in prop_oneof![1..DAY, 1..40_000 * DAY],
        wanted in 2_u32..30,
        name in prop_oneof![Just("UTC"), Just("Asia/Shanghai"), Just("America/St_Johns"), Just("Europe/Berlin")],
    ) {
        let to = from.saturating_add(length).min(Timestamp::MAX.as_micros());
        let axis = TimeAxis::new((from, to), wanted, &zone(name), Locale::English);
        let ticks = axis.ticks();
        prop_assert!(ticks.len() <= wanted as usize + 3, "{:?}", ticks);
        prop_assert!(ticks.iter().all(|tick| (from..=to).contains(tick)));
        prop_assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]));
        for tick in ticks {
            axis.label(*tick);
            axis.context(*tick);
        }
    }

    #[test]
    fn every_point_with_a_value_is_in_one_run_and_no_other(points in points()) {
        let mut seen = Vec::new();
        for run in runs(&points) {
            prop_assert!(!run.is_empty());
            seen.extend(run);
        }
        let valued: Vec<_> = (0..points.len()).filter(|at| points[*at].values.is_some()).collect();
        prop_assert_eq!(seen, valued);
    }

    #[test]
    fn pieces_cover_a_range_with_no_more_than_asked_for(range in 1..40_000 * DAY, max in 50_u32..1_000) {
        prop_assert!(range / bucket_micros(range, max) <= i64::from(max));
    }
}
