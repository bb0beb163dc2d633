// The jobs that the page knows: from the list, then from the stream.

import { call, Refusal } from "./api.js";
import { hasEnded, stateOf } from "./words.js";

/** Jobs per page of the list: the limit of the api with their outputs. */
const PAGE = 50;

/** Limits of concurrent reads of single jobs, and of known jobs. */
const READS = 4;
const MOST = 5000;

/** Number of the latest jobs of a model whose median duration is its usual one. */
const USUAL = 20;

/** True if a job is known completely, not only as a summary of the list. */
export function isWhole(job) {
  return job.links?.events !== undefined;
}

/** Filter `{status, model, since, text}` that shows all jobs; an empty field filters nothing. */
export const EVERYTHING = { status: "", model: "", since: "", text: "" };

function queryOf(filter) {
  const query = new URLSearchParams({ expand: "media", limit: PAGE });
  // Temporal lists jobs in doubt with those under way.
  if (filter.status) query.set("status", filter.status);
  if (filter.model) query.set("model", filter.model);
  if (filter.since) query.set("created_after", new Date(Date.now() - Number(filter.since)).toISOString());
  return query;
}

/** Key of the part of a filter that the api applies: text is searched here. */
export function nameOf(filter) {
  return [filter.status, filter.model, filter.since].join("|");
}

/** True if a filter shows a job. */
export function shows(filter, job) {
  const since = filter.since ? Date.now() - Number(filter.since) : 0;
  const isOf = !filter.status || (filter.status === "processing" ? !hasEnded(job) : job.status === filter.status);
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${job.prompt ?? ""} ${job.model} ${job.job_id}`.toLowerCase();
  return isOf && (!filter.model || job.model === filter.model)
    && Date.parse(job.created_at) >= since && words.every((word) => text.includes(word));
}

/** The known jobs. Dispatches `job` with its id when one is new, has changed or is gone. */
export class Jobs extends EventTarget {
  #jobs = new Map();
  #cursors = new Map();
  #reading = new Map();
  /** Filters whose jobs under way are all listed. */
  #past = new Set();
  #waiting = [];
  #usual = new Map();
  /** Incremented by `clear`: answers to earlier requests are then discarded. */
  #era = 0;

  /** Jobs that were created on this page. */
  own = new Set();

  get(id) {
    return this.#jobs.get(id);
  }

  get size() {
    return this.#jobs.size;
  }

  /** Clears everything, for another key. */
  clear() {
    this.#era += 1;
    for (const known of [this.#jobs, this.#cursors, this.#reading, this.#past, this.#usual]) known.clear();
    this.dispatchEvent(new Event("clear"));
  }

  /** Stores a job as it was read. A summary does not replace a complete job in the same state. */
  put(job) {
    const known = this.#jobs.get(job.job_id);
    if (known && isWhole(known) && !isWhole(job)) {
      if (known.status === job.status && known.completed_at === job.completed_at) return;
      // The list is ahead: read the whole job.
      this.read(job.job_id).catch(() => {});
      return;
    }
    if (known && isWhole(known) && isWhole(job) && Date.parse(job.updated_at) < Date.parse(known.updated_at)) return;
    this.#jobs.set(job.job_id, job);
    if (this.#jobs.size > MOST) this.#forgetOldest();
    this.#tell(job.job_id, known);
  }

  /** Returns a complete job, reading it if only its summary is known. */
  async whole(job) {
    return isWhole(job) ? job : this.read(job.job_id);
  }

  /** Evicts the oldest ended jobs. They are listed again when the user scrolls there. */
  #forgetOldest() {
    const ended = this.list(EVERYTHING).filter((id) => hasEnded(this.#jobs.get(id)));
    for (const id of ended.slice(-MOST / 5)) this.remove(id);
    this.#cursors.clear();
  }

  remove(id) {
    const known = this.#jobs.get(id);
    if (this.#jobs.delete(id)) this.#tell(id, known);
  }

  #tell(id, before) {
    this.dispatchEvent(new CustomEvent("job", { detail: { id, before, job: this.#jobs.get(id) } }));
  }

  /** Reads a complete job: a few at a time, and each once. */
  read(id) {
    if (this.#reading.has(id)) return this.#reading.get(id);
    const era = this.#era;
    const reading = this.#turn().then(() => call("GET", `v1/jobs/${id}`)).then((job) => {
      if (era === this.#era) this.put(job);
      return job;
    }, (refusal) => {
      if (refusal instanceof Refusal && refusal.isGone && era === this.#era) this.remove(id);
      throw refusal;
    }).finally(() => {
      this.#reading.delete(id);
      this.#waiting.shift()?.();
    });
    this.#reading.set(id, reading);
    return reading;
  }

  #turn() {
    if (this.#reading.size < READS) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** True if a filter may have more jobs than were read. */
  hasMore(filter) {
    return this.#cursors.get(nameOf(filter)) !== null;
  }

  /** Reads the next page of a filter. */
  async load(filter) {
    const [query, name, era] = [queryOf(filter), nameOf(filter), this.#era];
    // Jobs under way come first, and the stream has sent them already. Reading a thousand of them
    // again would cost a worker's time.
    if (!this.#past.has(name) && this.#countUnderWay() >= PAGE) {
      query.delete("expand");
      query.set("limit", 2 * PAGE);
    }
    const cursor = this.#cursors.get(name);
    if (cursor === null) return;
    if (cursor) query.set("cursor", cursor.text);
    if (cursor?.after) query.set("created_after", cursor.after);
    const page = await call("GET", `v1/jobs?${query}`);
    if (era !== this.#era) return;
    if (!query.has("expand") && !page.jobs.every((job) => this.#knows(job))) {
      this.#past.add(name);
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

  #countUnderWay() {
    return [...this.#jobs.values()].filter((job) => !hasEnded(job)).length;
  }

  /** Returns the ids of the jobs that a filter shows, the newest first. */
  list(filter) {
    return [...this.#jobs.values()].filter((job) => shows(filter, job))
      .sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at) || (one.job_id < other.job_id ? 1 : -1))
      .map((job) => job.job_id);
  }

  /** Returns the known models, the latest first. */
  models() {
    return [...new Set(this.list(EVERYTHING).map((id) => this.#jobs.get(id).model))];
  }

  /** Counts the jobs by state. */
  counts() {
    const counts = {};
    for (const job of this.#jobs.values()) counts[stateOf(job)] = (counts[stateOf(job)] ?? 0) + 1;
    return counts;
  }

  /** Returns the median duration of a model's latest jobs, in ms; `null` of fewer than three. */
  usual(model) {
    const known = this.#usual.get(model);
    if (known && Date.now() - known.at < 5000) return known.usual;
    const took = [...this.#jobs.values()]
      .filter((job) => job.model === model && job.status === "completed" && job.completed_at && !job.retry_count)
      .sort((one, other) => Date.parse(other.completed_at) - Date.parse(one.completed_at)).slice(0, USUAL)
      .map((job) => Date.parse(job.completed_at) - Date.parse(job.created_at)).sort((one, other) => one - other);
    const usual = took.length < 3 ? null : took[Math.floor(took.length / 2)];
    this.#usual.set(model, { at: Date.now(), usual });
    return usual;
  }
}
