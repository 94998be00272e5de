//! What a request is called: by its client, where that is fit, or by chance.

use poem::{
    Request, Response,
    http::{HeaderName, HeaderValue, header},
};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 64;
/// Longer ones are not ours.
const PROBLEM_MAX: usize = 64 << 10;

/// 1 to 64 visible characters of ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct RequestId(String);

impl RequestId {
    pub(super) fn of(request: &Request) -> Self {
        let text = request.headers().get(HEADER).and_then(|text| text.to_str().ok());
        text.filter(|text| is_fit(text)).map_or_else(Self::random, |text| Self(text.to_owned()))
    }

    fn random() -> Self {
        let mut bytes = [0; 16];
        // Without chance there is no telling requests apart, which is no reason to refuse them.
        let _ = SystemRandom::new().fill(&mut bytes);
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    pub(in crate::api) fn as_str(&self) -> &str {
        &self.0
    }

    /// Names the request in its answer, and in the problem that the answer tells.
    pub(super) async fn mark(&self, mut response: Response) -> Response {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(HEADER, value);
        }
        let kind = response.headers().get(header::CONTENT_TYPE);
        if kind.is_none_or(|kind| kind != "application/problem+json") {
            return response;
        }
        let Ok(bytes) = response.take_body().into_bytes_limit(PROBLEM_MAX).await else {
            return response;
        };
        let told = serde_json::from_slice::<Value>(&bytes).ok().and_then(|mut problem| {
            let members = problem.as_object_mut()?;
            members.insert("request_id".to_owned(), self.0.as_str().into());
            Some(problem.to_string())
        });
        match told {
            Some(text) => response.set_body(text),
            None => response.set_body(bytes),
        }
        response
    }
}

fn is_fit(text: &str) -> bool {
    !text.is_empty() && text.len() <= LENGTH_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
