//! The request body of the paid call, which waits for the gate, and shows how far the request got.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use crate::provider::{Gate, GateClosed};

/// Progress of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// No part of the body is sent: there is no connection yet, or the gate has not opened.
    Waiting,
    /// The gate did not open.
    Closed,
    /// The body is sent, or is being sent.
    Sent,
}

/// Request body that waits for the gate. It is polled only once there is a connection.
pub(super) struct GatedBody {
    bytes: Option<Bytes>,
    gate: Opening,
    progress: watch::Sender<Progress>,
}

/// Future of the gate. The mutex is never locked: it makes the future `Sync`, as a body must be.
type Opening = Mutex<Pin<Box<dyn Future<Output = Result<(), GateClosed>> + Send>>>;

impl GatedBody {
    pub(super) fn new(bytes: Bytes, gate: Arc<dyn Gate>) -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::Waiting);
        let body = Self {
            bytes: Some(bytes),
            gate: Mutex::new(Box::pin(async move { gate.open().await })),
            progress: sender,
        };
        (body, receiver)
    }
}

impl Body for GatedBody {
    type Data = Bytes;
    type Error = GateClosed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GateClosed>>> {
        if self.bytes.is_none() {
            return Poll::Ready(None);
        }
        let gate = self.gate.get_mut().unwrap_or_else(PoisonError::into_inner);
        let opened = ready!(gate.as_mut().poll(context));
        let bytes = self.bytes.take();
        Poll::Ready(match opened {
            Ok(()) => {
                self.progress.send_replace(Progress::Sent);
                bytes.map(|bytes| Ok(Frame::data(bytes)))
            }
            Err(closed) => {
                self.progress.send_replace(Progress::Closed);
                Some(Err(closed))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
