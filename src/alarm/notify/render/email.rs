//! A mail: subject, plain text and HTML that say the same. Pure.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use super::{Look, one_line, originator, quantity};
use crate::alarm::{
    notify::{Notice, NoticeKind},
    rule::Severity,
};

/// Characters of a subject.
const SUBJECT_MAX: usize = 150;
/// Rows of a table of last values where a mail tells of several alarms.
const VALUES_OF_MANY: usize = 5;

#[derive(Debug, PartialEq, Eq)]
pub(in crate::alarm::notify) struct Mail {
    pub(in crate::alarm::notify) subject: String,
    pub(in crate::alarm::notify) text: String,
    pub(in crate::alarm::notify) html: String,
}

pub(in crate::alarm::notify) fn mail(notices: &[Notice], look: &Look) -> Mail {
    let subject = one_line(&subject(notices), SUBJECT_MAX);
    let (text, html) = (text(notices, &subject, look), html(notices, &subject, look));
    Mail { subject, text, html }
}

/// What stands in brackets: the severity while it is active.
fn tag(notice: &Notice) -> &'static str {
    match notice.kind {
        NoticeKind::Cleared => "cleared",
        NoticeKind::Test => "test",
        _ => notice.severity.as_str(),
    }
}

fn subject(notices: &[Notice]) -> String {
    let [notice] = notices else { return subject_of_many(notices) };
    let (rule, from) = (&notice.rule.name, originator(notice));
    match (notice.kind, quantity(notice.value, notice.unit.as_deref())) {
        (NoticeKind::Test, _) => "[test] Brooklet notifications".to_owned(),
        (NoticeKind::Repeated, _) => format!("[{}] {rule}: {from} (still active)", tag(notice)),
        (_, Some(value)) => format!("[{}] {rule}: {from} {value}", tag(notice)),
        (_, None) => format!("[{}] {rule}: {from}", tag(notice)),
    }
}

fn subject_of_many(notices: &[Notice]) -> String {
    let active = notices.iter().filter(|notice| !notice.is_clear());
    let worst = active.map(|notice| notice.severity).max().map_or("cleared", Severity::as_str);
    let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
    for notice in notices {
        *by_rule.entry(&notice.rule.name).or_default() += 1;
    }
    let mut counts: Vec<_> = by_rule.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rules: Vec<_> = counts.iter().map(|(rule, count)| format!("{rule} ({count})")).collect();
    format!("[{worst}] {} notifications: {}", notices.len(), rules.join(", "))
}

fn headline(notice: &Notice) -> String {
    let what = match notice.kind {
        NoticeKind::Raised => "raised",
        NoticeKind::Escalated => "now more severe",
        NoticeKind::Cleared => "cleared",
        NoticeKind::Repeated => "still active",
        NoticeKind::Test => "test",
    };
    format!("[{}] {}: {}, {what}", tag(notice), notice.rule.name, originator(notice))
}

/// What is known, in the order in which it is shown.
fn facts(notice: &Notice, look: &Look) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Severity", notice.severity.as_str().to_owned())];
    facts.push(match &notice.device.name {
        Some(name) => ("Device", format!("{} ({name})", notice.device.key)),
        None => ("Device", notice.device.key.clone()),
    });
    let unit = notice.unit.as_deref();
    let with_unit = |limit: &String| match unit {
        Some(unit) => format!("{limit} {unit}"),
        None => limit.clone(),
    };
    let labels = notice.labels.iter().chain(&notice.device.labels);
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    let optional = [
        ("Sensor", notice.sensor.as_ref().map(|sensor| sensor.name.clone())),
        ("Value", quantity(notice.value, unit)),
        ("Limit", notice.limit.as_ref().map(with_unit)),
        ("Time", Some(look.time(notice.event_time))),
        ("Raised", Some(look.time(notice.raised_at))),
        ("Cleared", notice.cleared_at.map(|at| look.time(at))),
        ("Rule", Some(format!("{}, version {}", notice.rule.name, notice.rule.version))),
        ("Labels", (!labels.is_empty()).then(|| labels.join(", "))),
        ("Alarm", look.link(notice)),
    ];
    facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts
}

