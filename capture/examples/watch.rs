//! Prints what containers do as an event log: `cargo run -p wsp-capture --example watch [seconds]`, as root.
#![allow(clippy::print_stdout, reason = "this is its output")]

#[cfg(feature = "ebpf")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::time::{Instant, timeout_at};
    use wsp_capture::probe::{Probe, ProbeOptions};

    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let mut probe = Probe::load(&ProbeOptions { track_new_up_to: 5, ..ProbeOptions::default() })?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{}", serde_json::to_string(&probe.sensors())?)?;
    out.flush()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Ok(batch) = timeout_at(end, probe.next_batch()).await {
        for event in batch?.into_iter().chain(probe.take_lost()?) {
            writeln!(out, "{}", serde_json::to_string(&event)?)?;
        }
        for cgroup in probe.tracked() {
            if let Some(tracked) = probe.tracking(cgroup)
                && !tracked.dead.is_empty()
            {
                writeln!(out, "# {cgroup:?} {}", serde_json::to_string(&tracked.dead)?)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(not(feature = "ebpf"))]
fn main() {}
