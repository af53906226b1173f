//! The files of `deploy/` say what the program understands.

use clap::Parser as _;
use serde_json::Value;

use crate::cli::{Cli, Command};

const CRON_JOBS: &str = include_str!("../../../deploy/cronjobs.yaml");
const DOCKERFILE: &str = include_str!("../../../deploy/Dockerfile");

fn objects() -> Vec<Value> {
    serde_saphyr::from_multiple(CRON_JOBS).unwrap()
}

fn pods() -> Vec<Value> {
    let jobs = objects().into_iter().filter(|object| object["kind"] == "CronJob");
    jobs.map(|job| job["spec"]["jobTemplate"]["spec"]["template"]["spec"].clone()).collect()
}

/// The commands that the jobs run, in their order.
fn commands() -> Vec<Command> {
    let scripts = pods()
        .into_iter()
        .map(|pod| pod["containers"][0]["args"][0].as_str().unwrap().to_owned())
        .collect::<String>();
    let typed = scripts.lines().map(|line| line.strip_suffix(" || [ $? -eq 3 ]").unwrap().to_owned());
    typed
        .map(|line| Cli::try_parse_from(line.split(' ').chain(["--store", "s3://bucket"])).unwrap().command)
        .collect()
}

#[test]
fn the_jobs_run_what_the_program_knows() {
    let commands = commands();
    assert!(
        matches!(commands.as_slice(), [Command::Merge(_), Command::Detect(_), Command::Compact(_)]),
        "{commands:?}"
    );
    let store = objects().into_iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    assert!(store["data"]["WSP_STORE"].is_string());
}

#[test]
fn the_jobs_need_no_privilege() {
    assert_eq!(pods().len(), 2);
    for pod in pods() {
        let container = &pod["containers"][0];
        let context = &container["securityContext"];
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert_eq!(
            [&context["allowPrivilegeEscalation"], &pod["automountServiceAccountToken"]],
            [false, false]
        );
        assert_eq!(
            [&context["readOnlyRootFilesystem"], &pod["securityContext"]["runAsNonRoot"]],
            [true, true]
        );
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/tmp");
        let user = pod["securityContext"]["runAsUser"].as_u64().unwrap();
        assert!(DOCKERFILE.contains(&format!("USER {user}:")));
    }
}
