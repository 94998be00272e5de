//! What devices of the field write, with plausible curves.

use std::{fmt::Write, str::FromStr};

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// devices/{d}/data, sensors as a list
    AiotRich,
    /// devices/{d}/data, {"temperature": …, "humidity": …}
    AiotFlat,
    /// sleep_blanket/{d}/data
    Blanket,
    /// sensors/{d}/{s}/data
    Oei,
    /// telemetry/{d}/{s}, a plain number
    Plain,
    /// POST /api/telemetry
    Esp32,
    /// All of these but HTTP, device by device
    Mix,
}

impl Format {
    pub(crate) fn of_device(self, n: usize) -> Self {
        const MIXED: [Format; 5] =
            [Format::AiotRich, Format::AiotFlat, Format::Blanket, Format::Oei, Format::Plain];
        match self {
            Self::Mix => MIXED.get(n % MIXED.len()).copied().unwrap_or(Self::AiotFlat),
            other => other,
        }
    }

    pub(crate) fn topic(self, device: &str) -> String {
        match self {
            Self::Blanket => format!("sleep_blanket/{device}/data"),
            Self::Oei => format!("sensors/{device}/1/data"),
            Self::Plain => format!("telemetry/{device}/temperature"),
            _ => format!("devices/{device}/data"),
        }
    }

    /// Writes message `number` of device `n`; `time` is the device's, in milliseconds since 1970.
    pub(crate) fn write(self, out: &mut String, n: usize, number: u64, time: Option<u64>) {
        let phase = number as f64 / 60.0 + n as f64;
        let noise = ((number * 2_654_435_761 + n as u64) % 100) as f64 / 200.0;
        let temperature = (210.0 + 40.0 * phase.sin() + 10.0 * noise).round() / 10.0;
        let humidity = (550.0 + 100.0 * (phase / 3.0).cos() + 10.0 * noise).round() / 10.0;
        out.clear();
        let stamp = |name: &str| time.map_or(String::new(), |ms| format!(r#","{name}":{ms}"#));
        let written = match self {
            Self::AiotRich => write!(
                out,
                r#"{{"sensors":[{{"sensor_name":"temperature","value":{temperature},"unit":"°C"}},{{"sensor_name":"humidity","value":{humidity},"unit":"%"}}],"status":{{"rssi":-50}}{}}}"#,
                stamp("timestamp")
            ),
            Self::AiotFlat | Self::Mix => write!(
                out,
                r#"{{"temperature":{temperature},"humidity":{humidity}{}}}"#,
                stamp("ts")
            ),
            Self::Blanket => write!(
                out,
                r#"{{"temperature":{temperature},"heart_rate":{}{}}}"#,
                60 + number % 20,
                stamp("timestamp")
            ),
            Self::Oei => {
                write!(out, r#"{{"value":{temperature},"quality":"good"{}}}"#, stamp("timestamp"))
            }
            Self::Plain => write!(out, "{temperature}"),
            Self::Esp32 => write!(
                out,
                r#"{{"deviceId":"esp{n}","fwVersion":"1.4.0","ip":"192.168.1.{}","uptimeSec":{number},"tempC":{temperature}}}"#,
                n % 250
            ),
        };
        // Writing to a String does not fail.
        let _ = written;
    }
}

/// Shares of messages, in thousandths of a percent, that go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    pub(crate) bad_json: u32,
    /// The device closes its socket and connects again.
    pub(crate) drop_out: u32,
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, share) = part.split_once('=').ok_or("faults are NAME=PERCENT%")?;
            let percent: f64 =
                share.trim_end_matches('%').parse().map_err(|_| "not a percentage")?;
            let share = (percent * 1_000.0) as u32;
            match name {
                "bad-json" => faults.bad_json = share,
                "drop-out" => faults.drop_out = share,
                other => return Err(format!("{other} is none of bad-json, drop-out")),
            }
        }
        Ok(faults)
    }
}

/// Whether a fault of that share strikes message `number` of device `n`.
pub(crate) fn strikes(share: u32, n: usize, number: u64) -> bool {
    let mixed = (number ^ (n as u64) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    share > 0 && mixed % 100_000 < u64::from(share)
}
