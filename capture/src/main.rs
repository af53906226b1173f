//! `wsp-capture`: see [`wsp_capture::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wsp_capture::cli::main()
}