const VALUE_COLUMNS: [&str; 4] = ["Time", "Sensor", "Value", "Quality"];

fn value_rows(notice: &Notice, is_one_of_many: bool, look: &Look) -> Vec<[String; 4]> {
    let rows_max = if is_one_of_many { VALUES_OF_MANY } else { usize::MAX };
    let row = |last: &crate::alarm::notify::LastValue| {
        let value = quantity(last.value, last.unit.as_deref()).unwrap_or_else(|| "–".to_owned());
        let quality = last.quality.clone().unwrap_or_default();
        [look.time(last.event_time), last.sensor.clone(), value, quality]
    };
    notice.last_values.iter().take(rows_max).map(row).collect()
}

fn text(notices: &[Notice], subject: &str, look: &Look) -> String {
    let mut text = String::new();
    let is_many = notices.len() > 1;
    // Writing to a String can't fail.
    let _ = write_text(&mut text, notices, is_many.then_some(subject), look);
    text
}

fn write_text(
    out: &mut String,
    notices: &[Notice],
    title: Option<&str>,
    look: &Look,
) -> fmt::Result {
    if let Some(title) = title {
        writeln!(out, "{title}\n")?;
        for notice in notices {
            writeln!(out, "  {}", one_line(&headline(notice), SUBJECT_MAX))?;
        }
        writeln!(out)?;
    }
    for notice in notices {
        writeln!(out, "{}\n\n{}\n", one_line(&headline(notice), SUBJECT_MAX), notice.message)?;
        for (name, value) in facts(notice, look) {
            writeln!(out, "{name:<9} {}", one_line(&value, 500))?;
        }
        let rows = value_rows(notice, title.is_some(), look);
        if !rows.is_empty() {
            writeln!(out, "\nLast values")?;
            let [time, sensor, value, quality] = VALUE_COLUMNS;
            writeln!(out, "  {time:<26}  {sensor:<20}  {value:>14}  {quality}")?;
            for [time, sensor, value, quality] in rows {
                writeln!(out, "  {time:<26}  {sensor:<20}  {value:>14}  {quality}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Text that is shown as it is, wherever in HTML it stands.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() && c != '\n' => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn html(notices: &[Notice], subject: &str, look: &Look) -> String {
    let mut html = String::new();
    // Writing to a String can't fail.
    let _ = write_html(&mut html, notices, subject, look);
    html
}

fn colour(notice: &Notice) -> &'static str {
    match (notice.kind, notice.severity) {
        (NoticeKind::Cleared, _) => "#2e7d32",
        (NoticeKind::Test, _) | (_, Severity::Info) => "#1565c0",
        (_, Severity::Warning) => "#b26a00",
        (_, Severity::Minor) => "#c25700",
        (_, Severity::Major | Severity::Critical) => "#b71c1c",
    }
}

fn write_html(out: &mut String, notices: &[Notice], subject: &str, look: &Look) -> fmt::Result {
    let is_many = notices.len() > 1;
    let title = Escaped(subject);
    writeln!(
        out,
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif;color:#222\">"
    )?;
    if is_many {
        writeln!(out, "<h1 style=\"font-size:1.2em\">{title}</h1>")?;
    }
    for notice in notices {
        let (headline, message) = (headline(notice), Escaped(&notice.message));
        writeln!(
            out,
            "<h2 style=\"font-size:1.1em;color:{}\">{}</h2>\n<p>{message}</p>\n<table>",
            colour(notice),
            Escaped(&headline)
        )?;
        for (name, value) in facts(notice, look) {
            let value = Escaped(&value);
            writeln!(
                out,
                "<tr><th align=\"left\">{name}</th><td style=\"padding-left:1em\">{value}</td></tr>"
            )?;
        }
        writeln!(out, "</table>")?;
        let rows = value_rows(notice, is_many, look);
        if !rows.is_empty() {
            writeln!(out, "<h3 style=\"font-size:1em\">Last values</h3>\n<table>")?;
            write_row(out, "th", VALUE_COLUMNS)?;
            for row in &rows {
                write_row(out, "td", row.each_ref().map(String::as_str))?;
            }
            writeln!(out, "</table>")?;
        }
    }
    writeln!(out, "</body></html>")
}

fn write_row(out: &mut String, cell: &str, texts: [&str; 4]) -> fmt::Result {
    out.write_str("<tr>")?;
    for text in texts {
        let text = Escaped(text);
        write!(out, "<{cell} align=\"left\" style=\"padding-right:1em\">{text}</{cell}>")?;
    }
    writeln!(out, "</tr>")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alarm::notify::notice::examples::{cleared, raised};

    fn look() -> Look {
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        Look { zone, public_url: Some("http://brook.lan:8080/".to_owned()) }
    }

    #[test]
    fn one_alarm_with_value_limit_time_and_last_values() {
        let mail = mail(&[raised(17)], &look());
        assert_eq!(mail.subject, "[critical] Boiler too hot: boiler-1 temperature 41.2 °C");
        let expected = "\
[critical] Boiler too hot: boiler-1 temperature, raised

boiler-1 temperature: 41.2 °C, limit 40 (critical)

Severity  critical
Device    boiler-1 (Boiler)
Sensor    temperature
Value     41.2 °C
Limit     > 40 °C
Time      2025-12-19 07:30:00 +01:00
Raised    2025-12-19 07:30:00 +01:00
Rule      Boiler too hot, version 3
Labels    team=heating, room=cellar
Alarm     http://brook.lan:8080/api/alarms/17

Last values
  Time                        Sensor                         Value  Quality
  2025-12-19 07:30:00 +01:00  temperature                  41.2 °C  good
  2025-12-19 07:29:00 +01:00  temperature                  39.5 °C  good

";
        assert_eq!(mail.text, expected);
        for part in ["41.2 °C", "&gt; 40 °C", "2025-12-19 07:30:00 +01:00", "39.5 °C"] {
            assert!(mail.html.contains(part), "{part}: {}", mail.html);
        }
    }

    #[test]
    fn forty_alarms_in_one_mail() {
        let mut notices: Vec<Notice> = (1..=40).map(raised).collect();
        notices[3].rule.name = "Other".to_owned();
        notices.push(cleared(1));
        let mail = mail(&notices, &look());
        assert_eq!(mail.subject, "[critical] 41 notifications: Boiler too hot (40), Other (1)");
        assert_eq!(mail.text.matches("Last values").count(), 41);
        assert_eq!(mail.html.matches("<h2").count(), 41);
        let ends = [cleared(1), cleared(2)];
        assert!(subject(&ends).starts_with("[cleared] 2 notifications"));
    }

    #[test]
    fn subjects_by_kind() {
        let mut repeated = raised(1);
        repeated.kind = NoticeKind::Repeated;
        let test = Notice::test("ops", repeated.event_time);
        let mut offline = raised(1);
        (offline.value, offline.sensor) = (None, None);
        for (notice, expected) in [
            (cleared(1), "[cleared] Boiler too hot: boiler-1 temperature 37.5 °C"),
            (repeated, "[critical] Boiler too hot: boiler-1 temperature (still active)"),
            (offline, "[critical] Boiler too hot: boiler-1"),
            (test, "[test] Brooklet notifications"),
        ] {
            assert_eq!(subject(&[notice]), expected);
        }
    }

    proptest! {
        /// Whatever a device or a rule is called, it can neither add a header nor markup.
        #[test]
        fn nothing_told_becomes_a_header_or_markup(text in "\\PC{0,20}[<>&\"'\r\n\u{0}]{1,3}\\PC{0,200}") {
            let mut notice = raised(1);
            notice.rule.name.clone_from(&text);
            notice.message.clone_from(&text);
            notice.device.name = Some(text.clone());
            notice.labels.insert(text.clone(), text.clone());
            notice.last_values[0].sensor.clone_from(&text);
            let plain = mail(&[raised(1)], &look());
            let mail = mail(&[notice], &look());
            prop_assert!(!mail.subject.chars().any(char::is_control));
            prop_assert!(mail.subject.chars().count() <= SUBJECT_MAX + 1);
            prop_assert_eq!(mail.html.matches('<').count(), plain.html.matches('<').count());
            prop_assert_eq!(mail.html.matches('"').count(), plain.html.matches('"').count());
        }
    }
}
