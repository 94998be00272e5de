//! The command line: what was asked for, and mistakes told in one sentence.

mod access;
mod backup;
mod console;
mod copy;
mod csv;
mod export;

use std::{
    io::{BufRead, IsTerminal, Read},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use self::access::{DeviceCommand, KeyCommand, UserCommand};
use crate::{
    access::{FirstStart, hash_password},
    api,
    app::{App, AppError, logging, store_location},
    clock::Clock,
    config::{self, Migrate, Settings},
    store::Store,
};

/// An MQTT broker that checks, stores and serves what devices publish, and acknowledges only what is
/// stored.
///
/// Without a command it serves: MQTT on 127.0.0.1:1883, HTTP on 127.0.0.1:8080, data in ./data.
#[derive(Debug, Parser)]
#[command(name = "brooklet", version, max_term_width = 100)]
struct Arguments {
    /// Configuration file. Without it ./broker.toml is read if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker, the store and the HTTP surface (the default)
    Serve,
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the OpenAPI document of the HTTP surface
    Openapi,
    /// Bring the database's schema up to date, and exit
    Migrate,
    /// Look after users; the running server hears of it at once
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Look after API keys; the running server hears of it at once
    ApiKey {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Register devices and make their secrets; the running server hears of it at once
    Device {
        #[command(subcommand)]
        command: DeviceCommand,
    },
    /// Print who has done what, newest first
    Audit {
        /// Entries
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Write all that is stored, and the server's keys, into one file; a server may run meanwhile
    ///
    /// The file has everything in it that devices and people are known by: keep it like the data
    /// directory. The configuration and certificates are not in it.
    Backup {
        file: PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Put a backup where the configuration says that the data is kept, and nothing is yet
    ///
    /// The backup of a PostgreSQL or MariaDB database can be restored to any of the three.
    Restore {
        file: PathBuf,
        /// Only look whether the backup is whole, and all in it
        #[arg(long)]
        verify: bool,
    },
    /// Write readings as CSV or NDJSON, oldest first, one device after the other; a server may run meanwhile
    ///
    /// `/api/data/import` takes such a file.
    Export {
        #[command(flatten)]
        arguments: export::ExportArguments,
    },
    /// Copy everything that is stored into an empty database of any kind, and look whether it is equal
    ///
    /// A server may run meanwhile: what is copied is of one moment, and what comes later is not in it.
    /// A copy that was cut short, or is not equal, is marked, and no Brooklet starts on it. Exits with 1
    /// where the two are not equal.
    Copy {
        /// sqlite://FILE, postgres://… or mysql://…, written as database.url
        #[arg(long, value_name = "URL")]
        to: String,
        /// Copy nothing: only look whether what is there is equal
        #[arg(long)]
        verify: bool,
    },
    /// Look whether all that is stored holds together; a server may run meanwhile
    ///
    /// Exits with 1 where something is wrong.
    Verify,
    /// Print the hash of a password, for access.users; it is asked for, or read from standard input
    HashPassword,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is right
    Check,
    /// Print the configuration in force, secrets masked
    Print,
}

/// A mistake of the operator's: told without a backtrace.
const EXIT_USAGE: u8 = 2;
/// What a CONNECT has room for.
const PASSWORD_BYTES_MAX: u64 = 65_535;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<backup::Faulty>() => ExitCode::FAILURE,
        Err(error) => {
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("brooklet: {}", chain.join(": "));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn execute(arguments: Arguments) -> anyhow::Result<()> {
    let command = arguments.command.unwrap_or(Command::Serve);
    match command {
        Command::Openapi => return print(&api::document()),
        Command::HashPassword => return print_hash(),
        _ => {}
    }
    let settings = settings(arguments.config)?;
    match command {
        Command::Serve => serve(settings),
        Command::Config { command: ConfigCommand::Check } => print("The configuration is right.\n"),
        Command::Config { command: ConfigCommand::Print } => {
            print(&toml::to_string(&settings.masked()).context("can't print the configuration")?)
        }
        Command::Migrate => migrate(&settings),
        Command::User { command } => access::user(settings, command),
        Command::ApiKey { command } => access::key(settings, command),
        Command::Device { command } => access::device(settings, command),
        Command::Audit { limit } => access::audit(settings, limit as usize),
        Command::Backup { file, force } => backup::back_up(&settings, &file, force),
        Command::Restore { file, verify: true } => backup::check(&file),
        Command::Restore { file, verify: false } => backup::restore(&settings, &file),
        Command::Export { arguments } => export::run(settings, &arguments),
        Command::Copy { to, verify } => copy::run(&settings, to, verify),
        Command::Verify => backup::verify(&settings),
        Command::Openapi | Command::HashPassword => Ok(()),
    }
}

fn settings(file: Option<PathBuf>) -> anyhow::Result<Settings> {
    let beside = PathBuf::from("broker.toml");
    let file = file.or_else(|| beside.exists().then_some(beside));
    Ok(config::load(file.as_deref(), std::env::vars())?)
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).context("can't write to standard output")
}

fn print_hash() -> anyhow::Result<()> {
    let hash = hash_password(&read_password()?).context("can't hash the password")?;
    print(&format!("{hash}\n"))
}

/// A password from the terminal, asked for twice, or all of standard input.
fn read_password() -> anyhow::Result<Vec<u8>> {
    let password = if std::io::stdin().is_terminal() {
        let password = ask("Password: ")?;
        if ask("Again: ")? != password {
            bail!("the two are not the same");
        }
        password
    } else {
        let mut text = Vec::new();
        let mut input = std::io::stdin().take(PASSWORD_BYTES_MAX + 1);
        input.read_to_end(&mut text).context("can't read standard input")?;
        without_line_end(text)
    };
    match password.len() as u64 {
        0 => bail!("the password is empty"),
        1..=PASSWORD_BYTES_MAX => Ok(password),
        _ => bail!("a password in MQTT has at most {PASSWORD_BYTES_MAX} bytes"),
    }
}

/// Reads a line from the terminal without showing it.
fn ask(prompt: &str) -> anyhow::Result<Vec<u8>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    let shown = tcgetattr(&input).context("can't hide the password")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    eprint!("{prompt}");
    tcsetattr(&input, OptionalActions::Flush, &hidden).context("can't hide the password")?;
    let mut line = Vec::new();
    let read = input.lock().read_until(b'\n', &mut line);
    tcsetattr(&input, OptionalActions::Flush, &shown).context("can't show what is typed again")?;
    eprintln!();
    read.context("can't read the password")?;
    Ok(without_line_end(line))
}

fn without_line_end(mut text: Vec<u8>) -> Vec<u8> {
    for end in [b'\n', b'\r'] {
        text.pop_if(|last| *last == end);
    }
    text
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")
}

fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let mut settings = settings.clone();
    settings.database.migrate = Migrate::Auto;
    let location = store_location(&settings).map_err(AppError::Settings)?;
    let is_absent = console::absent_file(&settings)?.is_some();
    let said = if is_absent { "was made" } else { "is up to date" };
    runtime()?.block_on(async {
        let store = Store::at(&location).await?;
        let shown = store.shown();
        store.close().await;
        print(&format!("The schema of {shown} {said}.\n"))
    })
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    logging::install(&settings.log).map_err(AppError::Settings)?;
    raise_open_files();
    let runtime = runtime()?;
    let result = runtime.block_on(serve_until_signal(settings));
    runtime.shutdown_background();
    result
}

async fn serve_until_signal(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("can't wait for signals")?;
    let app = App::build(settings, Clock::system()).await?;
    let database = app.database();
    let devices = app.device_count();
    if let Some(made) = app.first_start().await? {
        show_first_start(&made)?;
    }
    let running = app.start().context("can't start")?;
    for (transport, address) in &running.addresses().mqtt {
        tracing::info!(protocol = "mqtt", transport = transport.label(), %address, "listening");
    }
    for address in &running.addresses().http {
        tracing::info!(protocol = "http", %address, docs = %format!("http://{address}/docs"), "listening");
    }
    for address in &running.addresses().https {
        tracing::info!(protocol = "https", %address, docs = %format!("https://{address}/docs"), "listening");
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, database, devices, "Brooklet is ready");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.reload().await,
        }
    }
    tracing::info!("stopping; a second signal exits at once");
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
    Ok(())
}

/// What was generated is for eyes, not for a log: elsewhere than on a terminal only its place is told.
fn show_first_start(made: &FirstStart) -> anyhow::Result<()> {
    let (password_file, key_file) = (made.password_file.display(), made.key_file.display());
    tracing::info!(
        user = made.user,
        %password_file,
        %key_file,
        "the first user and the first API key were made; change the password, and the files go"
    );
    if !std::io::stdout().is_terminal() {
        return Ok(());
    }
    print(&format!(
        "\nFirst start. This is shown once, and kept in {password_file} and {key_file}\n\
         until the password is changed:\n\n\
         \x20   user      {}\n\
         \x20   password  {}\n\
         \x20   API key   {}\n\n\
         To paste:\n\n\
         \x20   export API_KEY={}\n\
         \x20   brooklet user passwd {}\n\n",
        made.user, made.password, made.key, made.key, made.user
    ))
}

/// Every connection is an open file: the soft limit is raised to what the system allows.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
