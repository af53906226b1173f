//! Reads DNS messages and remembers which name an address was given for.
//!
//! The messages come from the container and from whoever answers it: any bytes must be read without panic, loop or large
//! allocation. `simple-dns` refuses a message for one type or record that it does not know and allocates by the counts in
//! the header, so what is needed here (questions, CNAME, A, AAAA) is read by hand, and tested against it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use wsp_schemas::address::is_nameable;
use wsp_schemas::text::RawText;

/// Most questions, and most answers, that are read of one message.
const RECORDS: usize = 64;
/// Most queries that wait for their answers, and most addresses that have names, per container.
const REMEMBERED: usize = 4096;

/// A question of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// Lower case, without the trailing dot.
    pub(super) name: RawText,
    /// Record type by its number.
    pub(super) rtype: u16,
}

/// A message that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What is used of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) questions: Vec<Question>,
    answers: Vec<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    owner: RawText,
    data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    Address(IpAddr),
    Alias(RawText),
}

impl Message {
    /// Reads the questions, which must all be there, and as many of the answers as can be read.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let word = |at: usize| word_at(bytes, at).ok_or(Malformed);
        let (id, questions, answers) = (word(0)?, word(4)?, word(6)?);
        word(10)?;
        let mut at = 12;
        let mut message = Self { id, questions: Vec::new(), answers: Vec::new() };
        for _ in 0..usize::from(questions).min(RECORDS) {
            let name = read_name(bytes, &mut at).ok_or(Malformed)?;
            let rtype = word(at)?;
            word(at + 2)?;
            at += 4;
            message.questions.push(Question { name, rtype });
        }
        if usize::from(questions) <= RECORDS {
            for _ in 0..usize::from(answers).min(RECORDS) {
                match read_answer(bytes, &mut at) {
                    Some(Some(answer)) => message.answers.push(answer),
                    Some(None) => {}
                    None => break,
                }
            }
        }
        Ok(message)
    }

    /// Addresses that the message gives for a name, through its aliases.
    fn addresses_of(&self, name: &RawText) -> Vec<IpAddr> {
        let mut names = vec![name];
        // Aliases usually come in order; a chain in reverse takes a turn for each link.
        for _ in 0..8 {
            let before = names.len();
            for answer in &self.answers {
                if let Data::Alias(target) = &answer.data
                    && names.contains(&&answer.owner)
                    && !names.contains(&target)
                {
                    names.push(target);
                }
            }
            if names.len() == before {
                break;
            }
        }
        let address = |answer: &Answer| match answer.data {
            Data::Address(address) if names.contains(&&answer.owner) => Some(address),
            _ => None,
        };
        self.answers.iter().filter_map(address).collect()
    }
}

/// Which names the container's resolvers gave for which addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    waiting: HashMap<(u64, u16), Vec<Question>>,
    waiting_order: VecDeque<(u64, u16)>,
    names: HashMap<IpAddr, RawText>,
    names_order: VecDeque<IpAddr>,
}

impl Names {
    /// Remembers a query, so that its answer counts.
    pub(super) fn asked(&mut self, socket: u64, message: &Message) {
        let key = (socket, message.id);
        if self.waiting.insert(key, message.questions.clone()).is_none() {
            self.waiting_order.push_back(key);
        }
        while self.waiting_order.len() > REMEMBERED {
            if let Some(oldest) = self.waiting_order.pop_front() {
                self.waiting.remove(&oldest);
            }
        }
    }

    /// Takes the addresses of an answer to a query that was seen: same socket, same id, same questions.
    pub(super) fn answered(&mut self, socket: u64, message: &Message) {
        if self.waiting.get(&(socket, message.id)).is_none_or(|questions| *questions != message.questions) {
            return;
        }
        for question in &message.questions {
            if !is_name(&question.name) {
                continue;
            }
            for address in message.addresses_of(&question.name) {
                if is_nameable(address) {
                    self.remember(address, &question.name);
                }
            }
        }
    }

    /// The name that was last given for an address.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<&RawText> {
        self.names.get(&address)
    }

    fn remember(&mut self, address: IpAddr, name: &RawText) {
        if self.names.insert(address, name.clone()).is_none() {
            self.names_order.push_back(address);
        }
        while self.names_order.len() > REMEMBERED {
            if let Some(oldest) = self.names_order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }
}

/// A name may stand in place of an address where it cannot be taken for one.
fn is_name(name: &RawText) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    name.as_bytes().iter().all(plain)
        && std::str::from_utf8(name.as_bytes())
            .is_ok_and(|text| text != "." && text.parse::<IpAddr>().is_err())
}

