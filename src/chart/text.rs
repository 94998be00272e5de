//! Words and names in a chart, and how much room they take.

/// The language of the few words in a chart, and of its dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locale {
    #[default]
    English,
    Chinese,
}

impl Locale {
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    pub(super) fn nothing_there(self) -> &'static str {
        match self {
            Self::English => "No readings in this range",
            Self::Chinese => "此时间范围内没有读数",
        }
    }

    /// What a screen reader says of the chart.
    pub(super) fn title(self, names: &str) -> String {
        match self {
            Self::English => format!("Chart of {names}"),
            Self::Chinese => format!("{names} 的图表"),
        }
    }
}

/// A name without what XML does not know, and without what turns text around.
pub(super) fn clean(name: &str) -> String {
    let is_harmless = |c: &char| {
        let is_control = c.is_control() || matches!(*c as u32, 0xFFFE | 0xFFFF);
        let turns = matches!(*c as u32, 0x200E | 0x200F | 0x202A..=0x202E | 0x2066..=0x2069);
        !is_control && !turns
    };
    name.chars().filter(is_harmless).collect()
}

/// Text as it stands between tags or in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// About how wide a text is, in ems of a sans-serif font.
pub(super) fn ems(text: &str) -> f64 {
    let width = |c: char| match c {
        '.' | ',' | ':' | ' ' | 'i' | 'l' | '\'' => 0.3,
        'm' | 'w' | 'M' | 'W' => 0.9,
        c if c.is_ascii() => 0.58,
        _ => 1.05,
    };
    text.chars().map(width).sum()
}

/// As much of a text as fits, with an ellipsis where that is not all.
pub(super) fn shortened(text: &str, ems_max: f64) -> String {
    if ems(text) <= ems_max {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if ems(&short) + 2.2 > ems_max {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}
