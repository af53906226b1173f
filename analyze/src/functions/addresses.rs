//! `is_public(address)`: whether a text is an address that anybody on the internet may have; false for names.
//! `in_network(address, cidr, …)`: whether it is an address in one of the networks, which are literals.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use ipnet::IpNet;

/// Networks whose addresses are not for the internet (IANA's registries of special-purpose addresses; RFC 6890, 8190).
const NOT_PUBLIC: [&str; 26] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// `is_public`.
pub fn is_public() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Addresses { name: "is_public", signature }))
}

/// `in_network`.
pub fn in_network() -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Addresses { name: "in_network", signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Addresses {
    name: &'static str,
    signature: Signature,
}

impl Addresses {
    fn is_public(&self) -> bool {
        self.name == "is_public"
    }
}

impl ScalarUDFImpl for Addresses {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let networks = arguments.len().saturating_sub(1);
        match arguments.first() {
            Some(DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null)
                if self.is_public() || networks > 0 =>
            {
                Ok(DataType::Boolean)
            }
            _ if self.is_public() => plan_err!("is_public takes an address"),
            _ => plan_err!("in_network takes an address, and networks like '10.0.0.0/8'"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((addresses, networks)) = args.args.split_first() else {
            return exec_err!("{} takes an address", self.name);
        };
        let networks = if self.is_public() {
            NOT_PUBLIC.iter().map(|network| parse(network)).collect::<Result<Vec<_>>>()?
        } else {
            networks.iter().map(network).collect::<Result<Vec<_>>>()?
        };
        let addresses = cast(&addresses.to_array(args.number_rows)?, &DataType::Utf8)?;
        let found = addresses.as_string::<i32>().iter().map(|text| {
            // A name is no address of any kind.
            let Ok(address) = text?.parse::<IpAddr>() else { return Some(false) };
            // A mapped address reaches the IPv4 host.
            let address = address.to_canonical();
            Some(networks.iter().any(|network| network.contains(&address)) != self.is_public())
        });
        Ok(ColumnarValue::Array(Arc::new(found.collect::<BooleanArray>()) as ArrayRef))
    }
}

fn network(value: &ColumnarValue) -> Result<IpNet> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => {
            parse(text)
        }
        _ => exec_err!("the networks of in_network must be literals"),
    }
}

fn parse(text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| exec_datafusion_err!("`{}` is no network like 10.0.0.0/8", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn who_has_an_address() {
        let mut context = SessionContext::new();
        super::super::register(&mut context).unwrap();
        for (sql, answer) in [
            ("is_public('8.8.8.8')", "true"),
            ("is_public('2a00:1450::1')", "true"),
            ("is_public('10.1.2.3')", "false"),
            ("is_public('::ffff:10.1.2.3')", "false"),
            ("is_public('203.0.113.66')", "false"),
            ("is_public('100.64.0.1')", "false"),
            ("is_public('::1')", "false"),
            ("is_public('example.com')", "false"),
            ("is_public(NULL)", ""),
            ("in_network('10.1.2.3', '192.168.0.0/16', '10.0.0.0/8')", "true"),
            ("in_network('fd00::1', 'fc00::/7')", "true"),
            ("in_network('example.com', '0.0.0.0/0')", "false"),
        ] {
            let frame = context.sql(&format!("SELECT {sql} AS x")).await.unwrap();
            let rows = frame.collect().await.unwrap();
            let found = arrow::util::display::array_value_to_string(rows[0].column(0), 0).unwrap();
            assert_eq!(found, answer, "{sql}");
        }
        let bad = context.sql("SELECT in_network('10.0.0.1', '10.0.0.0')").await;
        let text = match bad {
            Ok(frame) => frame.collect().await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(text.contains("`10.0.0.0` is no network like 10.0.0.0/8"), "{text}");
    }
}
