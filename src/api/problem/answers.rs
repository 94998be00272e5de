//! What operations answer with: each form with every status that it can have, for the document.

use poem_openapi::{
    ApiResponse,
    payload::Json,
    types::{ToJSON, Type},
};

use super::{Fault, Problem};

/// Answers with a header beside the body: the entity tag, or where to look further.
macro_rules! headed_answers {
    ($(#[$doc:meta])* $name:ident { $ok:ident = $ok_status:tt, $header:tt, $ok_doc:tt, $($failure:ident = $status:tt $failure_doc:tt,)* }) => {
        $(#[$doc])*
        #[derive(ApiResponse)]
        pub(in crate::api) enum $name<T: Type + ToJSON> {
            #[doc = $ok_doc]
            #[oai(status = $ok_status)]
            $ok(Json<T>, #[oai(header = $header)] String),
            $(
                #[doc = $failure_doc]
                #[oai(status = $status, content_type = "application/problem+json")]
                $failure(Json<Problem>),
            )*
            /// The store does not answer, or the request took too long
            #[oai(status = 503, content_type = "application/problem+json")]
            Unavailable(Json<Problem>),
        }

        impl<T: Type + ToJSON> From<Fault> for $name<T> {
            fn from(fault: Fault) -> Self {
                match fault.status.as_u16() {
                    $($status => Self::$failure(Json(fault.problem())),)*
                    _ => Self::Unavailable(Json(fault.problem())),
                }
            }
        }

        impl<T: Type + ToJSON> From<Result<(T, String), Fault>> for $name<T> {
            fn from(result: Result<(T, String), Fault>) -> Self {
                match result {
                    Ok((value, header)) => Self::$ok(Json(value), header),
                    Err(fault) => fault.into(),
                }
            }
        }
    };
}

macro_rules! answers {
    ($(#[$doc:meta])* $name:ident { $ok:ident = $ok_status:tt, $ok_doc:tt, $($failure:ident = $status:tt $failure_doc:tt,)* }) => {
        $(#[$doc])*
        #[derive(ApiResponse)]
        pub(in crate::api) enum $name<T: Type + ToJSON> {
            #[doc = $ok_doc]
            #[oai(status = $ok_status)]
            $ok(Json<T>),
            $(
                #[doc = $failure_doc]
                #[oai(status = $status, content_type = "application/problem+json")]
                $failure(Json<Problem>),
            )*
            /// The store does not answer, or the request took too long
            #[oai(status = 503, content_type = "application/problem+json")]
            Unavailable(Json<Problem>),
        }

        impl<T: Type + ToJSON> From<Fault> for $name<T> {
            fn from(fault: Fault) -> Self {
                match fault.status.as_u16() {
                    $($status => Self::$failure(Json(fault.problem())),)*
                    _ => Self::Unavailable(Json(fault.problem())),
                }
            }
        }

        impl<T: Type + ToJSON> From<Result<T, Fault>> for $name<T> {
            fn from(result: Result<T, Fault>) -> Self {
                match result {
                    Ok(value) => Self::$ok(Json(value)),
                    Err(fault) => fault.into(),
                }
            }
        }
    };
}

/// Answers without a body.
macro_rules! empty_answers {
    ($(#[$doc:meta])* $name:ident { $ok:ident = $ok_doc:tt, $($failure:ident = $status:tt $failure_doc:tt,)* }) => {
        $(#[$doc])*
        #[derive(ApiResponse)]
        pub(in crate::api) enum $name {
            #[doc = $ok_doc]
            #[oai(status = 204)]
            $ok,
            $(
                #[doc = $failure_doc]
                #[oai(status = $status, content_type = "application/problem+json")]
                $failure(Json<Problem>),
            )*
            /// The store does not answer, or the request took too long
            #[oai(status = 503, content_type = "application/problem+json")]
            Unavailable(Json<Problem>),
        }

        impl From<Result<(), Fault>> for $name {
            fn from(result: Result<(), Fault>) -> Self {
                let Err(fault) = result else { return Self::$ok };
                match fault.status.as_u16() {
                    $($status => Self::$failure(Json(fault.problem())),)*
                    _ => Self::Unavailable(Json(fault.problem())),
                }
            }
        }
    };
}

answers! {
    /// The answer to a query.
    Answer {
        Ok = 200, "What was asked for",
        BadRequest = 400 "A parameter can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Invalid = 422 "A parameter is out of its range",
        TooMany = 429 "Too many at a time, or too many requests in a second",
        Damaged = 500 "What is stored of it is damaged",
    }
}

answers! {
    /// The answer to a query without parameters.
    Shown {
        Ok = 200, "As it is",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
    }
}

answers! {
    /// The answer to who signs in.
    SignedIn {
        Ok = 200, "Signed in",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "What was sent is not, or no longer, right",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
        TooMany = 429 "Too many wrong passwords",
    }
}

answers! {
    /// The answer to a change.
    Changed {
        Ok = 200, "As it is after the change",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "It can't be changed that way",
        Outdated = 412 "It was changed since it was read",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
    }
}

answers! {
    /// The answer to a creation.
    Created {
        Ok = 201, "As it was made",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "What it is to belong to is not there",
        Conflict = 409 "There is one already",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
    }
}

empty_answers! {
    /// The answer to what leaves nothing to show.
    Done {
        Nothing = "Done",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed, or the password is wrong",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "It can't be done that way",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
        TooMany = 429 "Too many wrong passwords",
    }
}

headed_answers! {
    /// One thing, with its entity tag.
    One {
        Ok = 200, "ETag", "As it is; its ETag is for If-Match",
        BadRequest = 400 "A parameter can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
    }
}

headed_answers! {
    /// The answer to a change, with the next entity tag.
    Retagged {
        Ok = 200, "ETag", "As it is after the change; its ETag is for If-Match",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "It can't be changed that way",
        Outdated = 412 "It was changed since it was read",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body must be application/json",
        Invalid = 422 "A value is not allowed",
    }
}

headed_answers! {
    /// The answer to an order that is carried out after it.
    Ordered {
        Accepted = 202, "Location", "A job does it; the Location shows how far it is",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "It is not possible at this moment",
        TooLarge = 413 "The body is too large",
        WrongType = 415 "The body is of a type that is not taken",
        Invalid = 422 "A value is not allowed",
        Busy = 429 "Too many of them wait already",
    }
}

empty_answers! {
    /// The answer to a deletion.
    Deleted {
        Gone = "It is gone",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "Somebody is deleting it already",
    }
}

empty_answers! {
    /// The answer to a deletion of what has versions.
    Removed {
        Gone = "It is gone",
        BadRequest = 400 "The request can't be read",
        Unauthorized = 401 "A key is needed",
        Forbidden = 403 "The key does not allow this",
        NotFound = 404 "There is no such thing",
        Conflict = 409 "It can't be deleted that way",
        Outdated = 412 "It was changed since it was read",
    }
}
