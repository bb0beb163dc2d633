//! Jobs: asked for, read, stopped, taken up again, deleted. Following them is in `events.rs`.

use darkroom_types::{
    job_id::JobId,
    request::{
        Disposition, GetMediaUrl, IdempotencyKey, JobRequest, ListJobs, ListMedia, RetryRequest,
    },
    resource::{Deletion, Job, JobPage, Media, MediaPage, MediaUrl},
};
use reqwest::{Method, RequestBuilder};
use uuid::Uuid;

use crate::{Client, Error, call::Idempotency};

/// What a request is named by, so that it is acted upon once.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl Client {
    /// Asks for a job, under a name of its own: however often the request has to be sent, there is
    /// one job.
    ///
    /// # Errors
    /// If the request is refused, or nobody can be reached: then there may be a job all the same.
    /// Who must know uses [`create_job_once`](Self::create_job_once) with a name that he keeps.
    pub async fn create_job(&self, request: &JobRequest) -> Result<Job, Error> {
        self.create(request, &Uuid::new_v4().to_string()).await
    }

    /// Asks for a job by a name of the caller's: asking again leads to the same job, at any time.
    ///
    /// # Errors
    /// If the request is refused, the name was used for another one, or nobody can be reached.
    pub async fn create_job_once(
        &self,
        request: &JobRequest,
        key: &IdempotencyKey,
    ) -> Result<Job, Error> {
        self.create(request, &key.to_string()).await
    }

    async fn create(&self, request: &JobRequest, key: &str) -> Result<Job, Error> {
        let create = self.request(Method::POST, self.url_of(&["v1", "jobs"]));
        let create = create.header(IDEMPOTENCY_KEY, key).json(request);
        self.call(create, Idempotency::Idempotent).await
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// If there is no such job, or nobody can be reached.
    pub async fn get_job(&self, job_id: &JobId) -> Result<Job, Error> {
        self.call(
            self.of_job(Method::GET, job_id, &[]),
            Idempotency::Idempotent,
        )
        .await
    }

    /// A page of jobs.
    ///
    /// # Errors
    /// If the list cannot be had.
    pub async fn list_jobs(&self, list: &ListJobs) -> Result<JobPage, Error> {
        let get = self.request(Method::GET, self.url_of(&["v1", "jobs"]));
        self.call(get.query(list), Idempotency::Idempotent).await
    }

    /// A page of a job's outputs.
    ///
    /// # Errors
    /// If there is no such job, or nobody can be reached.
    pub async fn list_media(&self, job_id: &JobId, list: &ListMedia) -> Result<MediaPage, Error> {
        let get = self.of_job(Method::GET, job_id, &["media"]);
        self.call(get.query(list), Idempotency::Idempotent).await
    }

    /// All outputs of a job, those included that it does not show itself.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn all_media(&self, job: &Job) -> Result<Vec<Media>, Error> {
        let mut media = job.media.clone();
        let mut cursor = job.media_next_cursor.clone();
        while cursor.is_some() {
            let limit = None;
            let page = self
                .list_media(&job.job_id, &ListMedia { limit, cursor })
                .await?;
            media.extend(page.media);
            cursor = page.next_cursor;
        }
        Ok(media)
    }

    /// A URL of an output, good for 45 minutes at least, for whoever has it.
    ///
    /// # Errors
    /// If the output is not stored, or nobody can be reached.
    pub async fn media_url(
        &self,
        job_id: &JobId,
        index: u32,
        disposition: Option<Disposition>,
    ) -> Result<MediaUrl, Error> {
        let get = self.of_job(Method::GET, job_id, &["media", &index.to_string(), "url"]);
        let get = get.query(&GetMediaUrl { disposition });
        self.call(get, Idempotency::Idempotent).await
    }

    /// Asks a job to stop. What came of it shows in the job, soon.
    ///
    /// # Errors
    /// If the job has ended, there is none, or nobody can be reached.
    pub async fn cancel_job(&self, job_id: &JobId) -> Result<Job, Error> {
        let post = self.of_job(Method::POST, job_id, &["cancel"]);
        self.call(post, Idempotency::Idempotent).await
    }

    /// Takes a job up again that did not get everything. It pays again only if `regenerate` says
    /// so.
    ///
    /// # Errors
    /// If there is nothing to retry, it would cost, or nobody can be reached.
    pub async fn retry_job(&self, job_id: &JobId, retry: RetryRequest) -> Result<Job, Error> {
        let post = self.of_job(Method::POST, job_id, &["retry"]);
        let post = post.header(IDEMPOTENCY_KEY, Uuid::new_v4().to_string());
        self.call(post.json(&retry), Idempotency::Idempotent).await
    }

    /// Deletes a job and all that it has stored, for good.
    ///
    /// # Errors
    /// If there is no such job, or nobody can be reached.
    pub async fn delete_job(&self, job_id: &JobId) -> Result<Deletion, Error> {
        let delete = self.of_job(Method::DELETE, job_id, &[]);
        self.call(delete, Idempotency::Idempotent).await
    }

    /// A request of something of a job.
    pub(crate) fn of_job(&self, method: Method, job_id: &JobId, what: &[&str]) -> RequestBuilder {
        let path = [&["v1", "jobs", job_id.as_str()], what].concat();
        self.request(method, self.url_of(&path))
    }
}
