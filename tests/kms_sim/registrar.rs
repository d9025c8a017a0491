//! How a server tells a registrar where it is. Source: Kurento protocol notes, section 10, and the
//! recording n-registrar.

use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use crate::e2e::harness::within_bound;

use super::sim::Sim;

/// The next server that dials, at `/reg`.
async fn dialled(registrar: &TcpListener) -> WebSocketStream<TcpStream> {
    let (socket, _) = within_bound("a dial", registrar.accept()).await.unwrap();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.uri().path(), "/reg");
        assert_eq!(request.headers()["user-agent"], "WebSocket++/0.8.2");
        Ok(response)
    };
    let shaking = tokio_tungstenite::accept_hdr_async(socket, look);
    within_bound("a handshake", shaking).await.unwrap()
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    within_bound("a message", socket.next()).await.unwrap().unwrap()
}

fn registration(host: &str, sim: &Sim) -> Message {
    let (_, port) = sim.addr().rsplit_once(':').unwrap();
    Message::text(format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"register\",\
         \"params\":{{\"ws\":\"ws://{host}:{port}/kurento\"}}}}"
    ))
}

#[tokio::test]
async fn a_server_registers_again_after_every_loss_and_says_goodbye() {
    let registrar = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = registrar.local_addr().unwrap();
    let sim = Sim::start_controlled(&["--registrar", &format!("ws://{addr}/reg")]).await;
    let expected = registration("127.0.0.1", &sim);
    let mut first = dialled(&registrar).await;
    assert_eq!(next(&mut first).await, expected);
    drop(first);
    let mut second = dialled(&registrar).await;
    assert_eq!(next(&mut second).await, expected);
    // The registrar itself is away for a while.
    drop((second, registrar));
    let registrar = TcpListener::bind(addr).await.unwrap();
    let mut third = dialled(&registrar).await;
    assert_eq!(next(&mut third).await, expected);
    // Another process registers anew; the one before is cut.
    sim.suffer("restart").await;
    assert!(within_bound("the cut", third.next()).await.unwrap().is_err());
    let mut fourth = dialled(&registrar).await;
    assert_eq!(next(&mut fourth).await, expected);
    sim.process.signal("TERM");
    let Message::Close(Some(frame)) = next(&mut fourth).await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "terminating"));
}

#[tokio::test]
async fn the_host_that_is_told_may_be_another() {
    let registrar = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/reg", registrar.local_addr().unwrap());
    let args = ["--registrar", &url, "--registrar-local-address", "kms.example"];
    let sim = Sim::start(&args).await;
    let mut socket = dialled(&registrar).await;
    assert_eq!(next(&mut socket).await, registration("kms.example", &sim));
}
