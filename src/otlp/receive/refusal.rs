//! Why a request is refused as a whole, and what that means to its sender.
//!
//! The reason is the same however the request came; each transport has its own words for it.

use http::StatusCode;
use tonic::Code;

use super::intake::{Failure, Overloaded};
use crate::model::Nanos;
use crate::otlp::decoder::DecodeError;

/// Nothing of the request was taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    #[error("larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("invalid {0} body")]
    Inflate(&'static str),
    #[error("{0}")]
    Framing(&'static str),
    #[error("compression must be gzip, zstd or identity")]
    Encoding,
    #[error("content type must be {0}")]
    MediaType(&'static str),
    #[error("the body ended early")]
    Aborted,
    #[error("the body was not complete in time")]
    TimedOut,
    #[error("overloaded; retry later")]
    Overloaded { retry_after: Nanos },
}

impl From<Overloaded> for Refusal {
    fn from(overloaded: Overloaded) -> Refusal {
        Refusal::Overloaded { retry_after: overloaded.retry_after }
    }
}

impl Refusal {
    /// Under which reason it is counted.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Refusal::Undecodable(error) if error.is_too_large() => Failure::TooLarge,
            Refusal::TooLarge { .. } => Failure::TooLarge,
            Refusal::Undecodable(_) | Refusal::Inflate(_) | Refusal::Framing(_) => Failure::BadData,
            Refusal::Encoding => Failure::UnsupportedEncoding,
            Refusal::MediaType(_) => Failure::UnsupportedMediaType,
            Refusal::Aborted => Failure::Aborted,
            Refusal::TimedOut => Failure::TimedOut,
            Refusal::Overloaded { .. } => Failure::Overloaded,
        }
    }

    /// When the sender may come back, if that is of any use.
    pub(super) fn retry_after(&self) -> Option<Nanos> {
        match self {
            Refusal::Overloaded { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// The gRPC status code, in answers of either transport. OTLP has senders retry UNAVAILABLE,
    /// DEADLINE_EXCEEDED and CANCELLED; RESOURCE_EXHAUSTED only with RetryInfo, which it never has here.
    pub(super) fn code(&self) -> Code {
        match self.failure() {
            Failure::BadData | Failure::UnsupportedMediaType => Code::InvalidArgument,
            Failure::TooLarge => Code::ResourceExhausted,
            Failure::UnsupportedEncoding => Code::Unimplemented,
            Failure::Aborted => Code::Cancelled,
            Failure::TimedOut => Code::DeadlineExceeded,
            Failure::Overloaded => Code::Unavailable,
        }
    }

    /// The HTTP status. OTLP has senders retry 429, 502, 503 and 504.
    pub(super) fn http_status(&self) -> StatusCode {
        match self.failure() {
            Failure::BadData | Failure::Aborted => StatusCode::BAD_REQUEST,
            Failure::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::UnsupportedEncoding | Failure::UnsupportedMediaType => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            // Whose fault it was that time ran out is not known, and a request that is sent again is
            // not lost.
            Failure::TimedOut | Failure::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
