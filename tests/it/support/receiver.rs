//! A receiver of webhooks. It verifies them with the reference library of Standard Webhooks.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use poem::{
    Body, EndpointExt, Response, Route, Server, handler,
    http::{HeaderMap, StatusCode},
    listener::TcpAcceptor,
    post,
    web::Data,
};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::harness::until;

/// A message as it was received.
struct Received {
    headers: HeaderMap,
    body: Vec<u8>,
}

/// A message with a verified signature.
#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: Value,
}

/// A receiver that answers with the configured statuses in turn, and with 204 after the last one.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self {
            address,
            received: Arc::default(),
            answers: Arc::default(),
        };
        let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
        let route = Route::new()
            .at("/hook", post(receive))
            .data(receiver.clone());
        tokio::spawn(async move { Server::new_with_acceptor(acceptor).run(route).await });
        receiver
    }

    /// Sets the statuses of the next answers.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Waits until at least this number of messages has been received.
    pub(crate) async fn until_received(&self, count: usize) {
        until(&format!("{count} messages"), async || {
            (self.count() >= count).then_some(())
        })
        .await;
    }

    /// The messages so far. Asserts their signatures.
    pub(crate) fn messages(&self, secret: &str) -> Vec<Message> {
        let webhook = Webhook::new(secret).unwrap();
        let received = self.received.lock().unwrap();
        let verified = received.iter().map(|Received { headers, body }| {
            webhook.verify(body, headers).unwrap();
            Message {
                id: headers["webhook-id"].to_str().unwrap().to_owned(),
                body: serde_json::from_slice(body).unwrap(),
            }
        });
        verified.collect()
    }
}

#[handler]
async fn receive(Data(receiver): Data<&Receiver>, headers: &HeaderMap, body: Body) -> Response {
    let body = body.into_vec().await.unwrap();
    let headers = headers.clone();
    let received = Received { headers, body };
    receiver.received.lock().unwrap().push(received);
    let status = receiver.answers.lock().unwrap().pop_front().unwrap_or(204);
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .finish()
}
