//! Text to messages and back: JSON, the JSON-RPC envelope, what Kurento puts in it, WebSocket frames.
//!
//! Nothing here knows of backends or meetings' places; it reads what is written and writes what is
//! to be said.

pub mod answer;
pub mod error;
pub mod event;
pub mod forwarded;
pub mod frame;
pub mod json;
pub mod loss;
pub mod media;
pub mod object;
pub mod proxy_header;
pub mod reply;
pub mod request;
pub mod server_info;
pub mod transaction;
