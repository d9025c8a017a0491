//! Answers that the edge gives itself, worded as any Kurento server would.

use crate::model::SessionId;

/// `pong`, with the session if the connection has one.
#[must_use]
pub fn pong(id: &str, session: Option<&SessionId>) -> String {
    match session {
        Some(session) => format!(
            r#"{{"id":{id},"jsonrpc":"2.0","result":{{"sessionId":"{session}","value":"pong"}}}}"#
        ),
        None => format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{{"value":"pong"}}}}"#),
    }
}

/// The answer of `connect`. `server_id` is the edge's own: new at each start.
#[must_use]
pub fn connected(id: &str, server_id: &str, session: &SessionId) -> String {
    format!(
        r#"{{"id":{id},"jsonrpc":"2.0","result":{{"serverId":"{server_id}","sessionId":"{session}"}}}}"#
    )
}

/// Success with nothing to tell but the session: `keepAlive`, and `release` of what is gone.
#[must_use]
pub fn done(id: &str, session: &SessionId) -> String {
    format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{{"sessionId":"{session}"}}}}"#)
}

/// Success with `value`, which is JSON.
#[must_use]
pub fn value(id: &str, session: &SessionId, value: &str) -> String {
    format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{{"sessionId":"{session}","value":{value}}}}}"#)
}

/// The answer of `closeSession`.
#[must_use]
pub fn closed(id: &str) -> String {
    format!(r#"{{"id":{id},"jsonrpc":"2.0","result":null}}"#)
}

/// The answer of `describe` for the server manager.
#[must_use]
pub fn described_manager(id: &str, session: &SessionId) -> String {
    format!(
        concat!(
            r#"{{"id":{},"jsonrpc":"2.0","result":{{"hierarchy":["kurento.MediaObject"],"#,
            r#""qualifiedType":"kurento.ServerManager","sessionId":"{}","type":"ServerManager"}}}}"#
        ),
        id, session
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_what_a_real_server_wrote() {
        let session = SessionId::from_random(0x3957_ca66_23fd_485f_86a5_6972_643b_264e);
        assert_eq!(pong("0", None), r#"{"id":0,"jsonrpc":"2.0","result":{"value":"pong"}}"#);
        assert_eq!(
            described_manager("1", &session),
            concat!(
                r#"{"id":1,"jsonrpc":"2.0","result":{"hierarchy":["kurento.MediaObject"],"#,
                r#""qualifiedType":"kurento.ServerManager","#,
                r#""sessionId":"3957ca66-23fd-485f-86a5-6972643b264e","type":"ServerManager"}}"#
            )
        );
        assert_eq!(closed("7003"), r#"{"id":7003,"jsonrpc":"2.0","result":null}"#);
        for text in [
            pong("1", Some(&session)),
            connected("1", "s", &session),
            done("1", &session),
            value("1", &session, "[]"),
        ] {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
}
