//! The messages of a client, as `pgwire`'s own loop takes them, but none longer than it may be: that would keep up to a gigabyte of
//! a message before it looks at it, also of a client that is not in yet.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use datafusion_postgres::pgwire::api::{
    ClientInfo as _, ErrorHandler as _, PgWireConnectionState, PgWireServerHandlers as _,
};
use datafusion_postgres::pgwire::messages::PgWireFrontendMessage;
use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use datafusion_postgres::pgwire::tokio::server::{negotiate_tls, process_error, process_message};
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, FramedParts};

use super::connection::{Connection, Handlers};
use super::error;

/// Bytes of a message before the login, as PostgreSQL has it.
const MOST_BEFORE: u32 = 10_000;
/// Bytes of a message after it: a statement with its parameters.
const MOST: u32 = 1 << 20;
/// Rows that a client may ask for at once: so many are collected before the first is sent. Who asks for more gets all, one by one.
const MOST_COLLECTED: i32 = 1_000_000;
/// A client has this long to log in.
const LOGIN: Duration = Duration::from_secs(30);

/// Talks to a client until one side ends it.
pub(super) async fn talk(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    connection: Arc<Connection>,
) -> io::Result<()> {
    let mut too_late = pin!(tokio::time::sleep(LOGIN));
    let negotiated = tokio::select! {
        () = &mut too_late => return Ok(()),
        negotiated = negotiate_tls(socket, tls) => negotiated?,
    };
    // None where it begins with TLS, and there is no certificate.
    let Some(negotiated) = negotiated else { return Ok(()) };
    let negotiated = negotiated.into_parts();
    let mut bounded =
        Bounded { inner: negotiated.io, connection: Arc::clone(&connection), lengths: Lengths::default() };
    bounded.look(&negotiated.read_buf)?;
    let mut parts = FramedParts::new(bounded, negotiated.codec);
    (parts.read_buf, parts.write_buf) = (negotiated.read_buf, negotiated.write_buf);
    let mut socket = Framed::from_parts(parts);

    let handlers = Handlers(connection);
    let (startup, simple, extended) =
        (handlers.startup_handler(), handlers.simple_query_handler(), handlers.extended_query_handler());
    let (copy, cancel, errors) =
        (handlers.copy_handler(), handlers.cancel_handler(), handlers.error_handler());
    loop {
        use PgWireConnectionState::{AuthenticationInProgress, AwaitingStartup, CopyInProgress};
        let message = match socket.state() {
            AwaitingStartup | AuthenticationInProgress => tokio::select! {
                () = &mut too_late => return Ok(()),
                message = socket.next() => message,
            },
            _ => socket.next().await,
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Ok(PgWireFrontendMessage::Execute(mut execute))) => {
                if execute.max_rows > MOST_COLLECTED {
                    execute.max_rows = 0;
                }
                PgWireFrontendMessage::Execute(execute)
            }
            Some(Ok(message)) => message,
            Some(Err(failed)) => {
                return process_error(&mut socket, error::fatal("08P01", failed.to_string()), false).await;
            }
        };
        let is_extended = match socket.state() {
            CopyInProgress(is_extended) => is_extended,
            _ => message.is_extended_query(),
        };
        let done = process_message(
            message,
            &mut socket,
            Arc::clone(&startup),
            Arc::clone(&simple),
            Arc::clone(&extended),
            Arc::clone(&copy),
            Arc::clone(&cancel),
        );
        if let Err(mut failed) = done.await {
            errors.on_error(&socket, &mut failed);
            process_error(&mut socket, failed, is_extended).await?;
        }
    }
}

/// A socket that gives no part of a message that is too long.
struct Bounded<S> {
    inner: S,
    connection: Arc<Connection>,
    lengths: Lengths,
}

impl<S> Bounded<S> {
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        let most = if self.connection.is_in() { MOST } else { MOST_BEFORE };
        self.lengths.look(bytes, most)
    }
}

/// Where in the messages a stream is.
#[derive(Debug, Default)]
struct Lengths {
    /// Type and length of the next message, as far as they have come. The first has no type.
    header: Vec<u8>,
    /// Bytes of the message at hand that have not come.
    left: usize,
    is_typed: bool,
}

impl Lengths {
    /// Looks at the bytes that follow; an error at the header of a message of more than `most` bytes.
    fn look(&mut self, mut bytes: &[u8], most: u32) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let part = self.left.min(bytes.len());
                (bytes, self.left) = (bytes.get(part..).unwrap_or_default(), self.left - part);
                continue;
            }
            let wanted = 4 + usize::from(self.is_typed);
            let part = (wanted - self.header.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(part);
            self.header.extend_from_slice(head);
            bytes = rest;
            let Some(length) = self.header.last_chunk::<4>().filter(|_| self.header.len() == wanted) else {
                continue;
            };
            let length = u32::from_be_bytes(*length);
            if !(4..=most).contains(&length) {
                let text = format!("a message of {length} bytes is refused: it has at most {most}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            self.left = usize::try_from(length - 4).unwrap_or(usize::MAX);
            self.header.clear();
            self.is_typed = true;
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        Poll::Ready(this.look(buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Option<u8>, body: usize) -> Vec<u8> {
        let length = u32::try_from(body + 4).unwrap().to_be_bytes();
        kind.into_iter().chain(length).chain(std::iter::repeat_n(b'x', body)).collect()
    }

    #[test]
    fn a_long_message_is_refused_at_its_header_however_it_comes() {
        let good =
            [message(None, 40), message(Some(b'Q'), 96), message(Some(b'S'), 0), message(Some(b'Q'), 7)]
                .concat();
        for part in [1, 2, 3, 5, 64, 1_000] {
            let mut lengths = Lengths::default();
            for bytes in good.chunks(part) {
                lengths.look(bytes, 100).unwrap();
            }
            let long = message(Some(b'Q'), 97);
            let mut chunks = long.chunks(part);
            assert!(chunks.any(|bytes| lengths.look(bytes, 100).is_err()), "in parts of {part}");
        }
        assert!(Lengths::default().look(&[0, 0, 0, 3], 100).is_err(), "shorter than its own length");
    }
}
