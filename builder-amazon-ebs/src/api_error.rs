//! Errors of EC2 calls: what they mean is decided here, once, and nowhere by looking at texts.

use std::fmt;

use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use builder_core::BuildError;
use builder_core::ledger::CreateError;

/// A call that failed after the SDK's own retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The API action: `CreateImage`.
    pub(crate) action: &'static str,
    /// EC2's error code, if EC2 answered.
    pub(crate) code: Option<String>,
    message: String,
    outcome: Outcome,
}

/// What is known about the effect of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// EC2 answered and refused: nothing happened.
    Refused,
    /// No answer, or one that does not say: it may have taken effect, and the same again may work.
    Unknown,
}

/// Codes that EC2 answers with a 5xx status though nothing was created.
const REFUSED_WITH_5XX: [&str; 6] = [
    "InsufficientInstanceCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientReservedInstanceCapacity",
    "InsufficientAddressCapacity",
    "RequestLimitExceeded",
    "Server.InsufficientInstanceCapacity",
];

impl ApiError {
    /// Takes in what the SDK reports.
    pub(crate) fn new<E, R>(action: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug + StatusCode,
    {
        let code = error.code().map(str::to_owned);
        let (message, outcome) = match error {
            SdkError::ServiceError(service) => {
                let client_fault = service.raw().status() < 500;
                let refused = client_fault || code.as_deref().is_some_and(|c| REFUSED_WITH_5XX.contains(&c));
                let text = error.message().unwrap_or("no further text").trim_end_matches('.').to_owned();
                (text, if refused { Outcome::Refused } else { Outcome::Unknown })
            }
            SdkError::ConstructionFailure(_) => (root_cause(error), Outcome::Refused),
            SdkError::TimeoutError(_) => ("no answer in time".to_owned(), Outcome::Unknown),
            _ => (root_cause(error), Outcome::Unknown),
        };
        Self { action, code, message, outcome }
    }

    /// An answer that misses what it must hold.
    pub(crate) fn incomplete(action: &'static str, missing: &str) -> Self {
        Self { action, code: None, message: format!("the answer has no {missing}"), outcome: Outcome::Unknown }
    }

    /// The same under the code that EC2 should have given.
    pub(crate) fn with_code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    /// Whether the code is one of these.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|c| codes.contains(&c))
    }

    /// What was asked for does not exist (any more, or yet).
    pub(crate) fn is_not_found(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        // EC2 says `InvalidInstanceID.NotFound`, `InvalidSnapshot.NotFound`, and `InvalidAMIID.Unavailable` for an image
        // that was deregistered a moment ago.
        code.ends_with(".NotFound") || code == "InvalidAMIID.Unavailable"
    }

    /// The user may not do this.
    pub(crate) fn is_denied(&self) -> bool {
        self.is(&["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"])
    }

    /// Whether it is certain that nothing happened.
    pub(crate) fn is_refused(&self) -> bool {
        self.outcome == Outcome::Refused
    }

    /// Whether looking again later may help: for polls, not for creates.
    pub(crate) fn is_passing(&self) -> bool {
        self.outcome == Outcome::Unknown || self.is(&["RequestLimitExceeded", "Throttling"])
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ec2:{}", self.action)?;
        match &self.code {
            Some(code) => write!(f, " was refused: {code}: {}", self.message)?,
            None => write!(f, " failed: {}", self.message)?,
        }
        if self.is_denied() {
            write!(f, "; allow ec2:{} to this user or role, or leave out the option that needs it", self.action)?;
        } else if self.is(&[
            "AuthFailure",
            "InvalidClientTokenId",
            "ExpiredToken",
            "RequestExpired",
            "SignatureDoesNotMatch",
        ]) {
            f.write_str("; check the credentials, the profile and this machine's clock")?;
        } else if self.outcome == Outcome::Unknown && !self.action.starts_with("Describe") {
            f.write_str("; it may have taken effect all the same, which the clean-up looks for")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for BuildError {
    fn from(error: ApiError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<ApiError> for CreateError {
    fn from(error: ApiError) -> Self {
        Self { refused: error.is_refused(), error: error.into() }
    }
}

/// The deepest cause in a chain: the words that help (`connection refused`), without the layers above them.
fn root_cause<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + 'static,
    R: fmt::Debug,
{
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut text = None;
    while let Some(e) = cause {
        text = Some(e.to_string());
        cause = e.source();
    }
    text.unwrap_or_else(|| DisplayErrorContext(error).to_string())
}

/// The HTTP status of a raw answer.
pub(crate) trait StatusCode {
    fn status(&self) -> u16;
}

impl StatusCode for aws_smithy_runtime_api::client::orchestrator::HttpResponse {
    fn status(&self) -> u16 {
        Self::status(self).as_u16()
    }
}

/// Gives the error of a call the name of its action.
pub(crate) trait Named<T> {
    /// `client.create_image().send().await.named("CreateImage")`
    fn named(self, action: &'static str) -> Result<T, ApiError>;
}

impl<T, E, R> Named<T> for Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + StatusCode,
{
    fn named(self, action: &'static str) -> Result<T, ApiError> {
        self.map_err(|e| ApiError::new(action, &e))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn answered(code: &str) -> ApiError {
        ApiError {
            action: "CreateImage",
            code: Some(code.to_owned()),
            message: "text of EC2".to_owned(),
            outcome: Outcome::Refused,
        }
    }

    #[test]
    fn a_message_says_what_to_do_next() {
        let rows = [
            (
                answered("UnauthorizedOperation"),
                "ec2:CreateImage was refused: UnauthorizedOperation: text of EC2; allow ec2:CreateImage to this user or role, \
                 or leave out the option that needs it",
            ),
            (
                answered("AuthFailure"),
                "ec2:CreateImage was refused: AuthFailure: text of EC2; check the credentials, the profile and this machine's clock",
            ),
            (answered("InvalidParameterValue"), "ec2:CreateImage was refused: InvalidParameterValue: text of EC2"),
            (
                ApiError::incomplete("CreateImage", "image id"),
                "ec2:CreateImage failed: the answer has no image id; it may have taken effect all the same, which the clean-up looks for",
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn codes_have_one_meaning() {
        let rows = [
            ("InvalidInstanceID.NotFound", true, false),
            ("InvalidGroup.NotFound", true, false),
            ("InvalidAMIID.Unavailable", true, false),
            ("InvalidAMIID.Malformed", false, false),
            ("RequestLimitExceeded", false, true),
        ];
        for (code, not_found, passing) in rows {
            let error = answered(code);
            assert_eq!((error.is_not_found(), error.is_passing()), (not_found, passing), "{code}");
        }
    }
}
