//! Jobs: create, read, cancel, retry and delete them. Following them is in `events.rs`.

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

/// Header that carries the idempotency key.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl Client {
    /// Creates a job, with a generated idempotency key: however often the request is retried, there
    /// is one job.
    ///
    /// # Errors
    /// If the request is rejected, or if the api cannot be reached: then the job may exist
    /// nevertheless. Callers that must know use [`create_job_once`](Self::create_job_once) with a
    /// key that they keep.
    pub async fn create_job(&self, request: &JobRequest) -> Result<Job, Error> {
        self.create(request, &Uuid::new_v4().to_string()).await
    }

    /// Creates a job with the caller's idempotency key: a repeated call returns the same job, at
    /// any time.
    ///
    /// # Errors
    /// If the request is rejected, if the key was used for another request, or if the api cannot be
    /// reached.
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

    /// Returns the current state of a job.
    ///
    /// # Errors
    /// If there is no such job, or if the api cannot be reached.
    pub async fn get_job(&self, job_id: &JobId) -> Result<Job, Error> {
        self.call(
            self.of_job(Method::GET, job_id, &[]),
            Idempotency::Idempotent,
        )
        .await
    }

    /// Returns a page of jobs.
    ///
    /// # Errors
    /// If the query is rejected, or if the api cannot be reached.
    pub async fn list_jobs(&self, list: &ListJobs) -> Result<JobPage, Error> {
        let get = self.request(Method::GET, self.url_of(&["v1", "jobs"]));
        self.call(get.query(list), Idempotency::Idempotent).await
    }

    /// Returns a page of a job's outputs.
    ///
    /// # Errors
    /// If there is no such job, or if the api cannot be reached.
    pub async fn list_media(&self, job_id: &JobId, list: &ListMedia) -> Result<MediaPage, Error> {
        let get = self.of_job(Method::GET, job_id, &["media"]);
        self.call(get.query(list), Idempotency::Idempotent).await
    }

    /// Returns all outputs of a job, including those beyond the ones in `job`.
    ///
    /// # Errors
    /// If a further page cannot be listed.
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

    /// Returns a presigned URL of an output: valid for at least 45 minutes, and usable without an
    /// API key.
    ///
    /// # Errors
    /// If the output is not stored, or if the api cannot be reached.
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

    /// Requests the cancellation of a job. The outcome shows in the job soon after.
    ///
    /// # Errors
    /// If the job has ended, if there is no such job, or if the api cannot be reached.
    pub async fn cancel_job(&self, job_id: &JobId) -> Result<Job, Error> {
        let post = self.of_job(Method::POST, job_id, &["cancel"]);
        self.call(post, Idempotency::Idempotent).await
    }

    /// Retries a job that is not complete. Outputs are generated, and paid for, again only if
    /// `regenerate` is set.
    ///
    /// # Errors
    /// If there is nothing to retry, if outputs would have to be generated again and `regenerate`
    /// is not set, or if the api cannot be reached.
    pub async fn retry_job(&self, job_id: &JobId, retry: RetryRequest) -> Result<Job, Error> {
        let post = self.of_job(Method::POST, job_id, &["retry"]);
        let post = post.header(IDEMPOTENCY_KEY, Uuid::new_v4().to_string());
        self.call(post.json(&retry), Idempotency::Idempotent).await
    }

    /// Deletes a job and all that it has stored, permanently.
    ///
    /// # Errors
    /// If there is no such job, or if the api cannot be reached.
    pub async fn delete_job(&self, job_id: &JobId) -> Result<Deletion, Error> {
        let delete = self.of_job(Method::DELETE, job_id, &[]);
        self.call(delete, Idempotency::Idempotent).await
    }

    /// Builds a request to a path below a job.
    pub(crate) fn of_job(&self, method: Method, job_id: &JobId, what: &[&str]) -> RequestBuilder {
        let job_id = job_id.to_string();
        let path = [&["v1", "jobs", &job_id], what].concat();
        self.request(method, self.url_of(&path))
    }
}