/// The name of a record type.
pub(super) fn type_name(rtype: u16) -> String {
    let known = match rtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        _ => return format!("TYPE{rtype}"),
    };
    known.to_owned()
}

fn word_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// Reads a name as text: labels in lower case with dots between; a dot or backslash inside a label with a backslash in
/// front, so that two names never have one text; `.` is the root. `at` is moved behind it.
fn read_name(bytes: &[u8], at: &mut usize) -> Option<RawText> {
    let mut out = Vec::new();
    let mut wire_len = 1;
    let mut here = *at;
    let mut after = None;
    loop {
        let len = *bytes.get(here)?;
        match len {
            0 => break,
            1..=63 => {
                wire_len += usize::from(len) + 1;
                if wire_len > 255 {
                    return None;
                }
                let label = bytes.get(here + 1..here + 1 + usize::from(len))?;
                if !out.is_empty() {
                    out.push(b'.');
                }
                for byte in label {
                    if matches!(byte, b'.' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte.to_ascii_lowercase());
                }
                here += 1 + usize::from(len);
            }
            192.. => {
                let target = usize::from(word_at(bytes, here)? & 0x3fff);
                after.get_or_insert(here + 2);
                // Only backwards, as compression does: so every chain of pointers ends.
                if target >= here {
                    return None;
                }
                here = target;
            }
            _ => return None,
        }
    }
    *at = after.unwrap_or(here + 1);
    if out.is_empty() {
        out.push(b'.');
    }
    Some(out.into())
}

/// None at the end of what can be read; `Some(None)` for a record that is not used.
fn read_answer(bytes: &[u8], at: &mut usize) -> Option<Option<Answer>> {
    let owner = read_name(bytes, at)?;
    let (rtype, class) = (word_at(bytes, *at)?, word_at(bytes, *at + 2)?);
    let len = usize::from(word_at(bytes, *at + 8)?);
    let start = *at + 10;
    let data = bytes.get(start..start + len)?;
    *at = start + len;
    let data = match (class, rtype) {
        (1, 1) => data.try_into().ok().map(|v4: [u8; 4]| Data::Address(v4.into())),
        (1, 28) => data.try_into().ok().map(|v6: [u8; 16]| Data::Address(Ipv6Addr::from(v6).to_canonical())),
        (1, 5) => read_name(bytes, &mut { start }).map(Data::Alias),
        _ => None,
    };
    Some(data.map(|data| Answer { owner, data }))
}

