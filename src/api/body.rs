//! Request bodies: JSON whose mistakes are told with a pointer, and raw JSON for ingest.

use bytes::Bytes;
use poem::{FromRequest, Request, RequestBody, http::StatusCode};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};
use serde::de::DeserializeOwned;

use super::problem::{Fault, FieldError};

/// A JSON body of type `T`.
pub(super) struct Body<T>(pub(super) Result<T, Fault>);

/// A JSON body that ingest reads by itself.
pub(super) struct RawJson(pub(super) Bytes);

const JSON: &str = "application/json";

impl<T: Type> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn check_content_type(content_type: &str) -> bool {
        is_json(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        if !request.content_type().is_some_and(is_json) {
            let detail = "send the body as Content-Type: application/json";
            return Ok(Self(Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))));
        }
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        Ok(Self(read(&bytes)))
    }
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

/// 400 for what is no JSON, 422 with a pointer for what does not fit.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let value = read.map_err(|error| {
        let path = error.path().to_string();
        let pointer = match path.as_str() {
            "." => String::new(),
            path => format!("/{}", path.replace('.', "/")),
        };
        let inner = error.into_inner();
        if inner.is_data() {
            let detail = inner.to_string();
            let errors = vec![FieldError { pointer, detail: detail.clone() }];
            return Fault { status: StatusCode::UNPROCESSABLE_ENTITY, detail, errors };
        }
        Fault::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {inner}"))
    })?;
    deserializer.end().map_err(|error| {
        Fault::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
    })?;
    Ok(value)
}

impl Payload for RawJson {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new("object")))
    }
}

impl ParsePayload for RawJson {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        <Bytes as FromRequest>::from_request(request, body).await.map(Self)
    }
}

macro_rules! extractor {
    ($type:ty $(, $parameter:ident)?) => {
        impl<'a $(, $parameter: Type + DeserializeOwned)?> ApiExtractor<'a> for $type {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                <Self as Payload>::register(registry);
            }

            fn request_meta() -> Option<MetaRequest> {
                let schema = <Self as Payload>::schema_ref();
                let media = MetaMediaType { content_type: Self::CONTENT_TYPE, schema };
                Some(MetaRequest { description: None, content: vec![media], required: true })
            }

            async fn from_request(
                request: &'a Request,
                body: &mut RequestBody,
                _options: ExtractParamOptions<Self::ParamType>,
            ) -> poem::Result<Self> {
                <Self as ParsePayload>::from_request(request, body).await
            }
        }
    };
}

extractor!(Body<T>, T);
extractor!(RawJson);
