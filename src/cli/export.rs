//! `brooklet export`: readings as lines, of all devices or some, one device after the other. What the API
//! exports, whether a server runs or not.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::console::{Console, Missing, escaped};
use crate::config::Settings;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Of this device only; repeated: of each of them
    #[arg(long = "device", value_name = "DEVICE")]
    devices: Vec<String>,
    /// Of sensors of this name only; repeated: of any of them
    #[arg(long = "sensor", value_name = "SENSOR")]
    sensors: Vec<String>,
    /// From this event time on, such as 2025-12-19T06:30:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this event time; the present if left out
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Into this file, which must not be there yet; to standard output if left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values with a head (RFC 4180)
    Csv,
    /// One JSON object a line
    Ndjson,
}

impl ExportArguments {
    fn query(&self, device: &str) -> String {
        let format = if self.format == Format::Csv { "csv" } else { "ndjson" };
        let mut query = format!("format={format}&device_id={}", escaped(device));
        let mut add = |name: &str, value: &str| {
            query.push_str(&format!("&{name}={}", escaped(value)));
        };
        self.sensors.iter().for_each(|sensor| add("sensor", sensor));
        for (name, value) in [("from", &self.from), ("to", &self.to)] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        query
    }
}

/// # Errors
/// What the server says is wrong; when nothing can be written.
pub(super) fn run(settings: Settings, arguments: &ExportArguments) -> anyhow::Result<()> {
    let Some(path) = &arguments.output else {
        let console = Console::open(settings, Missing::Refuse)?;
        let written = export(&console, arguments, &mut BufWriter::new(io::stdout().lock()));
        console.close();
        return written.or_else(|error| if is_cut(&error) { Ok(()) } else { Err(error) });
    };
    let place = || format!("can't write to {}", path.display());
    let mut file = BufWriter::new(File::create_new(path).with_context(place)?);
    into_file(settings, arguments, &mut file).inspect_err(|_| forget(path))
}

fn into_file(
    settings: Settings,
    arguments: &ExportArguments,
    file: &mut BufWriter<File>,
) -> anyhow::Result<()> {
    let console = Console::open(settings, Missing::Refuse)?;
    let written = export(&console, arguments, file);
    console.close();
    written?;
    file.get_ref().sync_all().context("the file can't be written to disk")
}

/// Half a file would be taken for a whole one.
fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        eprintln!("{} is not whole, and can't be removed: {error}", path.display());
    }
}

/// Who reads has enough, as `head` has.
fn is_cut(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn export(
    console: &Console,
    arguments: &ExportArguments,
    to: &mut dyn Write,
) -> anyhow::Result<()> {
    let devices = match arguments.devices.as_slice() {
        [] => console
            .list("/api/devices")?
            .iter()
            .filter_map(|device| device.get("device").and_then(Value::as_str))
            .map(str::to_owned)
            .collect(),
        devices => devices.to_vec(),
    };
    for (number, device) in devices.iter().enumerate() {
        let path = format!("/api/data/export?{}", arguments.query(device));
        // One head for all.
        let lines = usize::from(number > 0 && arguments.format == Format::Csv);
        console.download(&path, &mut Behind { lines, to }).with_context(|| device.clone())?;
    }
    Ok(to.flush()?)
}

/// Leaves the first lines out.
struct Behind<'a> {
    lines: usize,
    to: &'a mut dyn Write,
}

impl Write for Behind<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while self.lines > 0 {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                return Ok(bytes.len());
            };
            self.lines -= 1;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        self.to.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
