//! Both ways to read a snapshot: whatever one says, the other must.

use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use wsp_schemas::identity::NodeId;
use wsp_schemas::snapshot::{DecodeError, Limits, Scan, Scanner, Verified};
use wsp_schemas::tables::{CONSTANT_COLUMNS, SNAPSHOT};

/// As [`wsp_schemas::snapshot::decode`], once a scanner has said the same: for the first time, and with what it remembers.
#[expect(clippy::needless_pass_by_value, reason = "the signature of what it stands for")]
pub fn decode(file: Bytes, limits: &Limits) -> Result<Verified, DecodeError> {
    let decoded = wsp_schemas::snapshot::decode(file.clone(), limits);
    let mut scanner = Scanner::default();
    for time in ["first", "second"] {
        match (&decoded, scanner.scan(&file, limits)) {
            (Ok(decoded), Ok(scan)) => assert_same(decoded, &scan, &scanner),
            (Err(decoded), Err(scanned)) => assert_eq!(decoded.to_string(), scanned.to_string(), "{time}"),
            (decoded, scanned) => panic!(
                "{time}: {:?}, but {:?}",
                decoded.as_ref().map(|decoded| decoded.meta.id),
                scanned.map(|scan| scan.meta.id)
            ),
        }
    }
    decoded
}

fn assert_same(decoded: &Verified, scan: &Scan, scanner: &Scanner) {
    assert_eq!((&decoded.meta, decoded.content_hash), (&scan.meta, scan.content_hash));
    let rows = &decoded.rows;
    assert_eq!(rows.num_rows(), scan.len());
    let places: Vec<(usize, usize)> = (0..scan.len()).map(|row| (0, row)).collect();
    for column in SNAPSHOT.columns {
        let gathered = Scan::gather(column.name, &[scan], &places);
        assert_eq!(gathered.is_none(), CONSTANT_COLUMNS.contains(&column.name), "{}", column.name);
        let Some(gathered) = gathered else { continue };
        let expected = match rows[column.name].data_type() {
            DataType::FixedSizeBinary(_) => cast(&rows[column.name], &DataType::Binary).unwrap(),
            _ => rows[column.name].clone(),
        };
        assert_eq!(&gathered, &expected, "{}", column.name);
    }
    let ids = Scan::gather("node_id", &[scan], &places).unwrap();
    for (row, number) in scan.numbers().iter().enumerate() {
        let id: [u8; 16] = arrow::array::AsArray::as_binary::<i32>(&ids).value(row).try_into().unwrap();
        assert_eq!(scanner.node(*number), Some(NodeId::from_bytes(id)));
        let text = |name: &str| arrow::array::AsArray::as_string::<i32>(&rows[name]).value(row).to_owned();
        assert_eq!(scan.is_startup(row), text("phase") == "startup");
    }
}
