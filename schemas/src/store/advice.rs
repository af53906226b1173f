use std::error::Error;

/// What to do about an error of an object store, where it is something for people to mend: in the network, in the credentials,
/// in the store's name. It is known by the provider's own words, because libraries wrap errors in ways that hide their kind.
pub fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    advice_on(&whole(error))
}

/// Whether an error says that not only an object is missing, but the bucket or container.
pub fn is_bucket_missing(error: &(dyn Error + 'static)) -> bool {
    let text = whole(error);
    NO_BUCKET.iter().any(|word| text.contains(word))
}

/// Whether an error says that the credentials are wrong: not only that they do not allow something.
pub fn are_credentials_wrong(error: &(dyn Error + 'static)) -> bool {
    const WRONG: [&str; 5] = [
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "NotSignedUp",
        "AuthenticationFailed",
        "the Authorization header is formed correctly including the signature",
    ];
    let text = whole(error);
    WRONG.iter().any(|word| text.contains(word))
}

/// An error with all its causes.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += "\n";
        text += &cause.to_string();
        source = cause.source();
    }
    text
}

/// How providers say that there is no such bucket.
const NO_BUCKET: [&str; 4] =
    ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist", "ContainerBeingDeleted"];

/// How the client begins what it says.
const CLIENT: [&str; 5] =
    ["Generic ", "Object at location ", "The operation lacked ", "Error performing ", "must be specified"];

/// The same for an error with all its causes as one text.
pub fn advice_on(text: &str) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if !says(&CLIENT) {
        return None;
    }
    let provider = provider(text);
    Some(
        if says(&["169.254.169.254", "169.254.170.2", "metadata.google.internal", "metadata/identity/oauth2"])
        {
            format!(
                "no credentials were found: set {}, or give --store-anonymous for a store that everybody may read",
                provider.credentials
            )
        } else if says(&["Account must be specified"]) {
            "set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING".to_owned()
        } else if says(&[
            "Missing AccessKeyId",
            "Missing SecretAccessKey",
            "Configuration for Azure",
            "Failed to decode key",
        ]) {
            format!("the credentials are not whole: set {}", provider.credentials)
        } else if says(&NO_BUCKET) {
            format!(
                "there is no such {0}: check the URL and the endpoint, or make the {0} first",
                provider.bucket
            )
        } else if says(&["RequestTimeTooSkewed", "RequestExpired"]) {
            "this machine's clock is wrong: object stores refuse requests that are minutes off".to_owned()
        } else if says(&[
            "incorrectly configured region",
            "AuthorizationHeaderMalformed",
            "PermanentRedirect",
            "IllegalLocationConstraint",
        ]) {
            "the store is in another region: give it with --store-region, or in AWS_REGION".to_owned()
        } else if says(&[
            "The operation lacked ",
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "AuthenticationFailed",
            "AuthorizationFailure",
            "AccessDenied",
            "InvalidToken",
            "ExpiredToken",
            "NotSignedUp",
            "PublicAccessNotPermitted",
            "NoAuthenticationInformation",
            "403 Forbidden",
            "401 Unauthorized",
        ]) {
            format!(
                "the store refuses the credentials: check {}, and what they may do there",
                provider.credentials
            )
        } else if says(&["URL scheme is not allowed", "HTTP error: builder error"]) {
            "the endpoint is http://, which the environment forbids: unset AWS_ALLOW_HTTP, AZURE_ALLOW_HTTP or GOOGLE_ALLOW_HTTP, or set it to true"
            .to_owned()
        } else if says(&["HTTP error: "]) {
            format!(
                "nothing answers there as an object store does: check the network, and --store-endpoint or {}",
                provider.endpoint
            )
        } else {
            return None;
        },
    )
}

struct Provider {
    credentials: &'static str,
    endpoint: &'static str,
    bucket: &'static str,
}

fn provider(text: &str) -> Provider {
    if ["MicrosoftAzure", "az://", "azure://", "abfs://", "abfss://", "azure_", "Azure"]
        .iter()
        .any(|word| text.contains(word))
    {
        Provider {
            credentials: "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING",
            endpoint: "AZURE_STORAGE_ENDPOINT",
            bucket: "container",
        }
    } else if ["GCS", "gs://", "google"].iter().any(|word| text.contains(word)) {
        Provider {
            credentials: "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
            endpoint: "STORAGE_EMULATOR_HOST",
            bucket: "bucket",
        }
    } else {
        Provider {
            credentials: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN, where they are temporary)",
            endpoint: "AWS_ENDPOINT_URL",
            bucket: "bucket",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_common_mistake_has_its_advice() {
        for (text, expected) in [
            (
                "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token",
                "AWS_ACCESS_KEY_ID",
            ),
            ("Generic S3 error: <Code>NoSuchBucket</Code>", "no such bucket"),
            ("Generic MicrosoftAzure error: <Code>ContainerNotFound</Code>", "no such container"),
            ("Generic GCS error: 401 Unauthorized", "GOOGLE_APPLICATION_CREDENTIALS"),
            ("Generic S3 error: HTTP error: error sending request", "AWS_ENDPOINT_URL"),
            ("Generic MicrosoftAzure error: Account must be specified", "AZURE_STORAGE_ACCOUNT_NAME"),
            (
                "Generic S3 error: Received redirect without LOCATION, this normally indicates an incorrectly configured region",
                "--store-region",
            ),
        ] {
            assert!(advice_on(text).unwrap().contains(expected), "{text}: {:?}", advice_on(text));
        }
        assert_eq!(advice_on("no field named NoSuchBucket"), None);
        assert_eq!(advice_on("Object at location a not found"), None);
    }
}
