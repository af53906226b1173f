//! Real pods: a containerd of our own, driven as the kubelet drives it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::podman::{eventually, podman};
use crate::program::finish;

/// The image of pods' sandboxes.
const PAUSE: &str = "localhost/wsp-test/pause:1";

/// A containerd with folders and a socket of its own, for as long as the value lives.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    folder: TempDir,
    runtime: Runtime,
    pods: Vec<String>,
}

impl Containerd {
    /// Starts it with images of podman's, the first of which sandboxes are made from; none where it is not installed.
    ///
    /// # Panics
    ///
    /// Where it is installed and does not come up.
    pub fn start(images: &[&str]) -> io::Result<Option<Self>> {
        if Command::new("containerd").arg("--version").stdout(Stdio::null()).status().is_err() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let at = folder.path().display();
        // The native snapshotter works wherever the folder is, on an overlay too.
        let config = format!(
            r#"
            version = 2
            root = "{at}/root"
            state = "{at}/state"
            [grpc]
            address = "{at}/containerd.sock"
            [plugins."io.containerd.grpc.v1.cri"]
            sandbox_image = "{PAUSE}"
            restrict_oom_score_adj = true
            [plugins."io.containerd.grpc.v1.cri".containerd]
            snapshotter = "native"
            "#
        );
        std::fs::write(folder.path().join("config.toml"), config)?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = Command::new("containerd")
            .arg("--config")
            .arg(folder.path().join("config.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let containerd = Self { child, folder, runtime, pods: Vec::new() };
        eventually("containerd answers", || {
            containerd.try_call::<_, Ignored>("Version", &Ignored {}).is_ok()
        });
        containerd.import(images)?;
        Ok(Some(containerd))
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("containerd.sock")
    }

    /// Where its state is, bundles among it.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn import(&self, images: &[&str]) -> io::Result<()> {
        let base = images.first().copied().unwrap_or("scratch");
        let script = format!("FROM {base}\nENTRYPOINT [\"sleep\", \"100000\"]\n");
        let file = self.folder.path().join("Containerfile");
        std::fs::write(&file, script)?;
        let (file, tar) = (file.display().to_string(), self.folder.path().join("images.tar"));
        let tar = tar.display().to_string();
        let _ = podman(&["build", "-q", "-t", PAUSE, "-f", &file]).ok();
        let _ = podman(&[&["save", "-q", "-m", "-o", &tar, PAUSE], images].concat()).ok();
        let socket = self.socket().display().to_string();
        let import = ["-a", &socket, "-n", "k8s.io", "images", "import", &tar];
        let _ = finish(Command::new("ctr").args(import)).ok();
        Ok(())
    }

    /// A pod in the host's network, which needs no CNI; its id, which is the sandbox's.
    ///
    /// # Panics
    ///
    /// Where containerd refuses.
    pub fn pod(&mut self, name: &str, labels: &[(&str, &str)]) -> (String, PodConfig) {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let network = NamespaceOption { network: 2, ipc: 2 };
        let security_context = SandboxSecurityContext { namespace_options: Some(network) };
        let config = PodConfig {
            metadata: Some(PodMetadata {
                name: name.to_owned(),
                uid: format!("{name}-uid"),
                namespace: "shop".to_owned(),
            }),
            labels: labels.iter().map(owned).collect(),
            linux: Some(LinuxPodConfig {
                cgroup_parent: format!("/kubepods/{name}"),
                security_context: Some(security_context),
            }),
        };
        let Id { id } = self.call("RunPodSandbox", &RunPod { config: Some(config.clone()) });
        self.pods.push(id.clone());
        (id, config)
    }

    /// A started container of a pod; its id.
    ///
    /// # Panics
    ///
    /// Where containerd refuses.
    pub fn container(&self, pod: &(String, PodConfig), name: &str, image: &str, command: &[&str]) -> String {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: Some(ImageSpec { image: image.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
        };
        let (id, of_pod) = pod.clone();
        let create = CreateContainer { pod: id, config: Some(config), of_pod: Some(of_pod) };
        let id: Id = self.call("CreateContainer", &create);
        let _: Ignored = self.call("StartContainer", &id);
        id.id
    }

    fn call<Q: Message, A: Message + Default>(&self, method: &str, question: &Q) -> A {
        #[expect(clippy::panic, reason = "a test cannot go on without the pod")]
        self.try_call(method, question).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call<Q: Message, A: Message + Default>(&self, method: &str, question: &Q) -> Result<A, String> {
        self.runtime
            .block_on(unary(&self.socket(), method, &question.encode_to_vec()))
            .and_then(|answer| A::decode(answer).map_err(|error| error.to_string()))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.pods) {
            let id = Id { id };
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                let _ = self.try_call::<_, Ignored>(method, &id);
            }
        }
        let _ = finish(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        let _ = self.child.wait();
        // What it mounted for containers would keep the folder from being removed.
        let at = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut points: Vec<_> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        points.retain(|point| point.starts_with(&at));
        points.iter().rev().for_each(|point| drop(finish(Command::new("umount").args(["-l", point]))));
    }
}

/// One question by gRPC.
async fn unary(socket: &Path, method: &str, question: &[u8]) -> Result<Bytes, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let stream = UnixStream::connect(socket).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let length = u32::try_from(question.len()).map_err(|error| text(&error))?;
    let body = [&[0], &length.to_be_bytes()[..], question].concat();
    let request = Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| text(&error))?;
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let refused = |headers: &hyper::HeaderMap| {
        let status = headers.get("grpc-status").is_some_and(|status| status != "0");
        status.then(|| format!("{:?}", headers.get("grpc-message")))
    };
    if let Some(reason) = refused(response.headers()) {
        return Err(reason);
    }
    let answer = response.into_body().collect().await.map_err(|error| text(&error))?;
    if let Some(reason) = answer.trailers().and_then(refused) {
        return Err(reason);
    }
    // The flag and the length.
    answer.to_bytes().get(5..).map(Bytes::copy_from_slice).ok_or_else(|| "no answer".to_owned())
}

/// What is not looked at.
#[derive(Clone, PartialEq, Message)]
struct Ignored {}

/// Questions and answers that are one id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunPod {
    #[prost(message, optional, tag = "1")]
    config: Option<PodConfig>,
}

/// What a pod is to be.
#[derive(Clone, PartialEq, Message)]
pub struct PodConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodMetadata>,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPodConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SandboxSecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxSecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "3")]
    ipc: i32,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    of_pod: Option<PodConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}
