//! The explorer: pages as files and from a server, what they say, who may decide, and all of it in a real browser.

mod browser;
mod decisions;
mod report;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;
use wsp_tests::program::{command, run, wsp};

/// A fleet of one image: its profile is stable after 60 snapshots, and 30 come after it, some with attacks.
fn fleet(store: &str) {
    let generate = "generate --images 1 --versions 1 --containers 30 --snapshots 3 --attack-share 0.2 --lossy-share 0 --late-share 0 \
                    --blind-share 0 --spread 6h --seed 7 --no-truth --store";
    let _ = run("wsp-datasets", generate.split_whitespace().chain([store])).ok();
    let _ = wsp(["merge", "--max-snapshots", "60", "--store", store]).ok();
}

/// The document of a page's text.
fn document(page: &str) -> Value {
    let (_, after) = page.split_once("application/json").unwrap();
    let (_, json) = after.split_once('>').unwrap();
    serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap()
}

fn document_at(path: &Path) -> Value {
    document(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Answers of a query, row by row.
fn sql(store: &str, query: &str) -> Vec<Value> {
    serde_json::from_str(&wsp(["sql", query, "--format", "json", "--store", store]).ok()).unwrap()
}

/// A running `wsp explore`.
struct Explorer {
    child: Child,
    /// Of its pages, with the token where there is one.
    address: String,
}

impl Explorer {
    fn start(store: &str, options: &[&str]) -> Self {
        let mut explore = command("wsp");
        explore.args(["explore", "--no-open", "--store", store]).args(options);
        let mut child = explore.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("it said {said:?}"));
        Self { child, address: address.to_owned() }
    }

    /// `127.0.0.1:PORT`.
    fn host(&self) -> &str {
        self.address.strip_prefix("http://").unwrap().split('/').next().unwrap()
    }

    fn token(&self) -> &str {
        self.address.split_once("#token=").unwrap().1
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, &[("Host", self.host())], "")
    }

    /// Asks for a decision, with these headers beside what a browser sends.
    fn decide(&self, id: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let own = [("Host", self.host()), ("Content-Type", "application/json")];
        let kept = own.iter().filter(|(name, _)| headers.iter().all(|(other, _)| other != name));
        let headers: Vec<_> = kept.chain(headers).copied().collect();
        let (status, text) =
            self.ask("POST", &format!("/api/suppressions/{id}"), &headers, &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Status and body of an answer.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.host()).unwrap();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        write!(socket, "{request}\r\n{body}").unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

impl Explorer {
    /// Asks it to end, and waits.
    fn stop(mut self) {
        let _ = wsp_tests::program::finish(
            std::process::Command::new("kill").args(["-TERM", &self.child.id().to_string()]),
        );
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
