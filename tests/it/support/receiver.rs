//! A receiver of webhooks, which verifies them with the library of the specification's authors.

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

/// A message as it came: headers and body.
type Received = (HeaderMap, Vec<u8>);

/// A receiver that answers as it is told, with 204 when it is told nothing.
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

    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// The messages so far, each verified.
    pub(crate) fn messages(&self, secret: &str) -> Vec<(String, Value)> {
        let webhook = Webhook::new(secret).unwrap();
        let received = self.received.lock().unwrap();
        let verified = received.iter().map(|(headers, body)| {
            webhook.verify(body, headers).unwrap();
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            (id, serde_json::from_slice(body).unwrap())
        });
        verified.collect()
    }
}

#[handler]
async fn receive(Data(receiver): Data<&Receiver>, headers: &HeaderMap, body: Body) -> Response {
    let body = body.into_vec().await.unwrap();
    receiver
        .received
        .lock()
        .unwrap()
        .push((headers.clone(), body));
    let status = receiver.answers.lock().unwrap().pop_front().unwrap_or(204);
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .finish()
}
