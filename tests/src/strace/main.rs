//! Prints what an strace log tells, as JSON lines: `wsp-truth STRACE_LOG ROOTFS`. Sizes go to standard error.

#![expect(clippy::print_stderr, reason = "this is a program")]

use std::io::{self, BufWriter};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [log, rootfs] = args.as_slice() else {
        eprintln!("usage: wsp-truth STRACE_LOG ROOTFS");
        return ExitCode::from(2);
    };
    let trace = match std::fs::read(log) {
        Ok(trace) => trace,
        Err(error) => {
            eprintln!("wsp-truth: cannot read {log}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let truth = wsp_tests::strace::parse(&trace, Path::new(rootfs));
    eprintln!("{}", truth.summary());
    match truth.write_json_lines(BufWriter::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsp-truth: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}
