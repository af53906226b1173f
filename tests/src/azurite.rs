//! Azurite, Azure's own emulator of its blob storage, for tests: signatures and conditions are checked as there.
//!
//! `tests/run.sh` installs it; by hand: `npm ci` in `target/azurite`, with the two files of `tests/azurite`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

use crate::program::root;

/// The account that every emulator of Azure has, and its key, which is no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running server with one container, `bucket`; it ends when this is dropped.
#[derive(Debug)]
pub struct Azurite {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Azurite {
    /// Starts one on a free port.
    ///
    /// # Panics
    ///
    /// Where it is not installed, or does not start.
    pub fn start() -> Self {
        #[expect(clippy::panic, reason = "a test cannot go on without it")]
        Self::try_start().unwrap_or_else(|reason| panic!("Azurite does not start: {reason}"))
    }

    fn try_start() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut process = Command::new(program()?)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--silent", "--disableTelemetry"])
            // Clients may be newer than the emulator.
            .arg("--skipApiVersionCheck")
            // Azure keeps idle connections for minutes; after Node's 5 s a busy emulator resets what is just being asked.
            .args(["--blobKeepAliveTimeout", "120"])
            .arg("--location")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{error}; is nodejs installed?"))?;
        let said = process.stdout.take().ok_or("it says nothing")?;
        let lines = BufReader::new(said).lines().map_while(Result::ok);
        let address = lines
            .filter(|line| line.contains(" listens on "))
            .find_map(|line| line.split_once("http://").map(|(_, address)| address.trim().to_owned()));
        let mut server = Self { process, address: address.unwrap_or_default(), _folder: folder };
        if server.address.is_empty() {
            let ended = server.process.wait().map_err(|error| error.to_string())?;
            return Err(format!("it ended with {ended}"));
        }
        server.make_container("bucket")?;
        Ok(server)
    }

    /// Where its blobs are.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// Makes a container: what no store does for itself.
    fn make_container(&self, name: &str) -> Result<(), String> {
        let target = format!("/{ACCOUNT}/{name}?restype=container");
        let uri = format!("http://{}{target}", self.address);
        let mut request: HttpRequest = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = hyper::Method::PUT;
        *request.uri_mut() = uri.parse().map_err(|error| format!("{uri}: {error}"))?;
        let key = AzureAccessKey::try_new(KEY).map_err(|error| error.to_string())?;
        AzureAuthorizer::new(&AzureCredential::AccessKey(key), ACCOUNT).authorize(&mut request);
        let mut text = format!(
            "PUT {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
        }
        text += "\r\n";
        let answer = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(&self.address)?;
            socket.write_all(text.as_bytes())?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = answer().map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 201 ") { Ok(()) } else { Err(answer) }
    }

    /// The environment by which our programs reach it.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
            ("AZURE_STORAGE_ENDPOINT", self.endpoint()),
        ]
    }

    /// The same in one text, as Azure's portal gives it.
    pub fn connection_string(&self) -> String {
        let endpoint = self.endpoint();
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
        )
    }

    /// Points a command at it.
    pub fn lead<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment())
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Result<PathBuf, String> {
    let path = root().join("target/azurite/node_modules/.bin/azurite-blob");
    if path.exists() {
        Ok(path)
    } else {
        Err(format!(
            "{} is missing: `tests/run.sh` installs it, as tests/src/azurite.rs says",
            path.display()
        ))
    }
}
