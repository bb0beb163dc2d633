// Jobs known to the page: from the list, then from the stream.

import { ApiError, call } from "./api.js";
import { now } from "./clock.js";
import { hasEnded, stateOf } from "./words.js";

/** Jobs per page of the list: the limit of the api for jobs with their outputs. */
const PAGE_SIZE = 50;

/** Limits of concurrent reads of single jobs, and of known jobs. */
const MAX_READS = 4;
const MAX_JOBS = 5000;

/** Number of latest jobs of a model whose median duration is shown. */
const SAMPLES = 20;

/** True if a job is known completely, not only as a summary of the list. */
export function isWhole(job) {
  return job.links?.events !== undefined;
}

/** Filter `{status, model, since, text}` that matches all jobs: each field is empty. */
export const NO_FILTER = { status: "", model: "", since: "", text: "" };

function queryOf(filter) {
  const query = new URLSearchParams({ expand: "media", limit: PAGE_SIZE });
  // Temporal lists running jobs in doubt with the other running jobs.
  if (filter.status) query.set("status", filter.status);
  if (filter.model) query.set("model", filter.model);
  if (filter.since) {
    query.set("created_after", new Date(now() - Number(filter.since)).toISOString());
  }
  return query;
}

/** Key of the part of a filter that the api applies; the page applies the text. */
export function keyOf(filter) {
  return [filter.status, filter.model, filter.since].join("|");
}

