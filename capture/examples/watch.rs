//! Prints what containers do as an event log: `cargo run -p wsp-capture --example watch [seconds]`, as root.
//! `WATCH_RING_BYTES` sets the size of the ring buffer, to see what loss looks like.
#![allow(clippy::print_stdout, reason = "this is its output")]

#[cfg(feature = "ebpf")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::time::{Instant, timeout_at};
    use wsp_capture::event::Body;
    use wsp_capture::probe::{Probe, ProbeOptions, cgroup};

    print!("{}", wsp_capture::doctor::examine());
    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let mut options = ProbeOptions { slots: 5, claim: true, ..ProbeOptions::default() };
    if let Ok(bytes) = std::env::var("WATCH_RING_BYTES") {
        options.ring_bytes = bytes.parse()?;
    }
    let mut probe = Probe::load(&options)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{}", serde_json::to_string(&probe.sensors())?)?;
    let mount = probe.cgroup_mount().to_path_buf();
    for (of, path) in cgroup::containers(&mount) {
        probe.track(of, &path)?;
        for event in probe.initial_state(of, &path)? {
            writeln!(out, "{}", serde_json::to_string(&event)?)?;
        }
    }
    out.flush()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Ok(batch) = timeout_at(end, probe.next_batch()).await {
        for event in batch?.into_iter().chain(probe.take_lost()?) {
            writeln!(out, "{}", serde_json::to_string(&event)?)?;
            match &event.body {
                Body::ContainerCreated { path } if probe.holds_slot(event.cgroup) => {
                    // It may be gone already.
                    let _ = probe.track(event.cgroup, &cgroup::path_of(path));
                }
                Body::ContainerGone => probe.forget(event.cgroup),
                _ => {}
            }
        }
        for of in probe.tracked() {
            if let Some(tracked) = probe.tracking(of)
                && !tracked.dead.is_empty()
            {
                writeln!(out, "# {of:?} {}", serde_json::to_string(&tracked.dead)?)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(not(feature = "ebpf"))]
fn main() {}
