//! Previews of images: a thumbnail, and a thumbhash of some thirty bytes to show while it loads.
//! They are made of the stored output, within the memory budget of all outputs, one at a time and
//! on a thread of the lowest priority. If a preview cannot be made, the output has none, and
//! nothing fails.
//!
//! - `thumbnail`: decodes an image, makes it small, and encodes it

mod thumbnail;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use darkroom_storage::{Existing, NewObject, Storage, UploadedObject};
use darkroom_workflows::{
    contract::persist::PersistInput,
    job::{MediaFacts, Preview},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use self::thumbnail::Made;
use super::memory::Memory;

/// Largest image that a preview is made of, in pixels.
const MAX_PIXELS: u64 = 24_000_000;

/// Largest file that a preview is made of, in bytes.
const MAX_FILE: usize = 48 * 1024 * 1024;

/// Timeout of waiting for the permit to make a preview.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(200);

/// Timeout of making and storing a preview, from the permit on.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes previews.
#[derive(Clone, Debug)]
pub struct Previewer {
    work: mpsc::Sender<Work>,
    permit: Arc<Semaphore>,
}

type Work = Box<dyn FnOnce() + Send>;

/// A stored output to make a preview of.
pub(super) struct Original<'a> {
    pub(super) object: &'a UploadedObject,
    pub(super) facts: &'a MediaFacts,
    /// Bytes of the output, if they are in memory anyhow.
    pub(super) bytes: Option<Bytes>,
}

impl Previewer {
    /// Starts the thread that makes previews. It ends when the last clone is dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work>();
        thread::Builder::new()
            .name("previews".to_owned())
            .spawn(move || {
                give_way();
                for work in queue {
                    // A panic in a decoder costs only its own preview.
                    let _ = catch_unwind(AssertUnwindSafe(work));
                }
            })?;
        Ok(Self {
            work,
            permit: Arc::new(Semaphore::new(1)),
        })
    }

    /// Makes and stores a preview of a stored output, if that is possible now.
    pub(super) async fn preview(
        &self,
        storage: &Storage,
        memory: &Memory,
        input: &PersistInput,
        original: Original<'_>,
    ) -> Option<Preview> {
        let Original {
            object,
            facts,
            bytes,
        } = original;
        let (tenant, job_id, index) = (input.tenant.as_ref(), &input.job_id, input.index);
        let format = thumbnail::source_format(&object.content_type)?;
        pixels(facts).filter(|pixels| *pixels <= MAX_PIXELS)?;
        let size = usize::try_from(object.size)
            .ok()
            .filter(|size| *size <= MAX_FILE)?;
        let file = memory.try_reserve(tenant, size)?;
        let permit = self.acquire_permit().await?;
        let made = async {
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => storage.read(&object.s3_key, size).await.ok()??,
            };
            let needed = thumbnail::needed(&bytes, format)?;
            let reserved = memory.try_reserve(tenant, usize::try_from(needed).ok()?)?;
            let (sender, receiver) = oneshot::channel();
            let work = move || {
                let made = thumbnail::make(&bytes, format, needed);
                drop((bytes, file, reserved, permit));
                // Ignored: the caller has timed out.
                let _ = sender.send(made);
            };
            self.work.send(Box::new(work)).ok()?;
            let made = receiver.await.ok()?;
            let made = made.inspect_err(
                |error| tracing::debug!(%job_id, index, %error, "cannot make a preview"),
            );
            let Made { preview, bytes } = made.ok()?;
            let object = NewObject {
                key: preview.key(job_id, index),
                content_type: preview.format.content_type().to_owned(),
                content_disposition: None,
                metadata: Vec::new(),
                existing: Existing::Replace,
            };
            let put = storage.put(&object, bytes.into()).await;
            put.inspect_err(
                |error| tracing::debug!(%job_id, index, %error, "cannot store a preview"),
            )
            .ok()?;
            Some(preview)
        };
        timeout(TIMEOUT, made).await.ok()?
    }

    /// Waits briefly for the permit to make a preview.
    async fn acquire_permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = timeout(PERMIT_TIMEOUT, Arc::clone(&self.permit).acquire_owned());
        permit.await.ok()?.ok()
    }
}

/// Lowers the priority of this thread below that of all others.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        const LAST: i32 = 19;
        // Ignored: without the permission, previews run at normal priority.
        let _ = rustix::process::setpriority_process(None, LAST);
    }
}

/// Number of pixels of an image, if it is known.
fn pixels(facts: &MediaFacts) -> Option<u64> {
    Some(u64::from(facts.width?) * u64::from(facts.height?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_a_turn_times_out() {
        let previewer = Previewer::start().unwrap();
        let permit = previewer.acquire_permit().await.unwrap();
        assert!(previewer.acquire_permit().await.is_none());
        drop(permit);
        assert!(previewer.acquire_permit().await.is_some());
    }

    #[tokio::test]
    async fn previews_continue_after_a_decoder_panics() {
        let previewer = Previewer::start().unwrap();
        previewer.work.send(Box::new(|| panic!("a fault"))).unwrap();
        let (sender, receiver) = oneshot::channel();
        let work = move || sender.send(()).unwrap();
        previewer.work.send(Box::new(work)).unwrap();
        receiver.await.unwrap();
    }
}
