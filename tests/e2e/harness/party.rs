//! What a client has in a meeting, and how it comes back to it.

use pinfold::load::{Client, Events};
use serde_json::{Value, json};

use super::{Edge, within_bound};

/// A client with two elements in a meeting, subscribed to what happens between them.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) session: String,
    pub(crate) pipeline: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Party {
    /// Makes them, as the client of that connection.
    pub(crate) async fn new(client: &Client, meeting: &str) -> Self {
        let pipeline = client.create_pipeline(Some(meeting)).await.unwrap();
        let element = || async {
            let params =
                json!({"type": "PassThrough", "constructorParams": {"mediaPipeline": pipeline}});
            value(&client.call("create", params).await.unwrap())
        };
        let (from, to) = (element().await, element().await);
        let params = json!({"object": from, "type": "ElementConnected"});
        let answer = client.call("subscribe", params).await.unwrap();
        let session = answer["sessionId"].as_str().unwrap().to_owned();
        Self { session, pipeline, from, to }
    }

    /// Comes back over another connection.
    pub(crate) async fn resume(&self, edge: &Edge) -> (Client, Events) {
        let (client, events) = edge.connect().await;
        client.call("ping", json!({})).await.unwrap();
        let answer = client.call("connect", json!({"sessionId": self.session})).await.unwrap();
        assert_eq!(answer["sessionId"], self.session.as_str(), "{answer}");
        (client, events)
    }

    /// Its objects are there, and so are its subscriptions.
    pub(crate) async fn is_whole(&self, client: &Client, events: &mut Events) {
        assert_eq!(
            client.invoke(&self.pipeline, "getName", json!({})).await.unwrap(),
            self.pipeline
        );
        let sink = json!({"sink": self.to});
        client.invoke(&self.from, "connect", sink.clone()).await.unwrap();
        let event = within_bound("event", events.find(&self.from, "ElementConnected")).await;
        assert_eq!(event.unwrap().object, self.from);
        client.invoke(&self.from, "disconnect", sink).await.unwrap();
    }
}

fn value(answer: &Value) -> String {
    answer["value"].as_str().unwrap().to_owned()
}
