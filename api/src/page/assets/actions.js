// Actions on a job. Those that cost money, or cannot be undone, ask first; all of them report their
// outcome.

import { call, newKey, Refusal } from "./api.js";
import { announce, ask, toast } from "./dom.js";
import { count, hasEnded, requestOf } from "./words.js";

/** Reports that an action failed. */
function refused(error) {
  toast(error instanceof Refusal ? error.words : "It was not done: something went wrong in this page", "problem");
}

export class Actions {
  constructor(jobs, { remix, open }) {
    this.jobs = jobs;
    this.open = open;
    this.take = remix;
    /** Idempotency keys of paid jobs being created, by the job whose request they repeat. */
    this.keys = new Map();
  }

  /** Fills the composer with the request of a job. */
  async remix(job) {
    try {
      this.take(requestOf(await this.jobs.whole(job)));
    } catch (error) {
      refused(error);
    }
  }

  /** Creates a job. A lost answer is retried with the same key, so nothing is bought twice. */
  async create(request, key = newKey()) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const job = await call("POST", "v1/jobs", { body: request, headers: { "idempotency-key": key } });
        this.jobs.own.add(job.job_id);
        this.jobs.put(job);
        announce("The job is accepted");
        return job;
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 0 || attempt === 3) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
      }
    }
  }

  async cancel(job) {
    if (hasEnded(job)) return;
    try {
      this.jobs.put(await call("POST", `v1/jobs/${job.job_id}/cancel`));
      toast("Asked to stop. What came of it shows in a moment.");
    } catch (error) {
      refused(error);
    }
  }

  /** Retries a job: fetches missing outputs, free of charge. */
  async retry(job) {
    try {
      this.jobs.put(await this.#retry(job, false));
      toast("Taken up again. What is stored stays, and nothing is bought.");
    } catch (error) {
      if (["generation-needed", "sources-expired"].some((kind) => error.kind?.endsWith(kind))) return this.again(job);
      refused(error);
    }
  }

  /** Has the outputs generated again, at a cost. */
  async again(job) {
    try {
      await this.#again(await this.jobs.whole(job));
    } catch (error) {
      refused(error);
    }
  }

  async #again(job) {
    const isTakenUp = ["partial", "failed"].includes(job.status);
    const yes = await ask({
      title: "Make it again?",
      text: isTakenUp
        ? [`The provider makes ${count(job.num_outputs, "output")} again and charges for it.`,
          "The job keeps its id; new outputs take the place of those that it has."]
        : ["A new job with the same request is started, and the provider charges for it."],
      yes: "Make it again, and pay",
    });
    if (!yes) return;
    if (isTakenUp) {
      this.jobs.put(await this.#retry(job, true));
      toast("It is being made again.");
      return;
    }
    // Retried after a lost answer, it is the same job.
    if (!this.keys.has(job.job_id)) this.keys.set(job.job_id, newKey());
    const made = await this.create(requestOf(job), this.keys.get(job.job_id));
    this.keys.delete(job.job_id);
    toast("A new job is under way.");
    this.open(made.job_id);
  }

  async delete(job) {
    const stored = job.media_counts?.completed ?? (job.media ?? []).filter((media) => media.status === "completed").length;
    const yes = await ask({
      title: "Delete this job?",
      text: [
        stored ? `The job and ${count(stored, "stored output")} are removed from the store, for good.` : "The job is removed, for good.",
        hasEnded(job) ? null : "It is still under way, and is canceled first.",
      ].filter(Boolean),
      yes: "Delete it", isDanger: true,
    });
    if (!yes) return false;
    try {
      await call("DELETE", `v1/jobs/${job.job_id}`);
      this.jobs.remove(job.job_id);
      toast("Deleted.");
      return true;
    } catch (error) {
      if (error.isGone) this.jobs.remove(job.job_id);
      refused(error);
      return false;
    }
  }

  /** Downloads an output, by a URL with a disposition of `attachment`. */
  async save(job, media) {
    try {
      const { url } = await call("GET", `v1/jobs/${job.job_id}/media/${media.index}/url?disposition=attachment`);
      location.assign(url);
    } catch (error) {
      refused(error);
    }
  }

  async tellAgain(job) {
    try {
      await call("POST", `v1/jobs/${job.job_id}/webhooks`);
      toast("It is being told again.");
    } catch (error) {
      refused(error);
    }
  }

  #retry(job, regenerate) {
    const path = `v1/jobs/${job.job_id}/retry`;
    return call("POST", path, { body: { regenerate }, headers: { "idempotency-key": newKey() } });
  }
}
