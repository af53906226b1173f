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

#[cfg(feature = "distributed")]
mod cluster {
    use super::*;

    const CLUSTER: &str = include_str!("../../../deploy/cluster.yaml");

    fn deployments() -> Vec<Value> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(CLUSTER).unwrap();
        objects.into_iter().filter(|object| object["kind"] == "Deployment").collect()
    }

    #[test]
    fn its_nodes_run_what_the_program_knows_without_privilege() {
        assert_eq!(deployments().len(), 2);
        for deployment in deployments() {
            let pod = &deployment["spec"]["template"]["spec"];
            let container = &pod["containers"][0];
            let typed = container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
            let typed: Vec<String> = typed.map(|word| word.replace("$(POD_IP)", "10.0.0.1")).collect();
            let mut line = vec!["wsp".to_owned()];
            line.extend(typed);
            if deployment["metadata"]["name"] == "wsp-executor" {
                line.push("--store=s3://bucket".to_owned());
                assert_eq!(container["volumeMounts"][1]["mountPath"], "/work");
            }
            assert!(matches!(Cli::try_parse_from(line).unwrap().command, Command::Cluster(_)));
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
        }
    }

    #[test]
    fn its_ports_are_closed_to_all_but_nodes_and_jobs() {
        let objects: Vec<Value> = serde_saphyr::from_multiple(CLUSTER).unwrap();
        let policies: Vec<&Value> =
            objects.iter().filter(|object| object["kind"] == "NetworkPolicy").collect();
        let mut closed = Vec::new();
        for policy in &policies {
            for rule in policy["spec"]["ingress"].as_array().unwrap() {
                let ports =
                    rule["ports"].as_array().unwrap().iter().map(|port| port["port"].as_u64().unwrap());
                if rule["from"].is_array() {
                    closed.extend(ports);
                } else {
                    assert!(ports.eq([9464]), "{rule}");
                }
            }
        }
        assert_eq!(closed, [50_050, 50_051, 50_052]);
        // Jobs have the label that is let in, and find the scheduler.
        for job in super::objects().into_iter().filter(|object| object["kind"] == "CronJob") {
            let labels = &job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"];
            assert_eq!(labels["app"], "wsp-job");
        }
        let found =
            objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"]["WSP_CLUSTER"]
                .clone();
        found.as_str().unwrap().parse::<crate::cluster::Cluster>().unwrap();
    }
}
