// What the page knows of jobs: as the list has them, then as the stream tells them.

import { call, Refusal } from "./api.js";
import { hasEnded, stateOf } from "./words.js";

/** How many jobs are read at a time: the api reads no more with their outputs. */
const PAGE = 50;

/** How many of the last jobs of a model say how long one usually takes. */
const USUAL = 20;

/** Whether a job is known as a whole, and not as the list has it. */
export function isWhole(job) {
  return job.links?.events !== undefined;
}

/** What is listed: `{status, model, days, text}`, each empty if it is not asked for. */
export const EVERYTHING = { status: "", model: "", since: "", text: "" };

function queryOf(filter) {
  const query = new URLSearchParams({ expand: "media", limit: PAGE });
  // Temporal lists jobs in doubt with those under way.
  if (filter.status) query.set("status", filter.status);
  if (filter.model) query.set("model", filter.model);
  if (filter.since) query.set("created_after", new Date(Date.now() - Number(filter.since)).toISOString());
  return query;
}

/** The jobs that are known. Tells `job` with its id each time that one is new, has changed or is gone. */
export class Jobs extends EventTarget {
  #jobs = new Map();
  #cursors = new Map();
  #reading = new Map();

  get(id) {
    return this.#jobs.get(id);
  }

  get size() {
    return this.#jobs.size;
  }

  /** Forgets everything: it was somebody else's. */
  clear() {
    this.#jobs.clear();
    this.#cursors.clear();
    this.dispatchEvent(new Event("clear"));
  }

  /** Takes a job as it was read. What is known as a whole is not replaced by a summary of the same state. */
  put(job) {
    const known = this.#jobs.get(job.job_id);
    if (known && isWhole(known) && !isWhole(job)) {
      if (known.status === job.status || hasEnded(known)) return;
      // The list is ahead: the rest is read anew.
      this.read(job.job_id).catch(() => {});
      return;
    }
    if (known && isWhole(known) && isWhole(job) && Date.parse(job.updated_at) < Date.parse(known.updated_at)) return;
    this.#jobs.set(job.job_id, job);
    this.#tell(job.job_id, known);
  }

  remove(id) {
    const known = this.#jobs.get(id);
    if (this.#jobs.delete(id)) this.#tell(id, known);
  }

  #tell(id, before) {
    this.dispatchEvent(new CustomEvent("job", { detail: { id, before, job: this.#jobs.get(id) } }));
  }

  /** Reads a job as a whole. */
  read(id) {
    if (this.#reading.has(id)) return this.#reading.get(id);
    const reading = call("GET", `v1/jobs/${id}`).then((job) => {
      this.put(job);
      return job;
    }, (refusal) => {
      if (refusal instanceof Refusal && refusal.isGone) this.remove(id);
      throw refusal;
    }).finally(() => this.#reading.delete(id));
    this.#reading.set(id, reading);
    return reading;
  }

  /** Whether there may be more of a filter than was read. */
  hasMore(filter) {
    return this.#cursors.get(queryOf({ ...filter, since: "" }).toString() + filter.since) !== null;
  }

  /** Reads the next page of a filter, or its first one again. */
  async load(filter, { anew = false } = {}) {
    const query = queryOf(filter);
    const name = queryOf({ ...filter, since: "" }).toString() + filter.since;
    const cursor = anew ? undefined : this.#cursors.get(name);
    if (cursor === null) return;
    if (cursor) query.set("cursor", cursor.text);
    if (cursor?.after) query.set("created_after", cursor.after);
    const page = await call("GET", `v1/jobs?${query}`);
    for (const job of page.jobs) this.put(job);
    const after = query.get("created_after");
    this.#cursors.set(name, page.next_cursor ? { text: page.next_cursor, after } : null);
  }

  /** The ids of what a filter shows, the newest first. */
  list(filter) {
    const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
    const since = filter.since ? Date.now() - Number(filter.since) : 0;
    const shows = (job) => {
      const isOf = !filter.status || (filter.status === "processing" ? !hasEnded(job) : job.status === filter.status);
      const text = `${job.prompt ?? ""} ${job.model} ${job.job_id}`.toLowerCase();
      return isOf && (!filter.model || job.model === filter.model)
        && Date.parse(job.created_at) >= since && words.every((word) => text.includes(word));
    };
    return [...this.#jobs.values()].filter(shows)
      .sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at) || (one.job_id < other.job_id ? 1 : -1))
      .map((job) => job.job_id);
  }

  /** The models that were seen, the latest first. */
  models() {
    return [...new Set(this.list(EVERYTHING).map((id) => this.#jobs.get(id).model))];
  }

  /** How many there are of each state. */
  counts() {
    const counts = {};
    for (const job of this.#jobs.values()) counts[stateOf(job)] = (counts[stateOf(job)] ?? 0) + 1;
    return counts;
  }

  /** How long a job of this model usually takes, in milliseconds: the median of the last ones; `null` of fewer than three. */
  usual(model) {
    const took = [...this.#jobs.values()]
      .filter((job) => job.model === model && job.status === "completed" && job.completed_at)
      .sort((one, other) => Date.parse(other.completed_at) - Date.parse(one.completed_at)).slice(0, USUAL)
      .map((job) => Date.parse(job.completed_at) - Date.parse(job.created_at)).sort((one, other) => one - other);
    return took.length < 3 ? null : took[Math.floor(took.length / 2)];
  }
}