/** True if a job matches a filter. */
export function matches(filter, job) {
  const since = filter.since ? now() - Number(filter.since) : 0;
  const hasStatus = !filter.status
    || (filter.status === "processing" ? !hasEnded(job) : job.status === filter.status);
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${job.prompt ?? ""} ${job.model} ${job.job_id}`.toLowerCase();
  return hasStatus && (!filter.model || job.model === filter.model)
    && Date.parse(job.created_at) >= since && words.every((word) => text.includes(word));
}

/** Known jobs. Dispatches `job` with its id when one is added, changed or removed. */
export class Jobs extends EventTarget {
  #jobs = new Map();
  #cursors = new Map();
  #reading = new Map();
  /** Keys of filters whose running jobs are all listed. */
  #listed = new Set();
  #waiting = [];
  #medians = new Map();
  /** Incremented by `clear`, so that responses to earlier requests are discarded. */
  #epoch = 0;

  /** Jobs that were created on this page. */
  own = new Set();

  get(id) {
    return this.#jobs.get(id);
  }

  get size() {
    return this.#jobs.size;
  }

  /** Removes all jobs, for another key. */
  clear() {
    this.#epoch += 1;
    for (const known of [this.#jobs, this.#cursors, this.#reading, this.#listed, this.#medians]) {
      known.clear();
    }
    this.dispatchEvent(new Event("clear"));
  }

  /** Stores a job. A summary does not replace a complete job in the same state. */
  put(job) {
    const known = this.#jobs.get(job.job_id);
    if (known && isWhole(known) && !isWhole(job)) {
      if (known.status === job.status && known.completed_at === job.completed_at) return;
      // The list is newer: read the whole job.
      this.read(job.job_id).catch(() => {});
      return;
    }
    const isOlder = known && isWhole(known) && isWhole(job)
      && Date.parse(job.updated_at) < Date.parse(known.updated_at);
    if (isOlder) return;
    this.#jobs.set(job.job_id, job);
    if (this.#jobs.size > MAX_JOBS) this.#evictOldest();
    this.#dispatch(job.job_id, known);
  }

  /** Returns a complete job, reading it if only its summary is known. */
  async whole(job) {
    return isWhole(job) ? job : this.read(job.job_id);
  }

  /** Evicts the oldest ended jobs. They are listed again when the user scrolls to them. */
  #evictOldest() {
    const ended = this.list(NO_FILTER).filter((id) => hasEnded(this.#jobs.get(id)));
    for (const id of ended.slice(-MAX_JOBS / 5)) this.remove(id);
    this.#cursors.clear();
  }

  remove(id) {
    const known = this.#jobs.get(id);
    if (this.#jobs.delete(id)) this.#dispatch(id, known);
  }

  #dispatch(id, before) {
    this.dispatchEvent(new CustomEvent("job", { detail: { id, before, job: this.#jobs.get(id) } }));
  }

  /** Reads a complete job. A few are read at a time; concurrent reads of one job are shared. */
  read(id) {
    if (this.#reading.has(id)) return this.#reading.get(id);
    const epoch = this.#epoch;
    const reading = this.#slot().then(() => call("GET", `v1/jobs/${id}`)).then((job) => {
      if (epoch === this.#epoch) this.put(job);
      return job;
    }, (error) => {
      if (error instanceof ApiError && error.isGone && epoch === this.#epoch) this.remove(id);
      throw error;
    }).finally(() => {
      this.#reading.delete(id);
      this.#waiting.shift()?.();
    });
    this.#reading.set(id, reading);
    return reading;
  }

  /** Waits until another job may be read. */
  #slot() {
    if (this.#reading.size < MAX_READS) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** True if a filter may have more jobs than were read. */
  hasMore(filter) {
    return this.#cursors.get(keyOf(filter)) !== null;
  }

  /** Reads the next page of a filter. */
  async load(filter) {
    const [query, name, epoch] = [queryOf(filter), keyOf(filter), this.#epoch];
    // The list begins with running jobs, which the stream has sent already. Reading their outputs
    // again would load the workers.
    if (!this.#listed.has(name) && this.#countRunning() >= PAGE_SIZE) {
      query.delete("expand");
      query.set("limit", 2 * PAGE_SIZE);
    }
    const cursor = this.#cursors.get(name);
    if (cursor === null) return;
    if (cursor) query.set("cursor", cursor.text);
    if (cursor?.after) query.set("created_after", cursor.after);
    const page = await call("GET", `v1/jobs?${query}`);
    if (epoch !== this.#epoch) return;
    if (!query.has("expand") && !page.jobs.every((job) => this.#knows(job))) {
      this.#listed.add(name);
      return this.load(filter);
    }
    for (const job of page.jobs) this.put(job);
    const after = query.get("created_after");
    this.#cursors.set(name, page.next_cursor ? { text: page.next_cursor, after } : null);
  }

  #knows(job) {
    const known = this.#jobs.get(job.job_id);
    return known && isWhole(known) && known.status === job.status;
  }

  #countRunning() {
    return [...this.#jobs.values()].filter((job) => !hasEnded(job)).length;
  }

  /** Returns the ids of the jobs that match a filter, the newest first. */
  list(filter) {
    return [...this.#jobs.values()].filter((job) => matches(filter, job))
      .sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at)
        || (one.job_id < other.job_id ? 1 : -1))
      .map((job) => job.job_id);
  }

  /** Returns the known models, the latest first. */
  models() {
    return [...new Set(this.list(NO_FILTER).map((id) => this.#jobs.get(id).model))];
  }

  /** Counts the jobs by state. */
  counts() {
    const counts = {};
    for (const job of this.#jobs.values()) counts[stateOf(job)] = (counts[stateOf(job)] ?? 0) + 1;
    return counts;
  }

  /** Returns the median duration of a model's latest jobs, in ms; `null` for fewer than three. */
  medianDuration(model) {
    const known = this.#medians.get(model);
    if (known && Date.now() - known.at < 5000) return known.median;
    const durations = [...this.#jobs.values()]
      .filter((job) => job.model === model && job.status === "completed")
      .filter((job) => job.completed_at && !job.retry_count)
      .sort((one, other) => Date.parse(other.completed_at) - Date.parse(one.completed_at))
      .slice(0, SAMPLES)
      .map((job) => Date.parse(job.completed_at) - Date.parse(job.created_at))
      .sort((one, other) => one - other);
    const median = durations.length < 3 ? null : durations[Math.floor(durations.length / 2)];
    this.#medians.set(model, { at: Date.now(), median });
    return median;
  }
}
