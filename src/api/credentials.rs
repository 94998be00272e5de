//! How a device proves who it is, and which topics it may use beyond its own.

use std::time::Duration;

use poem_openapi::{Object, OpenApi, param::Path};
use serde::Deserialize;
use serde_json::json;

use super::{
    Api, State, Tag,
    body::Body,
    caller::{self, Caller, DevicesRead, DevicesWrite, MqttWrite},
    devices::find,
    page::Page,
    problem::{Answer, Changed, Created, Done, Fault},
    users::permissions,
    wire::{self, Time},
};
use crate::{access::Credential, registry::Device};

pub(super) struct Credentials;

/// A credential; a secret's text was shown when it was made
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct CredentialView {
    id: i64,
    /// `secret` or `certificate`
    kind: String,
    /// The common name of a certificate
    subject: Option<String>,
    created_at: Time,
    created_by: String,
    expires_at: Option<Time>,
    /// To the minute
    used_at: Option<Time>,
}

/// A credential that was just made
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct NewCredentialView {
    /// MQTT password of the device, whose user name is its id; it is not shown again
    secret: Option<String>,
    #[oai(flatten)]
    about: CredentialView,
}

/// A credential to be made
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct NewCredentialBody {
    /// `secret` (the default) or `certificate`
    kind: Option<String>,
    /// Of a certificate: its common name
    subject: Option<String>,
    /// To rotate: seconds that the device's other secrets stay good; without it they stay as they are
    overlap_seconds: Option<u32>,
    /// RFC 3339; without it, it does not expire
    expires_at: Option<String>,
}

/// What a device may do beyond its own topics
#[derive(Debug, Clone, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct Permissions {
    /// Such as `subscribe:news/#`
    allow: Vec<String>,
}

#[OpenApi]
impl Credentials {
    /// List a device's credentials
    #[oai(
        path = "/api/devices/:device/credentials",
        method = "get",
        tag = "Tag::Access",
        operation_id = "list_credentials"
    )]
    async fn list(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        device: Path<String>,
    ) -> Answer<Page<CredentialView>> {
        find(&api, &device)
            .map(|device| {
                let credentials = api.access.devices.credentials(device.id);
                Page::new(credentials.iter().map(CredentialView::from).collect(), None)
            })
            .into()
    }

    /// Make a credential for a device
    ///
    /// A secret is generated and shown this once. With `overlap_seconds` it takes the place of the
    /// device's other secrets, which stay good for that long.
    #[oai(
        path = "/api/devices/:device/credentials",
        method = "post",
        tag = "Tag::Access",
        operation_id = "create_credential"
    )]
    async fn create(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
        body: Body<NewCredentialBody>,
    ) -> Created<NewCredentialView> {
        match body.0 {
            Ok(body) => create(&api, &caller, &device, body).await.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Revoke a credential
    ///
    /// The device's MQTT connections end; it comes back with another credential, if it has one.
    #[oai(
        path = "/api/devices/:device/credentials/:id",
        method = "delete",
        tag = "Tag::Access",
        operation_id = "revoke_credential"
    )]
    async fn revoke(
        &self,
        caller: Caller<DevicesWrite>,
        api: State<'_>,
        device: Path<String>,
        id: Path<i64>,
    ) -> Done {
        revoke(&api, &caller, &device, *id).await.into()
    }

    /// Show what a device may do beyond its own topics
    #[oai(
        path = "/api/devices/:device/permissions",
        method = "get",
        tag = "Tag::Access",
        operation_id = "get_permissions"
    )]
    async fn permissions(
        &self,
        _caller: Caller<DevicesRead>,
        api: State<'_>,
        device: Path<String>,
    ) -> Answer<Permissions> {
        find(&api, &device)
            .map(|device| Permissions { allow: api.access.devices.permissions(device.id) })
            .into()
    }

    /// Set what a device may do beyond its own topics
    ///
    /// Replaces all. A device publishes on ingest topics for itself and, a gateway, for its devices,
    /// and subscribes below `devices/{itself}`, without any of these.
    #[oai(
        path = "/api/devices/:device/permissions",
        method = "put",
        tag = "Tag::Access",
        operation_id = "set_permissions"
    )]
    async fn set_permissions(
        &self,
        caller: Caller<MqttWrite>,
        api: State<'_>,
        device: Path<String>,
        body: Body<Permissions>,
    ) -> Changed<Permissions> {
        match body.0 {
            Ok(body) => set_permissions(&api, &caller, &device, body).await.into(),
            Err(fault) => fault.into(),
        }
    }
}

async fn create(
    api: &Api,
    caller: &Caller<DevicesWrite>,
    key: &str,
    body: NewCredentialBody,
) -> Result<NewCredentialView, Fault> {
    let device = find(api, key)?;
    let expires_at = body.expires_at.map(|text| wire::time("/expires_at", &text)).transpose()?;
    let (devices, by) = (&api.access.devices, &caller.principal);
    let (credential, secret) = match (body.kind.as_deref().unwrap_or("secret"), body.subject) {
        ("secret", None) => {
            let overlap = body.overlap_seconds.map(|seconds| Duration::from_secs(seconds.into()));
            let (credential, text) = devices.issue_secret(&device, overlap, expires_at, by).await?;
            (credential, Some(text))
        }
        ("certificate", Some(subject)) if body.overlap_seconds.is_none() => {
            (devices.add_certificate(&device, subject, expires_at, by).await?, None)
        }
        ("secret", Some(_)) => {
            return Err(Fault::invalid("/subject", "a secret has no subject"));
        }
        ("certificate", None) => {
            return Err(Fault::invalid("/subject", "give the certificate's common name"));
        }
        ("certificate", Some(_)) => {
            return Err(Fault::invalid("/overlap_seconds", "this is for secrets"));
        }
        _ => return Err(Fault::invalid("/kind", "a credential is a secret or a certificate")),
    };
    let about = CredentialView::from(&credential);
    caller.note(json!({"id": about.id, "kind": about.kind, "subject": about.subject}));
    Ok(NewCredentialView { secret, about })
}

async fn revoke(api: &Api, caller: &Caller<DevicesWrite>, key: &str, id: i64) -> Result<(), Fault> {
    let device = find(api, key)?;
    api.access.devices.revoke(device.id, id).await?;
    caller.note(json!({"id": id}));
    cut_device(api, &device);
    Ok(())
}

async fn set_permissions(
    api: &Api,
    caller: &Caller<MqttWrite>,
    key: &str,
    body: Permissions,
) -> Result<Permissions, Fault> {
    let device = find(api, key)?;
    let allow = permissions("/allow", body.allow)?;
    let before = api.access.devices.permissions(device.id);
    let allow = api.access.devices.set_permissions(&device, allow).await?;
    caller.note(json!({"before": before, "after": allow}));
    Ok(Permissions { allow })
}

/// Ends what is connected as the device.
pub(super) fn cut_device(api: &Api, device: &Device) {
    caller::cut(api, &api.access.cut_device(device.key.as_str()));
}

impl From<&Credential> for CredentialView {
    fn from(credential: &Credential) -> Self {
        let kind = if credential.subject.is_some() { "certificate" } else { "secret" };
        Self {
            id: credential.id,
            kind: kind.to_owned(),
            subject: credential.subject.clone(),
            created_at: Time(credential.created_at),
            created_by: credential.created_by.clone(),
            expires_at: credential.expires_at.map(Time),
            used_at: credential.used_at().map(Time),
        }
    }
}
