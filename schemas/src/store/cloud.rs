//! Object stores of the three providers, and of servers that speak like them.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ObjectStore, RetryConfig};
use url::Url;

use super::{Access, Addressing, StoreError};

pub(super) fn client(location: &str, url: &Url, access: &Access) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let asked = Asked { location, bucket: url.host_str().unwrap_or_default(), access };
    // Long enough for a throttled or restarting server, short enough that an unreachable one is an error within a minute.
    let retry =
        RetryConfig { max_retries: 6, retry_timeout: Duration::from_secs(40), ..RetryConfig::default() };
    let bucket = format!("{}://{}", url.scheme(), url.authority());
    let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match url.scheme() {
        "s3" | "s3a" => {
            asked.s3()?.with_url(bucket).with_retry(retry).build().map(|store| Arc::new(store) as _)
        }
        "gs" => asked.google()?.with_url(bucket).with_retry(retry).build().map(|store| Arc::new(store) as _),
        _ => asked.azure()?.with_url(bucket).with_retry(retry).build().map(|store| Arc::new(store) as _),
    };
    store.map_err(|source| StoreError::Client { url: location.to_owned(), source })
}

struct Asked<'a> {
    location: &'a str,
    bucket: &'a str,
    access: &'a Access,
}

impl Asked<'_> {
    fn s3(&self) -> Result<AmazonS3Builder, StoreError> {
        let mut builder = AmazonS3Builder::from_env();
        if let Some(endpoint) = self.endpoint()? {
            // Its own variable goes before the one for all services.
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        if let Some(region) = self.access.region() {
            builder = builder.with_region(region);
        }
        let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
            .into_iter()
            .find_map(|key| builder.get_config_value(&key));
        match self.access.addressing {
            Some(Addressing::Virtual) => {
                if let Some(endpoint) = &endpoint {
                    let endpoint = self.with_bucket(endpoint)?;
                    builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
                }
                builder = builder.with_virtual_hosted_style_request(true);
            }
            Some(Addressing::Path) => builder = builder.with_virtual_hosted_style_request(false),
            None => {}
        }
        if self.access.anonymous {
            builder = builder.with_skip_signature(true);
        }
        if allows_http(endpoint.as_deref(), "AWS_ALLOW_HTTP") {
            builder = builder.with_allow_http(true);
        }
        Ok(builder)
    }

    fn google(&self) -> Result<GoogleCloudStorageBuilder, StoreError> {
        let mut builder = GoogleCloudStorageBuilder::from_env();
        if let Some(endpoint) = self.endpoint()? {
            builder = builder.with_base_url(&endpoint);
        } else if builder.get_config_value(&GoogleConfigKey::BaseUrl).is_none()
            && let Some(emulator) = variable("STORAGE_EMULATOR_HOST")
        {
            // As Google's own libraries read it: with or without `http://`, and without credentials.
            let emulator = if emulator.contains("://") { emulator } else { format!("http://{emulator}") };
            builder = builder.with_base_url(&emulator).with_skip_signature(true);
        }
        if self.access.anonymous {
            builder = builder.with_skip_signature(true);
        }
        let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
        if allows_http(endpoint.as_deref(), "GOOGLE_ALLOW_HTTP") {
            builder = builder
                .with_config(GoogleConfigKey::Client(object_store::ClientConfigKey::AllowHttp), "true");
        }
        Ok(builder)
    }

    fn azure(&self) -> Result<MicrosoftAzureBuilder, StoreError> {
        let mut builder = MicrosoftAzureBuilder::from_env();
        // What Azure's own command line calls them.
        for (key, name) in [
            (AzureConfigKey::AccountName, "AZURE_STORAGE_ACCOUNT"),
            (AzureConfigKey::AccessKey, "AZURE_STORAGE_KEY"),
        ] {
            if builder.get_config_value(&key).is_none()
                && let Some(value) = variable(name)
            {
                builder = builder.with_config(key, value);
            }
        }
        // One account's name goes with no other one's key.
        if builder.get_config_value(&AzureConfigKey::AccountName).is_none()
            && let Some(text) = variable("AZURE_STORAGE_CONNECTION_STRING")
        {
            for (key, value) in connection(&text) {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = self.endpoint()? {
            builder = builder.with_endpoint(endpoint).with_use_emulator(false);
        }
        if self.access.anonymous {
            builder = builder.with_skip_signature(true);
        }
        let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
        if allows_http(endpoint.as_deref(), "AZURE_ALLOW_HTTP") {
            builder = builder.with_allow_http(true);
        }
        Ok(builder)
    }

    /// The endpoint that was given as an option.
    fn endpoint(&self) -> Result<Option<String>, StoreError> {
        let Some(endpoint) = self.access.endpoint() else { return Ok(None) };
        let url = self.server(endpoint)?;
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }

    fn server(&self, endpoint: &str) -> Result<Url, StoreError> {
        let url = Url::parse(endpoint).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
        });
        url.ok_or_else(|| {
            self.no_endpoint(
                endpoint,
                "is no server's address: https://HOST, or http://HOST:PORT without encryption",
            )
        })
    }

    /// An endpoint with the bucket as a host below it; one that has it already stays.
    fn with_bucket(&self, endpoint: &str) -> Result<String, StoreError> {
        let mut url = self.server(endpoint)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        if host != self.bucket && !host.starts_with(&format!("{}.", self.bucket)) {
            url.set_host(Some(&format!("{}.{host}", self.bucket))).map_err(|_| {
                self.no_endpoint(
                    endpoint,
                    "has no hosts below it, as `--store-addressing virtual` needs: leave that out",
                )
            })?;
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    fn no_endpoint(&self, endpoint: &str, reason: &'static str) -> StoreError {
        StoreError::Endpoint { endpoint: endpoint.to_owned(), url: self.location.to_owned(), reason }
    }
}

/// Who writes `http://` means it; the provider's own variable may forbid it all the same.
fn allows_http(endpoint: Option<&str>, forbidden_by: &str) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) && variable(forbidden_by).is_none()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a connection string of Azure says.
fn connection(text: &str) -> Vec<(AzureConfigKey, String)> {
    let parts: Vec<(&str, &str)> = text
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let part = |name: &str| {
        let found = parts.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| (*value).to_owned())
    };
    if part("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return vec![(AzureConfigKey::UseEmulator, "true".to_owned())];
    }
    let endpoint = part("BlobEndpoint").or_else(|| {
        let suffix = part("EndpointSuffix")?;
        let protocol = part("DefaultEndpointsProtocol").unwrap_or_else(|| "https".to_owned());
        Some(format!("{protocol}://{}.blob.{suffix}", part("AccountName")?))
    });
    // Where a signature stands for the account's name, its endpoint has it.
    let account = part("AccountName").or_else(|| {
        let endpoint = Url::parse(endpoint.as_deref()?).ok()?;
        Some(endpoint.host_str()?.split_once('.')?.0.to_owned())
    });
    let said = [
        (AzureConfigKey::AccountName, account),
        (AzureConfigKey::AccessKey, part("AccountKey")),
        (AzureConfigKey::SasKey, part("SharedAccessSignature")),
        (AzureConfigKey::Endpoint, endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned())),
    ];
    said.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(access: &'a Access, bucket: &'a str) -> Asked<'a> {
        Asked { location: "s3://bucket/prefix", bucket, access }
    }

    #[test]
    fn the_bucket_becomes_a_host_below_the_endpoint() {
        let access = Access::default();
        let asked = asked(&access, "bucket");
        for (endpoint, expected) in [
            ("https://s3.example.com", Some("https://bucket.s3.example.com")),
            ("http://minio:9000/", Some("http://bucket.minio:9000")),
            ("https://bucket.s3.example.com", Some("https://bucket.s3.example.com")),
            ("https://bucketeer.example.com", Some("https://bucket.bucketeer.example.com")),
            ("http://127.0.0.1:9000", None),
            ("http://[::1]:9000", None),
        ] {
            assert_eq!(asked.with_bucket(endpoint).ok().as_deref(), expected, "{endpoint}");
        }
    }

    #[test]
    fn an_endpoint_is_a_servers_address() {
        for endpoint in ["minio:9000", "ftp://minio", "minio", "https://", "http://minio/?x=y"] {
            let access = Access { endpoint: Some(endpoint.to_owned()), ..Access::default() };
            let error = asked(&access, "bucket").endpoint().unwrap_err().to_string();
            assert!(error.contains(endpoint) && error.contains("https://HOST"), "{error}");
        }
    }

    #[test]
    fn options_go_before_the_environment_and_http_needs_no_more_than_the_word() {
        let http = AmazonS3ConfigKey::Client(object_store::ClientConfigKey::AllowHttp);
        let access = Access {
            endpoint: Some("http://minio:9000/".to_owned()),
            region: Some("eu-central-1".to_owned()),
            addressing: Some(Addressing::Path),
            anonymous: true,
        };
        // SAFETY: nextest runs each test in a process of its own, and this one has one thread.
        unsafe {
            for (name, value) in [
                ("AWS_ENDPOINT_URL_S3", "https://elsewhere"),
                ("AWS_REGION", "us-west-1"),
                ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
            ] {
                std::env::set_var(name, value);
            }
        }
        let builder = asked(&access, "bucket").s3().unwrap();
        let value = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).unwrap();
        assert_eq!(value(&builder, AmazonS3ConfigKey::S3Endpoint), "http://minio:9000");
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region), "eu-central-1");
        assert_eq!(value(&builder, AmazonS3ConfigKey::VirtualHostedStyleRequest), "false");
        assert_eq!(value(&builder, AmazonS3ConfigKey::SkipSignature), "true");
        assert_eq!(value(&builder, http), "true");
        let builder = asked(&Access::default(), "bucket").s3().unwrap();
        assert_eq!(value(&builder, AmazonS3ConfigKey::S3Endpoint), "https://elsewhere");
        assert_eq!(value(&builder, http), "false");
        // SAFETY: as above.
        unsafe { std::env::set_var("AWS_ALLOW_HTTP", "false") };
        assert_eq!(value(&asked(&access, "bucket").s3().unwrap(), http), "false");
    }

    #[test]
    fn googles_emulator_is_found_as_its_own_libraries_find_it() {
        // SAFETY: nextest runs each test in a process of its own, and this one has one thread.
        unsafe { std::env::set_var("STORAGE_EMULATOR_HOST", "localhost:4443") };
        let value = |builder: &GoogleCloudStorageBuilder, key| builder.get_config_value(&key);
        let builder = asked(&Access::default(), "bucket").google().unwrap();
        assert_eq!(value(&builder, GoogleConfigKey::BaseUrl).as_deref(), Some("http://localhost:4443"));
        assert_eq!(value(&builder, GoogleConfigKey::SkipSignature).as_deref(), Some("true"));
        let access = Access { endpoint: Some("https://elsewhere".to_owned()), ..Access::default() };
        let builder = asked(&access, "bucket").google().unwrap();
        assert_eq!(value(&builder, GoogleConfigKey::BaseUrl).as_deref(), Some("https://elsewhere"));
        assert_eq!(value(&builder, GoogleConfigKey::SkipSignature).as_deref(), Some("false"));
    }

    #[test]
    fn a_connection_string_names_account_key_and_endpoint() {
        let said = |text: &str| {
            let mut said: Vec<String> =
                connection(text).iter().map(|(key, value)| format!("{}={value}", key.as_ref())).collect();
            said.sort();
            said.join(" ")
        };
        assert_eq!(
            said(
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5==;EndpointSuffix=core.windows.net"
            ),
            "azure_storage_account_key=a2V5== azure_storage_account_name=a azure_storage_endpoint=https://a.blob.core.windows.net"
        );
        assert_eq!(
            said("BlobEndpoint=https://b.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=x%3D"),
            "azure_storage_account_name=b azure_storage_endpoint=https://b.blob.core.windows.net azure_storage_sas_key=sv=1&sig=x%3D"
        );
        assert_eq!(said("UseDevelopmentStorage=true"), "azure_storage_use_emulator=true");
        assert_eq!(said("nonsense"), "");
    }
}
