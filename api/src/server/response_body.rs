//! Body of a response whose bytes count for its sender until they are sent. Hyper takes a chunk as
//! soon as the client's window has room for one byte of it, and keeps it until the window has room
//! for all: the count is held by the bytes, not by the body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::idle::InFlight;
use crate::access::{Sender, Share, Shares};

/// Body of a response.
pub(super) struct ResponseBody<B> {
    body: B,
    held: Arc<Held>,
    shares: Arc<Shares>,
    sender: Option<Sender>,
}

/// Request in flight until all bytes of its response are sent, and its share of what may be in
/// flight. The share is empty if the length of the response is not known.
struct Held {
    request: InFlight,
    share: Share,
}

/// Bytes of a response, with the share of their own that they take if its length is not known.
struct HeldBytes {
    bytes: Bytes,
    _held: Arc<Held>,
    _share: Option<Share>,
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn new(
        body: B,
        request: InFlight,
        shares: &Arc<Shares>,
        sender: Option<Sender>,
    ) -> Self {
        let mut share = shares.share(sender.clone());
        let length = body.size_hint().exact().unwrap_or_default();
        share.exceed(usize::try_from(length).unwrap_or(usize::MAX));
        Self {
            body,
            held: Arc::new(Held { request, share }),
            shares: Arc::clone(shares),
            sender,
        }
    }

    fn hold(&self, bytes: Bytes) -> Bytes {
        let has_length = self.held.share.amount() > 0;
        let share = (!has_length).then(|| {
            let mut share = self.shares.share(self.sender.clone());
            share.exceed(bytes.len());
            share
        });
        Bytes::from_owner(HeldBytes {
            bytes,
            _held: Arc::clone(&self.held),
            _share: share,
        })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.held.request.sends();
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.hold(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
