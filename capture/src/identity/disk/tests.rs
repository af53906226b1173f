use std::fs;
use std::os::unix::fs::symlink;

use super::super::State;
use super::*;

/// What one of the recorded hosts tells.
fn told(host: &str, name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/identity/fixtures");
    let disk = Disk::new(&fixtures.join(host));
    let Some(identity) = disk.find(name) else { return "nobody".to_owned() };
    let Identity { id, name, image, digest, labels, started, init, state, sandbox } = identity;
    assert_eq!(init, None, "no process here is in a recorded container");
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(" ") };
    format!(
        "{id}\nname {name:?}\nimage {image:?}\ndigest {digest:?}\nlabels {labels}\nstarted {started:?}, {state:?}, sandbox {sandbox}"
    )
}

#[test]
fn podman() {
    insta::assert_snapshot!(told("podman", "wsp-id"), @r#"
    40d72048d88a72636787a39838729048bfdf2479e53035fe526b2f15b72a5de8
    name Some("wsp-id")
    image Some("localhost/demo/busy:1")
    digest Some("sha256:ef0b6c2dfe9f0dd9630f44abe071cf621119c01501f56a7c1731774d26fed008")
    labels -
    started None, Unstarted, sandbox false
    "#);
    assert_eq!(told("podman", "40d72048d88a"), told("podman", "wsp-id"));
    assert_eq!(told("podman", "wsp"), "nobody");
}

#[test]
fn docker() {
    insta::assert_snapshot!(told("docker", "web"), @r#"
    b173bd1f55d3ab35328764ac9be24ef277815f576e6a8695d3eec12e2957c5a7
    name Some("web")
    image Some("localhost/demo/busy:1")
    digest None
    labels app=shop
    started Some(2026-11-25T01:04:46.035Z), Running, sandbox false
    "#);
    assert_eq!(told("docker", "b173bd1f55d3"), told("docker", "web"));
    assert_eq!(told("docker", "b173bd1f55d4"), "nobody");
}

#[test]
fn containerd() {
    insta::assert_snapshot!(told("containerd", "39aab99c22b2"), @r#"
    39aab99c22b2bdabd686dfc4e08a976967b585a7786cb8de812bc5e56616cc59
    name Some("web")
    image Some("localhost/demo/busy:1")
    digest None
    labels io.kubernetes.container.name=web io.kubernetes.pod.name=web-pod io.kubernetes.pod.namespace=shop io.kubernetes.pod.uid=web-pod-uid
    started None, Unstarted, sandbox false
    "#);
    insta::assert_snapshot!(told("containerd", "90816cdbdaa6"), @r#"
    90816cdbdaa649748a540d6bf1d2fd53fb2b4b3447e687290991b6e2e6f8b1ec
    name Some("web-pod")
    image None
    digest None
    labels io.kubernetes.pod.name=web-pod io.kubernetes.pod.namespace=shop io.kubernetes.pod.uid=web-pod-uid
    started None, Unstarted, sandbox true
    "#);
}

#[test]
fn crio() {
    insta::assert_snapshot!(told("crio", &"c0".repeat(32)), @r#"
    c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0
    name Some("redis")
    image Some("quay.io/crio/redis:alpine")
    digest Some("sha256:2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e")
    labels io.kubernetes.container.name=redis io.kubernetes.pod.name=podsandbox1 io.kubernetes.pod.namespace=redhat.test.crio io.kubernetes.pod.uid=redhat-test-crio
    started None, Unstarted, sandbox false
    "#);
    insta::assert_snapshot!(told("crio", &"50".repeat(32)), @r#"
    5050505050505050505050505050505050505050505050505050505050505050
    name Some("podsandbox1")
    image None
    digest None
    labels io.kubernetes.pod.name=podsandbox1 io.kubernetes.pod.namespace=redhat.test.crio io.kubernetes.pod.uid=redhat-test-crio
    started None, Unstarted, sandbox true
    "#);
}

#[test]
fn a_name_leads_nowhere_else() {
    for name in ["", ".", "..", "../docker", "a/b", "a\0b"] {
        assert_eq!(told("docker", name), "nobody", "{name:?}");
    }
}

#[test]
fn what_is_no_usable_file_is_passed_over() {
    let host = tempfile::tempdir().unwrap();
    let id = "ab".repeat(32);
    let folder = host.path().join("var/lib/docker/containers").join(&id);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.v2.json");
    let disk = Disk::new(host.path());
    assert_eq!(disk.find(&id), None);
    for text in ["", "{", "[]", "{\"ID\": 3}", "\u{0}", "{\"ID\":\"x\",\"State\":3}"] {
        fs::write(&file, text).unwrap();
        assert_eq!(disk.find(&id), None, "{text:?}");
    }
    fs::write(&file, "[".repeat(1 << 20)).unwrap();
    assert_eq!(disk.find(&id), None);
    File::create(&file).unwrap().set_len(FILE_BYTES + 1).unwrap();
    assert_eq!(disk.find(&id), None);
    for special in ["/dev/zero", "/proc/self/mem", "/", "/nowhere"] {
        fs::remove_file(&file).unwrap();
        symlink(special, &file).unwrap();
        assert_eq!(disk.find(&id), None, "{special}");
    }
}

#[test]
fn an_image_id_is_replaced_by_a_tag_of_the_image_and_a_digest_is_the_repositorys() {
    let host = tempfile::tempdir().unwrap();
    let (id, image, digest) = ("ab".repeat(32), format!("sha256:{}", "12".repeat(32)), "34".repeat(32));
    let docker = host.path().join("var/lib/docker");
    let folder = docker.join("containers").join(&id);
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(docker.join("image/overlay2")).unwrap();
    let repositories = format!(
        r#"{{"Repositories":{{"mirror/nginx":{{"mirror/nginx@sha256:{}":"{image}"}},
        "nginx":{{"nginx:1.25":"{image}","nginx@sha256:{digest}":"{image}","nginx:1":"sha256:other"}}}}}}"#,
        "56".repeat(32)
    );
    fs::write(docker.join("image/overlay2/repositories.json"), repositories).unwrap();
    for reference in ["nginx:1.25", "121212121212", &image] {
        let config = format!(r#"{{"ID":"{id}","Image":"{image}","Config":{{"Image":"{reference}"}}}}"#);
        fs::write(folder.join("config.v2.json"), config).unwrap();
        let identity = Disk::new(host.path()).find(&id).unwrap();
        assert_eq!(identity.image.as_deref(), Some("nginx:1.25"), "{reference}");
        assert_eq!(identity.digest, Some(format!("sha256:{digest}")), "{reference}");
        assert_eq!(identity.state, State::Unstarted);
    }
}
