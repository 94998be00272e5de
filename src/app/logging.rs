//! Log lines to standard error: for people, or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// What the database libraries say of every statement is not for the log.
const QUIET: &[&str] =
    &["sqlx=warn", "sea_orm=warn", "sea_orm_migration=warn", "hyper=warn", "poem=warn"];

/// Installs the process's log.
///
/// # Errors
/// What of `log.level` is not understood.
pub fn install(settings: &Log) -> Result<(), String> {
    let mut filter = EnvFilter::builder()
        .parse(&settings.level)
        .map_err(|error| format!("log.level: {error}; use error, warn, info, debug or trace"))?;
    for directive in QUIET {
        let target = directive.split('=').next().unwrap_or_default();
        if !settings.level.contains(target)
            && let Ok(directive) = directive.parse()
        {
            filter = filter.add_directive(directive);
        }
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let installed = match settings.format {
        LogFormat::Human => lines.compact().with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| error.to_string())
}
