//! What can go wrong with the database, by what is to be done about it.

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("can't open the database {path}")]
    Open { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// The server is not there: it may come.
    #[error("can't reach the database {path}")]
    Away { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("another Brooklet has {path} open")]
    InUse { path: String },
    #[error(
        "the database has the migration {0:?}, which this version does not know: it was written by a newer one"
    )]
    NewerSchema(String),
    #[error(
        "the database's schema is older than this version ({0} to apply): run `brooklet migrate`, or set database.migrate = \"auto\""
    )]
    OlderSchema(String),
    /// It was being filled from elsewhere, and that was cut short.
    #[error(
        "the database holds a copy that was not finished, or is not equal to its source: delete it, and copy or restore again"
    )]
    Unfinished,
    #[error("the database did not answer: {0}")]
    Unavailable(String),
    #[error(
        "{} MiB are free on the disk: less than database.min_free_space, {} MiB; nothing is taken until there is more", free >> 20, free_min >> 20
    )]
    NoRoom { free: u64, free_min: u64 },
    /// The statement itself is at fault; the same rows will fail again.
    #[error("the database refused the data: {0}")]
    Rejected(String),
    /// What is stored of a sensor can't be read: what needs it can't be done, all else can.
    #[error("what is stored is damaged: {0}")]
    Damaged(String),
    #[error("{0} does not exist")]
    NotFound(&'static str),
    #[error("{0} exists already")]
    Exists(&'static str),
    #[error("changed by somebody else in the meantime")]
    Outdated,
}

impl StoreError {
    /// Whether the rows are at fault, not the database: a retry with the same rows fails again.
    pub fn is_poison(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Damaged(_))
    }

    /// The same, saying what it is that exists.
    pub(super) fn named(self, what: &'static str) -> Self {
        match self {
            Self::Exists(_) => Self::Exists(what),
            other => other,
        }
    }

    /// A metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open { .. }
            | Self::Away { .. }
            | Self::InUse { .. }
            | Self::NewerSchema(_)
            | Self::OlderSchema(_)
            | Self::Unfinished => "open",
            Self::Unavailable(_) => "unavailable",
            Self::NoRoom { .. } => "no_room",
            Self::Rejected(_) => "rejected",
            Self::Damaged(_) => "damaged",
            Self::NotFound(_) | Self::Exists(_) | Self::Outdated => "conflict",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::ConstraintViolation | Code::TypeMismatch | Code::TooBig) => {
                Self::Rejected(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<sea_orm::DbErr> for StoreError {
    fn from(error: sea_orm::DbErr) -> Self {
        match error.sql_err() {
            Some(sea_orm::SqlErr::UniqueConstraintViolation(_)) => Self::Exists("the row"),
            Some(sea_orm::SqlErr::ForeignKeyConstraintViolation(_)) => {
                Self::Rejected(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
