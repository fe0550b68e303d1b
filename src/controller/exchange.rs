//! One HTTP exchange with a side that may be hostile: four kibibytes of headers, a mebibyte, no redirect, no proxy, no compression (nothing that
//! is sent can become larger here), no connection that is used twice. An answer counts when it is whole.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use http::header::{CONTENT_ENCODING, HeaderName};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = crate::decide::analysis::convention::MAX_BODY_BYTES;
/// Bodies beyond their first [`SMALL`] bytes that may be in memory together.
const LARGE_BODIES: usize = 48;
const SMALL: usize = 64 << 10;
const HEADER_BYTES: usize = 4 << 10;
/// What is read ahead of one connection. hyper's own choice grows to 400 KiB, which many pods together could use.
const BUFFER: usize = 16 << 10;

/// Exchanges, within the memory that all of them share.
pub struct Exchange {
    large_bodies: Semaphore,
    /// One buffer for large bodies that is used again: freed and made anew at each scrape, it would leave its traces in every thread's heap.
    spare: Mutex<Vec<u8>>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { large_bodies: Semaphore::new(LARGE_BODIES), spare: Mutex::default() }
    }
}

impl Exchange {
    /// Sends a request on a fresh connection and hands the answer's headers and body to `read`; the body is up to one byte more than
    /// [`MAX_BODY_BYTES`], enough to see that it is too large.
    ///
    /// # Errors
    /// Why there is no answer worth reading, for people.
    pub async fn run<T>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
        read: impl FnOnce(&HeaderMap, &[u8]) -> T,
    ) -> Result<T, String> {
        // The connection ends with this answer, whatever is still sent on it.
        let (answer, _connection) = answer(stream, request).await?;
        acceptable(&answer)?;
        let (head, body) = answer.into_parts();
        let body = self.body(body).await?;
        let outcome = read(&head.headers, &body);
        if body.capacity() > MAX_BODY_BYTES {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = body;
        }
        Ok(outcome)
    }

    async fn body(&self, mut answer: Incoming) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let mut large = None;
        while let Some(frame) = answer.frame().await {
            // What is not content is a trailer, and of no interest.
            let Ok(chunk) = frame.map_err(|error| reason(&error))?.into_data() else { continue };
            let room = MAX_BODY_BYTES + 1 - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() > MAX_BODY_BYTES {
                break;
            }
            if body.len() > SMALL && large.is_none() {
                large = Some(self.large_bodies.acquire().await.map_err(|closed| closed.to_string())?);
                let mut whole = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
                whole.clear();
                // Once, not by doubling, which would hold the old and the new copy together.
                whole.reserve_exact(MAX_BODY_BYTES + 1);
                whole.append(&mut body);
                body = whole;
            }
        }
        Ok(body)
    }
}

/// Sends a request on a fresh connection and waits for the status of the answer; of the rest nothing is read.
///
/// # Errors
/// Why there is no answer, for people; the request may have been heard all the same.
pub async fn status(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Full<Bytes>>) -> Result<u16, String> {
    let (answer, _connection) = answer(stream, request).await?;
    Ok(answer.status().as_u16())
}

/// The head of the answer, and the connection that its body comes by: it ends when that is dropped.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<hyper::Result<()>>), String> {
    let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| reason(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    Ok((sender.send_request(request).await.map_err(|error| reason(&error))?, connection))
}

/// Whether the answer's body is worth reading.
fn acceptable(answer: &Response<Incoming>) -> Result<(), String> {
    let headers: usize = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADER_BYTES {
        return Err(format!("headers of {headers} bytes; {HEADER_BYTES} are read"));
    }
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status()));
    }
    let encoding = text(answer.headers(), &CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err("the answer is compressed although that was not asked for".to_owned());
    }
    Ok(())
}

/// A header's value; empty if there is none, or no text.
#[must_use]
pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Why a request failed, for people: down to the cause.
#[must_use]
pub fn reason(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