/// What must hold of any bytes: see [`crate::fuzz`].
#[cfg(all(feature = "ebpf", any(test, feature = "fuzz")))]
pub(crate) fn check(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    assert!(message.questions.len() <= RECORDS && message.answers.len() <= RECORDS);
    let mut query = [&message.id.to_be_bytes()[..], &[1, 0]].concat();
    query.extend_from_slice(&u16::try_from(message.questions.len()).unwrap_or_default().to_be_bytes());
    query.extend_from_slice(&[0; 6]);
    for Question { name, rtype } in &message.questions {
        // 255 bytes on the wire, each at most with a backslash in front.
        assert!(name.as_bytes().len() <= 2 * 255 && !name.as_bytes().iter().any(u8::is_ascii_uppercase));
        let mut labels = vec![Vec::new()];
        let mut bytes = name.as_bytes().iter().filter(|_| name.as_bytes() != b".");
        while let Some(byte) = bytes.next() {
            match (byte, labels.last_mut()) {
                (b'.', _) => labels.push(Vec::new()),
                (b'\\', Some(label)) => label.extend(bytes.next()),
                (byte, Some(label)) => label.push(*byte),
                (_, None) => {}
            }
        }
        for label in labels.iter().filter(|label| !label.is_empty()) {
            query.push(u8::try_from(label.len()).unwrap_or_default());
            query.extend_from_slice(label);
        }
        query.push(0);
        query.extend_from_slice(&rtype.to_be_bytes());
        query.extend_from_slice(&[0, 1]);
    }
    let again = Message::parse(&query).map(|message| message.questions);
    assert_eq!(again.as_ref(), Ok(&message.questions), "a name does not say what it was read from");
    let mut names = Names::default();
    names.asked(1, &message);
    names.answered(1, &message);
    assert!(names.names.keys().all(|address| is_nameable(*address)));
    assert!(names.names.len() <= RECORDS);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME, RData};
    use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question as Q, ResourceRecord, TYPE};

    use std::net::Ipv4Addr;

    use super::*;

    fn question(name: &str) -> Q<'_> {
        Q::new(Name::new_unchecked(name), QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false)
    }

    fn query(id: u16, name: &str) -> Message {
        let mut packet = Packet::new_query(id);
        packet.questions.push(question(name));
        Message::parse(&packet.build_bytes_vec().unwrap()).unwrap()
    }

    fn answer(id: u16, name: &str, records: Vec<(&'static str, RData<'static>)>) -> Message {
        let mut packet = Packet::new_reply(id);
        packet.questions.push(question(name));
        for (owner, data) in records {
            packet.answers.push(ResourceRecord::new(Name::new_unchecked(owner), CLASS::IN, 60, data));
        }
        Message::parse(&packet.build_bytes_vec_compressed().unwrap()).unwrap()
    }

    fn v4(text: &str) -> RData<'static> {
        RData::A(A { address: text.parse::<Ipv4Addr>().unwrap().into() })
    }

    #[test]
    fn names_follow_aliases_to_the_name_that_was_asked_for() {
        let mut names = Names::default();
        names.asked(7, &query(1, "API.example.com"));
        let alias = RData::CNAME(CNAME(Name::new_unchecked("edge.cdn.net")));
        let v6 = RData::AAAA(AAAA { address: "2001:db8::1".parse::<Ipv6Addr>().unwrap().into() });
        let records = vec![
            ("edge.cdn.net", v4("192.0.2.7")),
            ("edge.cdn.net", v6),
            ("api.example.com", alias),
            ("other.example.com", v4("192.0.2.8")),
        ];
        names.answered(7, &answer(1, "api.EXAMPLE.com", records));
        let name = |address: &str| names.name_of(address.parse().unwrap()).map(RawText::to_escaped);
        assert_eq!(name("192.0.2.7").as_deref(), Some("api.example.com"));
        assert_eq!(name("2001:db8::1").as_deref(), Some("api.example.com"));
        assert_eq!(name("192.0.2.8"), None);
    }

    #[test]
    fn only_answers_to_seen_queries_count() {
        let mut names = Names::default();
        names.asked(7, &query(1, "a.example"));
        names.answered(8, &answer(1, "a.example", vec![("a.example", v4("192.0.2.1"))]));
        names.answered(7, &answer(2, "a.example", vec![("a.example", v4("192.0.2.2"))]));
        names.answered(7, &answer(1, "b.example", vec![("b.example", v4("192.0.2.3"))]));
        assert!(names.names.is_empty());
    }

    #[test]
    fn special_addresses_and_names_like_addresses_are_never_taken() {
        let mut names = Names::default();
        names.asked(7, &query(1, "evil.example"));
        let records = ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "100.100.100.200"];
        let records = records.map(|address| ("evil.example", v4(address))).to_vec();
        names.answered(7, &answer(1, "evil.example", records));
        names.asked(7, &query(2, "10.0.0.1"));
        names.answered(7, &answer(2, "10.0.0.1", vec![("10.0.0.1", v4("192.0.2.1"))]));
        assert!(names.names.is_empty(), "{names:?}");
        for address in ["fd00:ec2::254", "fe80::1", "::1", "::", "ff02::fb", "::ffff:169.254.169.254"] {
            assert!(!is_nameable(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn hostile_labels_survive_and_stay_apart() {
        let header = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let name = |labels: &[&[u8]]| {
            let mut bytes = header.to_vec();
            for label in labels {
                bytes.push(u8::try_from(label.len()).unwrap());
                bytes.extend_from_slice(label);
            }
            bytes.extend_from_slice(&[0, 255, 31, 0, 1]);
            Message::parse(&bytes).unwrap().questions.remove(0)
        };
        assert_eq!(name(&[b"a.b"]).name.as_bytes(), b"a\\.b");
        assert_ne!(name(&[b"a.b"]), name(&[b"a", b"b"]));
        assert_ne!(name(&[b"a\\", b"b"]), name(&[b"a\\.b"]));
        assert_eq!(name(&[b"\xff\n\x1b", b"X"]).name.as_bytes(), b"\xff\n\x1b.x");
        assert_eq!(name(&[]).name, ".".into());
        assert_eq!(type_name(name(&[]).rtype), "TYPE65311");
    }

    #[test]
    fn memory_is_bounded() {
        let mut names = Names::default();
        for socket in 0..10_000 {
            names.asked(socket, &query(1, "a.example"));
        }
        assert_eq!((names.waiting.len(), names.waiting_order.len()), (REMEMBERED, REMEMBERED));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), shaped in any::<bool>()) {
            if shaped && bytes.len() > 12 {
                bytes[4..8].copy_from_slice(&[0, 2, 0, 9]);
                for byte in &mut bytes[12..] {
                    if *byte < 128 { *byte &= 7 } else { *byte |= 0xc0 }
                }
            }
            if let Ok(message) = Message::parse(&bytes) {
                let mut names = Names::default();
                names.asked(1, &message);
                names.answered(1, &message);
            }
        }
    }
}
