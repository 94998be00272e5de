//! The configuration in force, for administrators who look from afar.

use std::collections::BTreeMap;

use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::{
    State, Tag,
    caller::{Admin, Caller},
    problem::Shown,
};
use crate::config::Settings;

pub(super) struct Configuration;

/// The configuration in force
#[derive(Debug, Clone, Object)]
pub struct ConfigurationView {
    /// As `broker.toml` has it; secrets are stars
    settings: Value,
    /// `file` or `environment`, by path such as `http.listen`; what is not named is the default
    origins: BTreeMap<String, String>,
}

impl From<&Settings> for ConfigurationView {
    fn from(settings: &Settings) -> Self {
        let origins = settings.origins.iter();
        let origins = origins.map(|(path, origin)| (path.to_owned(), origin.as_str().to_owned()));
        Self {
            origins: origins.collect(),
            settings: serde_json::to_value(settings.clone().masked()).unwrap_or_default(),
        }
    }
}

impl ConfigurationView {
    /// `time.zone`.
    pub(super) fn time_zone(&self) -> &str {
        self.settings.pointer("/time/zone").and_then(Value::as_str).unwrap_or("UTC")
    }
}

#[OpenApi]
impl Configuration {
    /// Configuration in force
    ///
    /// The defaults, the file and the environment, laid over each other as they were at the start.
    #[oai(
        path = "/api/configuration",
        method = "get",
        tag = "Tag::Service",
        operation_id = "configuration"
    )]
    async fn configuration(
        &self,
        _caller: Caller<Admin>,
        api: State<'_>,
    ) -> Shown<ConfigurationView> {
        Ok(api.configuration.clone()).into()
    }
}
