// Actions on a job. Those that cost money or cannot be undone ask for confirmation; all of them
// report their outcome.

import { ApiError, call, newKey } from "./api.js";
import { announce, ask, toast } from "./dom.js";
import { count, hasEnded, isExact, requestOf, ROUNDED } from "./words.js";

/** Reports that an action failed. */
function showError(error) {
  toast(error instanceof ApiError ? error.summary : "Internal error of the page", "problem");
}

export class Actions {
  constructor(jobs, { remix, open }) {
    this.jobs = jobs;
    this.open = open;
    this.fillComposer = remix;
    /** Idempotency keys of requests that have not succeeded yet, by what they ask for. */
    this.keys = new Map();
  }

  /** Fills the composer with the request of a job. */
  async remix(job) {
    try {
      this.fillComposer(requestOf(await this.jobs.whole(job)));
    } catch (error) {
      showError(error);
    }
  }

  /** Creates a job. */
  async create(request, key = newKey()) {
    // It would be another request, and be paid for.
    if (!isExact(request)) throw new ApiError({ title: "A number is too large", detail: ROUNDED });
    const job = await post("v1/jobs", request, key);
    this.jobs.own.add(job.job_id);
    this.jobs.put(job);
    announce("Job accepted");
    return job;
  }

  async cancel(job) {
    if (hasEnded(job)) return;
    try {
      this.jobs.put(await call("POST", `v1/jobs/${job.job_id}/cancel`));
      toast("Cancellation requested.");
    } catch (error) {
      showError(error);
    }
  }

  /** Retries a job: fetches missing outputs, free of charge. */
  async retry(job) {
    try {
      this.jobs.put(await this.#retry(await this.jobs.whole(job), false));
      toast("Retrying. Stored outputs are kept; nothing is paid for.");
    } catch (error) {
      const paid = ["generation-needed", "sources-expired"];
      if (paid.some((kind) => error.kind?.endsWith(kind))) return this.regenerate(job);
      showError(error);
    }
  }

  /** Generates the outputs again, at a cost. */
  async regenerate(job) {
    try {
      await this.#regenerate(await this.jobs.whole(job));
    } catch (error) {
      showError(error);
    }
  }

  async #regenerate(job) {
    const isRetry = ["partial", "failed"].includes(job.status);
    const yes = await ask({
      title: "Regenerate the outputs?",
      text: isRetry
        ? [`The provider generates ${count(job.num_outputs, "output")} again and charges for it.`,
          "The job keeps its id; the new outputs replace the current ones."]
        : ["A new job with the same request is created, and the provider charges for it."],
      yes: "Regenerate and pay",
    });
    if (!yes) return;
    if (isRetry) {
      this.jobs.put(await this.#retry(job, true));
      toast("Regenerating the outputs.");
      return;
    }
    const created = await this.#once(job.job_id, (key) => this.create(requestOf(job), key));
    toast("New job created.");
    this.open(created.job_id);
  }

  async delete(job) {
    const stored = job.media_counts?.completed
      ?? (job.media ?? []).filter((media) => media.status === "completed").length;
    const what = stored ? `The job and ${count(stored, "stored output")} are` : "The job is";
    const yes = await ask({
      title: "Delete this job?",
      text: [
        `${what} deleted permanently.`,
        hasEnded(job) ? null : "It is still running and is canceled first.",
      ].filter(Boolean),
      yes: "Delete", isDanger: true,
    });
    if (!yes) return false;
    try {
      await call("DELETE", `v1/jobs/${job.job_id}`);
      this.jobs.remove(job.job_id);
      toast("Job deleted.");
      return true;
    } catch (error) {
      if (error.isGone) this.jobs.remove(job.job_id);
      showError(error);
      return false;
    }
  }

  /** Downloads an output, by a URL with a disposition of `attachment`. */
  async save(job, media) {
    try {
      const path = `v1/jobs/${job.job_id}/media/${media.index}/url?disposition=attachment`;
      const { url } = await call("GET", path);
      location.assign(url);
    } catch (error) {
      showError(error);
    }
  }

  /** Sends the webhook of an ended job again. */
  async redeliver(job) {
    try {
      await call("POST", `v1/jobs/${job.job_id}/webhooks`);
      toast("The webhook is being sent again.");
    } catch (error) {
      showError(error);
    }
  }

  /** Starts a run of a job. The next run of it is another request, with a key of its own. */
  #retry(job, regenerate) {
    const path = `v1/jobs/${job.job_id}/retry`;
    return this.#once([job.job_id, job.retry_count, regenerate].join(), (key) => post(path, { regenerate }, key));
  }

  /**
   * Sends a request with an idempotency key. Until it succeeds, another attempt by the user has the
   * same key: it may have had its effect although its answer is an error.
   */
  async #once(what, send) {
    if (!this.keys.has(what)) this.keys.set(what, newKey());
    try {
      const answer = await send(this.keys.get(what));
      this.keys.delete(what);
      return answer;
    } catch (error) {
      // What it created was deleted meanwhile.
      if (error.status === 410) this.keys.delete(what);
      throw error;
    }
  }
}

/** Posts a request with an idempotency key. While there is no response, it is repeated. */
async function post(path, body, key) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call("POST", path, { body, headers: { "idempotency-key": key } });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 0 || attempt === 3) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
    }
  }
}
