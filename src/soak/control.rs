//! Requests to the control API of simulated servers.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::SoakError;

/// Time for a request and its answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer read; the rest does not matter.
const ANSWER_MAX: u64 = 64 * 1024;

/// `POST path` without a body, to `addr`.
///
/// # Errors
/// No answer within 10 seconds, or one that is no success.
pub(super) async fn post(addr: &str, path: &str) -> Result<(), SoakError> {
    let what = || format!("POST {path}");
    let answered = tokio::time::timeout(TIMEOUT, exchange(addr, path)).await;
    let answer = answered.map_err(|_| SoakError::Late(what(), TIMEOUT))?;
    let answer = answer.map_err(|error| SoakError::Process(what(), error))?;
    let first = answer.lines().next().unwrap_or_default();
    if first.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        return Ok(());
    }
    Err(SoakError::Refused(what(), first.to_owned()))
}

async fn exchange(addr: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
