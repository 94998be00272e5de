//! Request bodies: JSON whose mistakes are told with a pointer, raw JSON for ingest, files as streams.

use bytes::Bytes;
use poem::{FromRequest, Request, RequestBody, http::StatusCode};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::problem::Fault;
use crate::jobs::Format;

/// A JSON body of type `T`.
pub(super) struct Body<T>(pub(super) Result<T, Fault>);

/// A JSON body that may be left out.
pub(super) struct OptionalBody<T>(pub(super) Result<Option<T>, Fault>);

/// A JSON body that ingest reads by itself.
pub(super) struct RawJson(pub(super) Bytes);

/// A file of readings, not read yet, and its form.
pub(super) struct FileBody(pub(super) Result<(Format, poem::Body), Fault>);

const FILES: [(&str, Format); 3] = [
    ("text/csv", Format::Csv),
    ("application/x-ndjson", Format::Ndjson),
    ("application/jsonl", Format::Ndjson),
];

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

impl<T: Type> Payload for OptionalBody<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned> ParsePayload for OptionalBody<T> {
    const IS_REQUIRED: bool = false;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = <Bytes as FromRequest>::from_request(request, body).await?;
        if bytes.is_empty() {
            return Ok(Self(Ok(None)));
        }
        let mut body = RequestBody::new(bytes.into());
        let read = <Body<T> as ParsePayload>::from_request(request, &mut body).await?;
        Ok(Self(read.0.map(Some)))
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
        if error.inner().is_data() {
            return misfit(&error, "");
        }
        let inner = error.into_inner();
        Fault::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {inner}"))
    })?;
    deserializer.end().map_err(|error| {
        Fault::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
    })?;
    Ok(value)
}

/// What a part of a body says, that stands at `place`.
pub(super) fn fit<T: DeserializeOwned>(value: Value, place: &str) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| misfit(&error, place))
}

fn misfit(error: &serde_path_to_error::Error<serde_json::Error>, place: &str) -> Fault {
    let mut pointer = place.to_owned();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    Fault::invalid(&pointer, error.inner().to_string())
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
                let required = <Self as ParsePayload>::IS_REQUIRED;
                Some(MetaRequest { description: None, content: vec![media], required })
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

impl<'a> ApiExtractor<'a> for FileBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = || MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let media = |(content_type, _)| MetaMediaType { content_type, schema: schema() };
        let content = FILES.into_iter().take(2).map(media).collect();
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let given = request.content_type().and_then(|text| text.split(';').next());
        let given = given.unwrap_or_default().trim();
        let known = FILES.iter().find(|(kind, _)| kind.eq_ignore_ascii_case(given));
        let Some((_, format)) = known else {
            let detail = "send the file as Content-Type: text/csv or application/x-ndjson";
            return Ok(Self(Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))));
        };
        Ok(Self(Ok((*format, body.take()?))))
    }
}

extractor!(Body<T>, T);
extractor!(OptionalBody<T>, T);
extractor!(RawJson);
