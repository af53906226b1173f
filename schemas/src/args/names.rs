//! What a name says of the value behind it.

/// How sure it is that a value is a secret, going by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// `--db-password`, `PGPASSWORD`, `x-api-key`: whatever it is.
    Secret,
    /// `--key`, `sig`: where it looks made up by a machine.
    Perhaps,
    /// Everything else.
    Other,
}

/// Parts between `-`, `_` and `.` that make a name one of a secret.
const PARTS: &[&[u8]] = &[
    b"pass",
    b"pwd",
    b"passwd",
    b"pw",
    b"psw",
    b"passcode",
    b"cookie",
    b"jwt",
    b"bearer",
    b"authtok",
    b"credential",
    b"credentials",
];
/// What makes a name one of a secret wherever it stands, `-`, `_` and `.` left out.
const ANYWHERE: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"apikey",
    b"accesskey",
    b"privatekey",
    b"accountkey",
    b"requirepass",
    b"masterauth",
    b"storepass",
    b"keypass",
    b"rootpass",
    b"dbpass",
    b"authkey",
    b"setcookie",
    b"userpass",
    b"authorization",
];
/// Last parts that say that the value is something about the secret.
const ABOUT: &[&[u8]] = &[
    b"file",
    b"files",
    b"path",
    b"dir",
    b"stdin",
    b"prompt",
    b"name",
    b"names",
    b"type",
    b"ttl",
    b"url",
    b"uri",
    b"endpoint",
    b"length",
    b"len",
    b"size",
    b"policy",
    b"arn",
    b"expiry",
    b"expires",
    b"expiration",
    b"count",
    b"limit",
    b"max",
    b"min",
    b"format",
    b"method",
    b"plugin",
    b"provider",
    b"server",
    b"host",
    b"port",
    b"issuer",
    b"age",
    b"lifetime",
    b"timeout",
    b"encryption",
    b"algorithm",
    b"from",
    b"version",
    b"env",
    b"class",
    b"jar",
    b"tokens",
    b"secrets",
    b"tokenizer",
    b"enabled",
    b"required",
    b"mode",
    b"store",
    b"driver",
    b"helper",
    b"command",
];
/// Last parts that may be of a secret, or of a field to sort by.
const PERHAPS: &[&[u8]] = &[
    b"key",
    b"auth",
    b"sig",
    b"signature",
    b"session",
    b"sid",
    b"otp",
    b"salt",
    b"seed",
    b"code",
    b"license",
];

/// `name` is without dashes in front.
pub(super) fn named(name: &[u8]) -> Named {
    let mut split = Vec::with_capacity(name.len());
    for (at, byte) in name.iter().enumerate() {
        // `accountKey` has two parts.
        if byte.is_ascii_uppercase() && at > 0 && name[at - 1].is_ascii_lowercase() {
            split.push(b'-');
        }
        split.push(byte.to_ascii_lowercase());
    }
    let parts = || split.split(|byte| b"-_.".contains(byte)).filter(|part| !part.is_empty());
    let (Some(first), Some(last)) = (parts().next(), parts().next_back()) else { return Named::Other };
    let joined: Vec<u8> = parts().flatten().copied().collect();
    let anywhere = ANYWHERE.iter().any(|word| joined.windows(word.len()).any(|window| window == *word));
    if anywhere || parts().any(|part| PARTS.contains(&part)) {
        return match last {
            // `secret_id` of Vault is one, `--secret-id` of AWS is a name.
            b"id" => Named::Perhaps,
            _ if ABOUT.contains(&last) || first == b"no" || first == b"max" => Named::Other,
            _ => Named::Secret,
        };
    }
    let public = joined.starts_with(b"public") || joined.starts_with(b"pub");
    if PERHAPS.contains(&last) && !public { Named::Perhaps } else { Named::Other }
}
