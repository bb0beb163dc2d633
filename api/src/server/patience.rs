//! A connection that is given up when nothing moves on it: a caller that begins and does not go on, or that does not take what
//! it asked for.

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

/// How long a connection may say nothing at first. Enough of it to tell HTTP/1 from HTTP/2 must come in this time.
const GREETING: Duration = Duration::from_secs(10);

/// How many bytes show that somebody speaks HTTP/1: the least that a request has.
const HTTP1_GREETING: usize = 18;

/// The same for HTTP/2: its preface, and more than that.
const HTTP2_GREETING: usize = 25;

/// How long nothing may move after that: longer than a caller may wait for an answer, or than streams of events are silent.
const SILENCE: Duration = Duration::from_secs(75);

/// A stream that fails when it stands still.
pub(super) struct Patient<T> {
    inner: T,
    received: usize,
    greeting: usize,
    alarm: Pin<Box<Sleep>>,
}

impl<T> Patient<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, received: 0, greeting: HTTP1_GREETING, alarm: Box::pin(sleep(GREETING)) }
    }

    fn moved(&mut self) {
        if self.received >= self.greeting {
            self.alarm.as_mut().reset(Instant::now() + SILENCE);
        }
    }

    /// What there is to say of a side on which nothing moves just now.
    fn wait<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        ready!(self.alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                if self.received == 0 && buffer.filled()[before..].starts_with(b"PRI") {
                    self.greeting = HTTP2_GREETING;
                }
                self.received = self.received.saturating_add(buffer.filled().len() - before);
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(cx),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(cx, slices) {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(cx),
        }
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_go_on_is_given_up() {
        for said in [b"GET /".as_slice(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let (mut caller, served) = duplex(64);
            let mut served = Patient::new(served);
            let began = Instant::now();
            caller.write_all(said).await.unwrap();
            let mut received = Vec::new();
            let error = served.read_to_end(&mut received).await.unwrap_err();
            assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, GREETING));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_take_what_it_asked_for_is_given_up() {
        let (mut caller, served) = duplex(64);
        let mut served = Patient::new(served);
        caller.write_all(&[b'a'; HTTP1_GREETING]).await.unwrap();
        served.read_exact(&mut [0; HTTP1_GREETING]).await.unwrap();
        let began = Instant::now();
        let error = served.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, SILENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_moves_is_kept() {
        let (mut caller, served) = duplex(64);
        let mut served = Patient::new(served);
        caller.write_all(&[b'a'; HTTP1_GREETING]).await.unwrap();
        served.read_exact(&mut [0; HTTP1_GREETING]).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(SILENCE / 2).await;
            served.write_all(b": \n").await.unwrap();
            caller.read_exact(&mut [0; 3]).await.unwrap();
        }
    }
}
