#![no_main]

// A panic in the Parquet reader is an error of the file, and no finding: it is caught. One that is not caught still ends the run.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(wsp_capture::fuzz::panicked)),
    |data: &[u8]| wsp_capture::fuzz::snapshot(data)
);
