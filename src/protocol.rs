//! Text to messages and back: the JSON-RPC envelope, what Kurento puts in it, WebSocket frames.
