//! Colours: told apart by people who see no red or no green, and against the background.

/// For a light or a dark page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    #[default]
    Light,
    Dark,
}

pub(super) type Rgb = (u8, u8, u8);

/// After Okabe and Ito, made darker or brighter until each stands out from the background.
const LIGHT: [Rgb; super::SERIES_MAX] = [
    (0x00, 0x63, 0xB1),
    (0xC9, 0x4A, 0x00),
    (0x00, 0x84, 0x62),
    (0x3A, 0x3A, 0x3A),
    (0x8A, 0x6A, 0x00),
    (0x2B, 0x8C, 0xC4),
    (0xD0, 0x48, 0x9E),
    (0x6A, 0x1F, 0x1F),
];
const DARK: [Rgb; super::SERIES_MAX] = [
    (0x5A, 0xB0, 0xF5),
    (0xF2, 0x8E, 0x3C),
    (0x2F, 0xC2, 0x9A),
    (0xE0, 0x8F, 0xC4),
    (0xF0, 0xE4, 0x42),
    (0x3D, 0x7F, 0xD9),
    (0xB4, 0xB4, 0xB4),
    (0xD0, 0x5A, 0x4A),
];

impl Theme {
    /// What charts are shown on; they have no background of their own.
    #[cfg(test)]
    pub(super) fn background(self) -> Rgb {
        match self {
            Self::Light => (0xFF, 0xFF, 0xFF),
            Self::Dark => (0x16, 0x1B, 0x22),
        }
    }

    pub(super) fn series(self, at: usize) -> Rgb {
        let colours = match self {
            Self::Light => LIGHT,
            Self::Dark => DARK,
        };
        colours.get(at % colours.len()).copied().unwrap_or_default()
    }

    /// Of labels.
    pub(super) fn text(self) -> Rgb {
        match self {
            Self::Light => (0x4A, 0x52, 0x5C),
            Self::Dark => (0xB6, 0xBF, 0xC9),
        }
    }

    pub(super) fn grid(self) -> Rgb {
        match self {
            Self::Light => (0xE3, 0xE7, 0xEC),
            Self::Dark => (0x2B, 0x33, 0x3D),
        }
    }

    pub(super) fn axis(self) -> Rgb {
        match self {
            Self::Light => (0x9A, 0xA3, 0xAE),
            Self::Dark => (0x5C, 0x67, 0x74),
        }
    }

    /// By the word for how grave it is; others look like `info`.
    pub(super) fn severity(self, word: &str) -> Rgb {
        match (self, word) {
            (Self::Light, "critical") => (0xB3, 0x14, 0x2A),
            (Self::Light, "major") => (0xC2, 0x41, 0x0C),
            (Self::Light, "minor") => (0xA1, 0x62, 0x07),
            (Self::Light, "warning") => (0x85, 0x6A, 0x00),
            (Self::Light, _) => (0x1D, 0x5F, 0xBF),
            (Self::Dark, "critical") => (0xFF, 0x6B, 0x7D),
            (Self::Dark, "major") => (0xFF, 0x91, 0x5A),
            (Self::Dark, "minor") => (0xF2, 0xB1, 0x3C),
            (Self::Dark, "warning") => (0xE5, 0xCF, 0x45),
            (Self::Dark, _) => (0x6F, 0xAE, 0xFF),
        }
    }
}

pub(super) fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
