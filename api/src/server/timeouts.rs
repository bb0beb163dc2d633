//! Header timeout and idle timeout of a connection. They disconnect slow clients, which begin a
//! request and do not finish it, or do not read the response. A keep-alive connection may stay idle
//! between requests for longer than load balancers keep theirs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::idle::IdleTracker;

/// Header timeout: the time from the first byte of a request to the end of its head. Before that
/// byte, a new connection is as idle as any other: clients open some in advance.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// First bytes of the connection preface of HTTP/2:
/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
const HTTP2: &[u8] = b"PRI";

/// A stream that fails with `TimedOut` if no bytes move in time.
pub(super) struct TimeoutStream<T> {
    inner: T,
    tracker: IdleTracker,
    /// Set while a request head is being received: the number of requests that had begun before it.
    head: Option<u64>,
    /// Unknown before the first bytes. On HTTP/2 these begin a head, and bytes between requests do
    /// not.
    is_http2: Option<bool>,
    alarm: Pin<Box<Sleep>>,
}

impl<T> TimeoutStream<T> {
    pub(super) fn new(inner: T, tracker: IdleTracker) -> Self {
        let idle_timeout = tracker.idle_timeout();
        Self {
            inner,
            tracker,
            head: None,
            is_http2: None,
            alarm: Box::pin(sleep(idle_timeout)),
        }
    }

    /// Restarts the idle timeout. The header timeout of a head under way runs on, even if a slow
    /// client sends the head byte by byte.
    fn moved(&mut self) {
        self.head = self.head.filter(|begun| *begun == self.tracker.begun());
        if self.head.is_none() {
            self.alarm
                .as_mut()
                .reset(Instant::now() + self.tracker.idle_timeout());
        }
    }

    /// Handles received bytes: they begin a head if no request is in flight.
    fn received(&mut self, bytes: &[u8]) {
        self.tracker.read(bytes.len());
        let is_http2 = self.is_http2 == Some(true);
        self.is_http2.get_or_insert(bytes.starts_with(HTTP2));
        self.moved();
        if self.head.is_none() && !is_http2 && !self.tracker.is_under_way() {
            self.head = Some(self.tracker.begun());
            self.alarm.as_mut().reset(Instant::now() + HEADER_TIMEOUT);
        }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(result) = written else {
            return self.wait(cx);
        };
        self.moved();
        if let Ok(bytes) = result {
            self.tracker.wrote(bytes);
        }
        Poll::Ready(result)
    }

    /// Fails a read or write that cannot make progress, once its timeout has passed.
    fn wait<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        ready!(self.alarm.as_mut().poll(cx));
        if self.head.is_some_and(|begun| begun != self.tracker.begun()) {
            // The head came in time. Its request is in flight, under the idle timeout.
            self.moved();
            ready!(self.alarm.as_mut().poll(cx));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TimeoutStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                self.received(&buffer.filled()[before..]);
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(cx),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn connection() -> (DuplexStream, TimeoutStream<DuplexStream>, IdleTracker) {
        let (caller, served) = duplex(64);
        let tracker = IdleTracker::new("75".parse().unwrap());
        (caller, TimeoutStream::new(served, tracker.clone()), tracker)
    }

    async fn fails_after(served: &mut TimeoutStream<DuplexStream>) -> Duration {
        let began = Instant::now();
        let error = served.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn incomplete_headers_time_out() {
        for sent in [
            "GET /",
            "GET /healthz HTTP/1.1\r\nHost: a\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let (mut caller, mut served, _tracker) = connection();
            caller.write_all(sent.as_bytes()).await.unwrap();
            assert_eq!(fails_after(&mut served).await, HEADER_TIMEOUT, "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_may_be_idle() {
        let (_caller, mut served, tracker) = connection();
        assert_eq!(fails_after(&mut served).await, tracker.idle_timeout());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_headers_do_not_extend_the_timeout() {
        let (mut caller, mut served, tracker) = connection();
        drop(tracker.begin());
        tokio::spawn(async move {
            // Idle for a minute, as connections of load balancers are, and then byte by byte.
            tokio::time::sleep(Duration::from_mins(1)).await;
            while caller.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(
            fails_after(&mut served).await,
            Duration::from_mins(1) + HEADER_TIMEOUT
        );
    }

    #[tokio::test(start_paused = true)]
    async fn responses_may_take_longer_than_headers() {
        let (mut caller, mut served, tracker) = connection();
        caller.write_all(b"GET").await.unwrap();
        served.read_exact(&mut [0; 3]).await.unwrap();
        let _under_way = tracker.begin();
        let began = Instant::now();
        let answer = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            caller.write_all(b"more").await.unwrap();
        };
        let (read, ()) = tokio::join!(served.read_u8(), answer);
        assert_eq!(
            (read.unwrap(), began.elapsed()),
            (b'm', Duration::from_mins(1))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn unread_responses_time_out() {
        let (_caller, mut served, tracker) = connection();
        let _under_way = tracker.begin();
        let began = Instant::now();
        let error = served.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(
            (error.kind(), began.elapsed()),
            (io::ErrorKind::TimedOut, tracker.idle_timeout())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn active_connections_do_not_time_out() {
        let (mut caller, mut served, tracker) = connection();
        let _under_way = tracker.begin();
        for _ in 0..3 {
            tokio::time::sleep(tracker.idle_timeout() / 2).await;
            served.write_all(b": \n").await.unwrap();
            caller.read_exact(&mut [0; 3]).await.unwrap();
        }
    }
}
