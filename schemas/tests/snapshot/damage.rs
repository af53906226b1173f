//! Damage by accident: wherever a file is cut or a bit flips, it is refused, or says what it said before.

use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use wsp_schemas::snapshot::{Limits, encode, reseal};

use crate::both::decode;
use crate::forge::Forged;
use crate::nodes;

#[test]
fn cut_off_anywhere() {
    let file = encode(&nodes::meta(1), &nodes::hostile()).unwrap();
    for end in (0..file.len()).step_by(7).chain(file.len() - 20..file.len()) {
        let error = decode(Bytes::copy_from_slice(&file[..end]), &Limits::default()).unwrap_err();
        assert!(error.to_string().starts_with("not a readable Parquet file: "), "{end}: {error}");
    }
}

#[test]
fn something_appended() {
    let mut file = encode(&nodes::meta(1), &nodes::hostile()).unwrap();
    file.push(0);
    assert!(decode(Bytes::from(file), &Limits::default()).is_err());
}

#[test]
fn a_flipped_bit_in_a_written_file_never_changes_what_it_says() {
    let file = encode(&nodes::meta(1), &nodes::hostile()).unwrap();
    let whole = decode(Bytes::from(file.clone()), &Limits::default()).unwrap();
    let name = file.windows(10).rposition(|window| window == b"wsp.blake3").unwrap();
    for at in (0..file.len()).step_by(5).chain(name..name + 10) {
        let mut file = file.clone();
        file[at] ^= 1 << (at / 5 % 8);
        if let Ok(back) = decode(Bytes::from(file), &Limits::default()) {
            // Only under another name is the proof not looked at.
            assert!((name..name + 10).contains(&at), "byte {at}");
            assert!((back.meta, back.rows) == (whole.meta.clone(), whole.rows.clone()), "byte {at}");
        }
    }
}

#[test]
fn a_value_that_was_changed_in_place_is_read_once_the_file_is_sealed_anew() {
    let meta = nodes::meta(1);
    let mut file = encode(&meta, &nodes::hostile()).unwrap();
    let host = meta.host.as_bytes();
    let at = file.windows(host.len()).position(|window| window == host).unwrap();
    file[at] ^= 1;
    assert!(decode(Bytes::from(file.clone()), &Limits::default()).is_err());
    assert!(reseal(&mut file));
    let back = decode(Bytes::from(file), &Limits::default()).unwrap();
    assert_eq!(back.meta.host.as_bytes()[1..], host[1..]);
    assert_ne!(back.meta.host, meta.host);

    // The name of the entry may stand in a path.
    let mut other = b"PAR1 /tmp/wsp.blake3 00000000000000000000000000000000 PAR1".to_vec();
    let before = other.clone();
    assert!(!reseal(&mut other));
    assert_eq!(other, before);
}

#[test]
fn a_flipped_bit_in_a_forged_file_never_passes_a_wrong_id() {
    let forged = Forged::hostile();
    let file = forged.write(parquet::file::properties::WriterProperties::default());
    for at in (0..file.len()).step_by(11) {
        let mut file = file.to_vec();
        file[at] ^= 1 << (at / 11 % 8);
        if let Ok(back) = decode(Bytes::from(file), &Limits::default()) {
            assert_eq!(back.rows["node_id"].as_ref(), forged.rows["node_id"].as_ref(), "byte {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bytes_written_over_never_panic(at in any::<prop::sample::Index>(), bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
        static FILE: LazyLock<Vec<u8>> =
            LazyLock::new(|| Forged::hostile().write(parquet::file::properties::WriterProperties::default()).to_vec());
        let mut file = FILE.clone();
        let at = at.index(file.len());
        file.iter_mut().skip(at).zip(&bytes).for_each(|(old, new)| *old = *new);
        let _ = decode(Bytes::from(file), &Limits::default());
    }
}
