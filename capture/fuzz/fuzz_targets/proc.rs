#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsp_capture::fuzz::proc(data));
