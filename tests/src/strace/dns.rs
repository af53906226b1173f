//! Questions in DNS messages.

use wsp_schemas::text::RawText;

/// The questions of a query: name and type. `None` where the bytes are not a whole DNS message, or are an answer.
pub(super) fn questions(message: &[u8]) -> Option<Vec<(RawText, String)>> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    if word(2)? & 0x8000 != 0 {
        return None;
    }
    let mut at = 12;
    let mut questions = Vec::new();
    for _ in 0..word(4)? {
        let mut name = Vec::new();
        loop {
            let length = usize::from(*message.get(at)?);
            let label = message.get(at + 1..at + 1 + length)?;
            at += 1 + length;
            if length == 0 {
                break;
            }
            // No compression in a question's first name, and nothing else starts with these bits.
            if length > 63 {
                return None;
            }
            if !name.is_empty() {
                name.push(b'.');
            }
            name.extend(label.to_ascii_lowercase());
        }
        if name.is_empty() {
            name.push(b'.');
        }
        questions.push((RawText::new(name), type_name(word(at)?)));
        at += 4;
    }
    (at <= message.len()).then_some(questions)
}

fn type_name(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    name.to_owned()
}
