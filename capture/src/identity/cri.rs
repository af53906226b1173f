//! The Container Runtime Interface of Kubernetes, v1, as containerd and CRI-O serve it.
//!
//! Every question has a connection of its own: a runtime that restarts in between is not noticed. `cri/v1.rs` is generated from
//! `cri/v1.proto` by `cri/generate.sh`.

#[rustfmt::skip]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod v1;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::DateTime;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::body::Body;
use tower_service::Service;

use self::v1::runtime_service_client::RuntimeServiceClient;
use super::image::is_name;
use super::{Identity, IdentityError, State, allowed_labels, is_id};

/// One container's answers.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of one answer: a list has all containers of a host.
const ANSWER_BYTES: usize = 32 << 20;

/// A socket that serves the interface.
#[derive(Debug, Clone)]
pub(super) struct Cri {
    socket: PathBuf,
    /// What the runtime calls itself, for people.
    runtime: String,
}

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
enum CriError {
    #[error("the socket cannot be connected to")]
    Connect(#[source] io::Error),
    #[error("the socket does not speak HTTP/2")]
    Handshake(#[source] hyper::Error),
    #[error("{} ({})", .0.message(), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("no answer within {} s", ANSWER.as_secs())]
    Late,
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// What the runtime tells of one container.
#[derive(Debug, Default)]
struct Told {
    container: v1::ContainerStatus,
    pod: v1::PodSandboxStatus,
}

impl Cri {
    /// Asks the socket for its version, to see that it serves the interface.
    pub(super) async fn connect(socket: &Path) -> Result<Self, String> {
        let version = timed(async {
            let mut client = client(socket).await?;
            Ok(client.version(v1::VersionRequest::default()).await?.into_inner())
        });
        let version = version.await.map_err(|error| match &error {
            CriError::Connect(source) => source.to_string(),
            _ => error.to_string(),
        })?;
        let shown = |text: &str| wsp_schemas::text::for_display(text).to_string();
        let runtime = format!("{} {}", shown(&version.runtime_name), shown(&version.runtime_version));
        Ok(Self { socket: socket.to_owned(), runtime })
    }

    /// What the runtime calls itself.
    pub(super) fn runtime(&self) -> &str {
        &self.runtime
    }

    /// A container or a pod's sandbox by its id or the start of it, or a container by its name in its pod, where only one has it.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Identity>, IdentityError> {
        timed(self.ask(name)).await.map_err(|source| IdentityError::Source {
            source_name: self.socket.display().to_string(),
            name: name.to_owned(),
            source: Box::new(source),
        })
    }

    /// Names of all containers.
    pub(super) async fn names(&self) -> Vec<String> {
        let list = timed(async { Ok(list(&mut client(&self.socket).await?, "").await?) });
        let containers = list.await.unwrap_or_default();
        containers.into_iter().filter_map(|container| Some(container.metadata?.name)).collect()
    }

    async fn ask(&self, name: &str) -> Result<Option<Identity>, CriError> {
        let mut client = client(&self.socket).await?;
        if !is_id(name) {
            let all = list(&mut client, "").await?;
            let named = |container: &v1::Container| {
                container.metadata.as_ref().is_some_and(|metadata| metadata.name == name)
            };
            let mut of_name = all.into_iter().filter(named);
            return match (of_name.next(), of_name.next()) {
                (Some(container), None) => Ok(told(&mut client, container).await?.map(identity)),
                _ => Ok(None),
            };
        }
        let found = list(&mut client, name).await?;
        if let Some(container) = found.into_iter().find(|container| container.id.starts_with(name)) {
            return Ok(told(&mut client, container).await?.map(identity));
        }
        let filter = Some(v1::PodSandboxFilter { id: name.to_owned() });
        let sandboxes =
            client.list_pod_sandbox(v1::ListPodSandboxRequest { filter }).await?.into_inner().items;
        let sandbox = sandboxes.into_iter().find(|sandbox| sandbox.id.starts_with(name));
        Ok(sandbox.map(|sandbox| Identity {
            name: sandbox.metadata.map(|metadata| metadata.name),
            labels: allowed_labels(sandbox.labels),
            sandbox: true,
            ..Identity::unknown(&sandbox.id)
        }))
    }
}

async fn list(
    client: &mut RuntimeServiceClient<Connection>,
    id: &str,
) -> Result<Vec<v1::Container>, tonic::Status> {
    let filter = (!id.is_empty()).then(|| v1::ContainerFilter { id: id.to_owned() });
    Ok(client.list_containers(v1::ListContainersRequest { filter }).await?.into_inner().containers)
}

/// All that is told of a listed container; none where it went away meanwhile.
async fn told(
    client: &mut RuntimeServiceClient<Connection>,
    container: v1::Container,
) -> Result<Option<Told>, tonic::Status> {
    let status = client.container_status(v1::ContainerStatusRequest { container_id: container.id }).await;
    let status = match status {
        Ok(status) => status.into_inner().status,
        Err(status) if status.code() == tonic::Code::NotFound => None,
        Err(status) => return Err(status),
    };
    let Some(container_status) = status else { return Ok(None) };
    let pod = v1::PodSandboxStatusRequest { pod_sandbox_id: container.pod_sandbox_id };
    // A pod that goes away leaves the container without its labels; that is no failure.
    let pod = client.pod_sandbox_status(pod).await.ok().and_then(|pod| pod.into_inner().status);
    Ok(Some(Told { container: container_status, pod: pod.unwrap_or_default() }))
}

fn identity(Told { container, pod }: Told) -> Identity {
    let name = container.metadata.map(|metadata| metadata.name).filter(|name| !name.is_empty());
    let image = container.image.unwrap_or_default();
    let of_pod = pod.metadata.unwrap_or_default();
    let of_runtime = [
        ("io.kubernetes.container.name", name.clone().unwrap_or_default()),
        ("io.kubernetes.pod.name", of_pod.name),
        ("io.kubernetes.pod.namespace", of_pod.namespace),
        ("io.kubernetes.pod.uid", of_pod.uid),
    ];
    let of_runtime = of_runtime.into_iter().filter(|(_, value)| !value.is_empty());
    let labels = pod.labels.into_iter().chain(container.labels);
    let labels = labels.chain(of_runtime.map(|(key, value)| (key.to_owned(), value)));
    let started = Some(container.started_at).filter(|at| *at > 0);
    Identity {
        name,
        image: reference(&image, &container.image_ref),
        digest: container.image_ref.split_once('@').map(|(_, digest)| digest.to_owned()),
        labels: allowed_labels(labels),
        started: started.and_then(|at| DateTime::from_timestamp_millis(at / 1_000_000)),
        state: match v1::ContainerState::try_from(container.state) {
            Ok(v1::ContainerState::ContainerRunning) => State::Running,
            Ok(v1::ContainerState::ContainerExited) => State::Exited,
            _ => State::Unstarted,
        },
        ..Identity::unknown(&container.id)
    }
}

/// As the pod asks for it, else as the runtime resolved it, else by digest. The kubelet asks the runtime for images by their id,
/// which is no name.
fn reference(image: &v1::ImageSpec, image_ref: &str) -> Option<String> {
    let names = [image.user_specified_image.as_str(), image.image.as_str(), image_ref];
    names.into_iter().find(|name| is_name(name)).map(str::to_owned)
}

async fn timed<T>(question: impl Future<Output = Result<T, CriError>>) -> Result<T, CriError> {
    timeout(ANSWER, question).await.unwrap_or(Err(CriError::Late))
}

async fn client(socket: &Path) -> Result<RuntimeServiceClient<Connection>, CriError> {
    let stream = UnixStream::connect(socket).await.map_err(CriError::Connect)?;
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(CriError::Handshake)?;
    // It ends with the client; what went wrong is told to the one who asked.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(RuntimeServiceClient::new(Connection(sender)).max_decoding_message_size(ANSWER_BYTES))
}

/// An HTTP/2 connection, for gRPC.
#[derive(Debug, Clone)]
struct Connection(SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // HTTP/2 wants an authority, which a unix socket does not have.
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(http::uri::Authority::from_static("localhost"));
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn recorded() -> Told {
        let status = v1::ContainerStatusResponse::decode(&include_bytes!("fixtures/cri/status.pb")[..]);
        let pod = v1::PodSandboxStatusResponse::decode(&include_bytes!("fixtures/cri/pod.pb")[..]);
        Told { container: status.unwrap().status.unwrap(), pod: pod.unwrap().status.unwrap() }
    }

    #[test]
    fn what_containerd_answered() {
        let list =
            v1::ListContainersResponse::decode(&include_bytes!("fixtures/cri/containers.pb")[..]).unwrap();
        let sandboxes =
            v1::ListPodSandboxResponse::decode(&include_bytes!("fixtures/cri/sandboxes.pb")[..]).unwrap();
        assert_eq!(list.containers[0].pod_sandbox_id, sandboxes.items[0].id);
        let identity = identity(recorded());
        assert_eq!(identity.id, list.containers[0].id);
        let labels = [
            ("app", "shop"),
            ("io.kubernetes.container.name", "web"),
            ("io.kubernetes.pod.name", "web-pod"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", "web-pod-uid"),
        ];
        let expected = Identity {
            name: Some("web".to_owned()),
            image: Some("localhost/demo/busy:1".to_owned()),
            // The image was imported: no repository has a digest for it.
            digest: None,
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            started: DateTime::from_timestamp_millis(1_795_568_227_160),
            state: State::Running,
            ..Identity::unknown(&identity.id)
        };
        assert_eq!(identity, expected);
    }

    #[test]
    fn an_image_is_named_as_the_pod_asks_for_it() {
        let digest = format!("quay.io/shop/web@sha256:{}", "ab".repeat(32));
        let id = format!("sha256:{}", "12".repeat(32));
        let named = |asked: &str, image: &str| {
            let (image, user_specified_image) = (image.to_owned(), asked.to_owned());
            let mut told = recorded();
            told.container.image = Some(v1::ImageSpec { image, user_specified_image });
            told.container.image_ref.clone_from(&digest);
            let identity = identity(told);
            assert_eq!(identity.digest, Some(format!("sha256:{}", "ab".repeat(32))));
            identity.image
        };
        assert_eq!(named("web:2", "quay.io/shop/web:latest").as_deref(), Some("web:2"));
        assert_eq!(named("", "quay.io/shop/web:2").as_deref(), Some("quay.io/shop/web:2"));
        assert_eq!(named(&id, &id), Some(digest.clone()));
        assert_eq!(named("", ""), Some(digest.clone()));
    }

    #[test]
    fn a_pods_own_labels_do_not_rename_it() {
        let mut told = recorded();
        told.pod.labels.insert("io.kubernetes.pod.name".to_owned(), "another".to_owned());
        assert_eq!(identity(told).labels["io.kubernetes.pod.name"], "web-pod");
    }
}
