//! The control API: shows the servers, and does to them what a test asks for.
//!
//! `GET /servers` lists them; `POST /servers/NAME/FAULT?ARGUMENT` does one thing to one, and answers
//! with what it then is. It asks for no password and refuses what web pages send.

use std::sync::Arc;

use hyper::body::Body;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::guard;
use crate::admin::http::{self, Answer, error};

use super::fault::{Fault, FaultError, ServerRow};
use super::server::Handle;

/// Answers requests on `listener` until `stop`.
pub(super) async fn serve(listener: TcpListener, servers: Vec<Handle>, stop: CancellationToken) {
    let servers: Arc<[Handle]> = servers.into();
    let answer = move |request| {
        let servers = Arc::clone(&servers);
        async move { answer(&servers, &request).await }
    };
    http::serve(listener, answer, stop).await;
}

async fn answer<B: Body>(servers: &[Handle], request: &Request<B>) -> Answer {
    if let Err(refusal) = guard::check(request) {
        return error(StatusCode::FORBIDDEN, &refusal.to_string());
    }
    if !request.body().is_end_stream() {
        return error(StatusCode::BAD_REQUEST, "requests have no body here");
    }
    let path = request.uri().path();
    let mut words = path.split('/').skip(1);
    let words = [words.next(), words.next(), words.next(), words.next()];
    let is_get = request.method() == Method::GET;
    let is_post = request.method() == Method::POST;
    match words {
        [Some("servers"), None, ..] if is_get => list(servers).await,
        [Some("servers"), Some(name), Some(fault), None] if is_post => {
            let Some(server) = servers.iter().find(|server| server.name == name) else {
                return error(StatusCode::NOT_FOUND, &format!("no such server: {name:?}"));
            };
            let fault = Fault::parse(fault, request.uri().query().unwrap_or_default());
            match fault {
                Ok(fault) => told(server.ask(Some(fault)).await),
                Err(reason) => told(Err(reason)),
            }
        }
        _ => error(
            StatusCode::NOT_FOUND,
            "there are GET /servers and POST /servers/NAME/FAULT, nothing else",
        ),
    }
}

/// All servers, in the order they were started in.
#[derive(Serialize)]
struct Rows {
    servers: Vec<ServerRow>,
}

async fn list(servers: &[Handle]) -> Answer {
    let mut rows = Vec::with_capacity(servers.len());
    for server in servers {
        match server.ask(None).await {
            Ok(row) => rows.push(row),
            Err(reason) => return told(Err(reason)),
        }
    }
    http::json(StatusCode::OK, &Rows { servers: rows })
}

fn told(outcome: Result<ServerRow, FaultError>) -> Answer {
    let reason = match outcome {
        Ok(row) => return http::json(StatusCode::OK, &row),
        Err(reason) => reason,
    };
    let status = match &reason {
        FaultError::Unknown(_) => StatusCode::NOT_FOUND,
        FaultError::Argument(_) => StatusCode::BAD_REQUEST,
        FaultError::Down => StatusCode::CONFLICT,
        FaultError::Ending | FaultError::Address(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    error(status, &reason.to_string())
}
