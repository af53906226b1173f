use super::{Missing, Store, StoreError, open_with};

/// How an object store is reached, where its provider's environment variables do not say it, or say something else. What is
/// empty is not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct Access {
    /// Where the object store answers, if not at its provider's usual address; with http:// it is asked without encryption
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "store-endpoint",
            env = "WSP_STORE_ENDPOINT",
            value_name = "URL",
            help_heading = "Object stores"
        )
    )]
    pub endpoint: Option<String>,
    /// Region of an s3:// store [default: AWS_REGION, AWS_DEFAULT_REGION, us-east-1]
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "store-region",
            env = "WSP_STORE_REGION",
            value_name = "NAME",
            help_heading = "Object stores"
        )
    )]
    pub region: Option<String>,
    /// How requests name the bucket of an s3:// store: in the path, or as virtual host below the endpoint [default: path]
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "store-addressing",
            env = "WSP_STORE_ADDRESSING",
            value_name = "STYLE",
            value_enum,
            help_heading = "Object stores"
        )
    )]
    pub addressing: Option<Addressing>,
    /// Do not sign requests: for stores that everybody may read
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "store-anonymous", env = "WSP_STORE_ANONYMOUS", value_parser = clap::builder::BoolishValueParser::new(),
            help_heading = "Object stores"
        )
    )]
    pub anonymous: bool,
}

/// How requests name a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[cfg_attr(feature = "clap", value(rename_all = "lower"))]
pub enum Addressing {
    /// `https://HOST/BUCKET/KEY`
    Path,
    /// `https://BUCKET.HOST/KEY`
    Virtual,
}

/// What kinds of store there are, as far as options go.
const S3: [&str; 2] = ["s3", "s3a"];
const LOCAL: [&str; 2] = ["file", "memory"];

impl Access {
    /// Opens the store at a URL or folder.
    pub fn open(&self, location: &str, missing: Missing) -> Result<Store, StoreError> {
        open_with(location, self, missing)
    }

    /// The same for a second store, which the first one's options hold for where it is of the same kind.
    #[must_use]
    pub fn beside(&self, first: &str, second: &str) -> Self {
        let kind = |location: &str| location.split_once("://").map(|(scheme, _)| scheme.to_owned());
        if kind(first) == kind(second) { self.clone() } else { Self::default() }
    }

    pub(super) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref().filter(|region| !region.is_empty())
    }

    /// Refuses what a store of that kind has no use for: whoever gives it means another store.
    pub(super) fn check(&self, scheme: &str, location: &str) -> Result<(), StoreError> {
        let (is_local, is_s3) = (LOCAL.contains(&scheme), S3.contains(&scheme));
        let anywhere = "it is no object store";
        let s3_only = if is_local { anywhere } else { "only s3:// stores have it" };
        let given = [
            ("--store-endpoint", "WSP_STORE_ENDPOINT", self.endpoint().is_some() && is_local, anywhere),
            ("--store-region", "WSP_STORE_REGION", self.region().is_some() && !is_s3, s3_only),
            ("--store-addressing", "WSP_STORE_ADDRESSING", self.addressing.is_some() && !is_s3, s3_only),
            ("--store-anonymous", "WSP_STORE_ANONYMOUS", self.anonymous && is_local, anywhere),
        ];
        match given.into_iter().find(|(_, _, is_wrong, _)| *is_wrong) {
            Some((option, variable, _, reason)) => {
                Err(StoreError::Option { option, variable, url: location.to_owned(), reason })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_for_a_store_is_refused_by_name() {
        let endpoint = Access { endpoint: Some("http://x".to_owned()), ..Access::default() };
        let region = Access { region: Some("eu-central-1".to_owned()), ..Access::default() };
        let path = Access { addressing: Some(Addressing::Path), ..Access::default() };
        let anonymous = Access { anonymous: true, ..Access::default() };
        for (access, location, option) in [
            (&endpoint, "/tmp", "--store-endpoint"),
            (&endpoint, "memory:///", "--store-endpoint"),
            (&region, "az://c/p", "--store-region"),
            (&region, "/tmp", "--store-region"),
            (&path, "gs://b/p", "--store-addressing"),
            (&anonymous, "file:///tmp", "--store-anonymous"),
        ] {
            let error = access.open(location, Missing::Refuse).unwrap_err().to_string();
            assert!(error.contains(option) && error.contains("WSP_STORE_"), "{error}");
            assert!(error.contains(location), "{error}");
        }
        let empty =
            Access { endpoint: Some(String::new()), region: Some(String::new()), ..Access::default() };
        assert!(empty.open("memory:///", Missing::Refuse).is_ok());
        assert!(region.check("s3", "s3://b").is_ok() && path.check("s3a", "s3a://b").is_ok());
        assert!(endpoint.check("az", "az://c").is_ok() && anonymous.check("gs", "gs://b").is_ok());
    }

    #[test]
    fn options_hold_for_a_second_store_of_the_same_kind() {
        let access = Access { region: Some("eu-central-1".to_owned()), ..Access::default() };
        assert_eq!(access.beside("s3://a/b", "s3://c"), access);
        assert_eq!(access.beside("s3://a/b", "/folder"), Access::default());
    }
}
