// Page of one job: its outputs, enlarged, and beside them its details.

import { base, call, storedKey } from "./api.js";
import { now } from "./clock.js";
import { copyButton, fill, h, replaceUrl, throttle, toast } from "./dom.js";
import { extensionOf, Frame, placesOf, staleBadge } from "./frame.js";
import { isWhole } from "./jobs.js";
import { waterfall } from "./waterfall.js";
import {
  ago, beganAt, bytes, cancelText, clock, count, curlOf, duration, elapsed, explainErrors, hasEnded,
  isExact, LABELS, missingLabel, remedyOf, remedyOfFailure, requestOf, ROUNDED, stateOf,
  stateOfOutput, STATES,
} from "./words.js";

/** Age at which the URLs of outputs are renewed, in milliseconds. */
const MAX_URL_AGE = 40 * 60_000;

export class JobPage {
  constructor(element, { jobs, actions, home }) {
    Object.assign(this, { element, jobs, actions, home });
    jobs.addEventListener("job", ({ detail }) => {
      if (detail.id === this.id) this.#update(detail.job);
    });
    jobs.addEventListener("clear", () => this.id && this.show(this.id, this.wanted));
    this.refreshFurther = throttle(() => this.#refreshFurther(), 1000);
    setInterval(() => this.#tick(), 500);
  }

  /** Shows a job, and the output at a position. */
  async show(id, index = 0) {
    const isAnother = id !== this.id;
    [this.id, this.wanted, this.readAt] = [id, index, Date.now()];
    if (isAnother) {
      this.job = null;
      this.further = [];
      this.deliveries = null;
      this.#build();
    }
    const known = this.jobs.get(id);
    // The focus goes there, and screen readers read it out.
    if (isAnother) this.heading.textContent = known?.prompt ?? "Job";
    if (known && isWhole(known)) this.#update(known);
    try {
      const job = await this.jobs.read(id);
      if (this.id === id) this.#update(job);
    } catch (error) {
      if (this.id !== id) return;
      // Keeps the known content.
      if (this.job && !error.isGone) {
        toast(error.summary ?? error.message, "problem");
        return;
      }
      this.job = null;
      const title = error.isGone ? "Job not found" : error.title ?? "The job cannot be loaded";
      const retry = () => this.show(id, index);
      fill(this.element, h("div", { class: "nothing" }, h("h1", {}, title),
        h("p", {}, error.detail ?? error.message),
        error.isGone
          ? null : h("button", { type: "button", class: "quiet", onclick: retry }, "Try again"),
        this.#homeLink("Show all jobs")));
    }
  }

  hide() {
    this.id = null;
    this.job = null;
    fill(this.element);
  }

  #homeLink(text, properties = {}) {
    const leave = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.home();
    };
    return h("a", { href: base.href, onclick: leave, ...properties }, text);
  }

  #build() {
    this.heading = h("h1", { dir: "auto", tabindex: -1 });
    this.main = new Frame(this.jobs, { large: true });
    this.beside = new Frame(this.jobs, { large: true });
    this.other = null;
    this.under = h("div", { class: "under row" });
    this.thumbs = h("div", { class: "thumbs", role: "group", "aria-label": "Outputs" });
    this.state = h("div", { class: "state-line" });
    this.explain = h("p", { class: "explain" });
    this.buttons = h("div", { class: "row actions" });
    this.time = h("div");
    this.about = h("div");
    this.output = h("div");
    this.more = h("div");
    this.shown = {};
    const back = this.#homeLink("← All jobs", { class: "back" });
    this.viewer = h("div", { class: "main" }, this.main.element);
    fill(this.element, back, h("div", { class: "job" },
      h("section", { class: "outputs", "aria-label": "Outputs" },
        this.viewer, this.under, this.thumbs),
      h("section", { class: "details", "aria-label": "About the job" },
        this.heading, this.state, this.explain, this.buttons,
        h("h2", {}, "Time"), this.time, this.output, this.about, this.more)));
  }

  #update(job) {
    if (!job) {
      fill(this.element, h("div", { class: "nothing" }, h("h1", {}, "Job deleted"),
        this.#homeLink("Show all jobs")));
      this.job = null;
      return;
    }
    const before = this.job;
    if (!isWhole(job)) return;
    if (!this.heading?.isConnected) this.#build();
    this.job = job;
    document.title = `${job.prompt ? `${job.prompt.slice(0, 60)} · ` : ""}Darkroom`;
    this.heading.textContent = job.prompt ?? "Job without a prompt";
    this.heading.classList.toggle("long", (job.prompt ?? "").length > 120);
    this.#state(job);
    this.#buttons(job);
    if (!job.media_next_cursor) this.further = [];
    this.#outputs(job);
    this.#aboutOutput(job);
    this.#aboutJob(job);
    this.#tick();
    this.refreshFurther();
    const isChanged = !before || before.status !== job.status;
    if (isChanged && job.webhook_url && hasEnded(job)) this.#readDeliveries();
  }

  #which() {
    if (this.places.length < 2) return "";
    const compared = this.other === null ? "" : `, compared with ${this.other + 1}`;
    return `${this.index + 1} of ${this.places.length}${compared}`;
  }

  get places() {
    return [...placesOf(this.job), ...this.further];
  }

  #state(job) {
    const name = stateOf(job);
    const { sign, word, explain } = STATES[name];
    const { completed, total } = job.media_counts;
    const stored = total > 1 && name !== "completed" ? `, ${completed} of ${total} stored` : "";
    this.timer = h("span", { class: "timer" });
    const isOver = hasEnded(job);
    const retries = `retried ${count(job.retry_count, "time")}`;
    fill(this.state,
      h("span", { class: "state", dataset: { state: name } },
        h("b", { "aria-hidden": true }, sign), ` ${word}${stored}`),
      this.timer, staleBadge(job),
      job.retry_count ? h("span", { class: "badge" }, retries) : null);
    const doubt = job.in_doubt_since
      ? `The provider's answer was lost at ${clock(job.in_doubt_since)}.` : null;
    const search = doubt && !isOver
      ? "Searching for the job at the provider. Nothing is paid for meanwhile." : null;
    const errors = isOver ? explainErrors(job) : null;
    const canceled = job.status === "canceled" ? cancelText(job) : null;
    const text = [doubt, search, errors, canceled].filter(Boolean).join(" ");
    fill(this.explain, text || (isOver ? "" : explain));
    this.explain.dataset.state = name;
  }

  #buttons(job) {
    const isOver = hasEnded(job);
    const remedy = remedyOf(job);
    if (this.shown.buttons === [isOver, remedy].join()) return;
    this.shown.buttons = [isOver, remedy].join();
    const hadFocus = this.buttons.contains(document.activeElement);
    const button = (label, act, kind = "quiet", keys = null) => h("button", {
      type: "button", class: kind, "aria-keyshortcuts": keys, onclick: () => act.call(this.actions, this.job),
    }, label);
    fill(this.buttons,
      isOver ? null : button("Cancel", this.actions.cancel, "quiet", "c"),
      remedy === "retry" ? button(LABELS.retry, this.actions.retry, "primary", "r") : null,
      remedy === "search" ? button(LABELS.search, this.actions.retry, "primary", "r") : null,
      isOver
        ? button(LABELS.regenerate, this.actions.regenerate, "quiet", remedy ? null : "r") : null,
      button(LABELS.remix, this.actions.remix),
      h("button", {
        type: "button", class: "quiet danger-text", "aria-keyshortcuts": "Delete",
        onclick: () => this.delete(),
      }, "Delete…"));
    if (hadFocus && !this.buttons.contains(document.activeElement)) this.buttons.firstElementChild.focus();
  }

  async delete() {
    if (this.job && await this.actions.delete(this.job)) this.home();
  }

  #outputs(job) {
    const places = this.places;
    this.index = Math.min(this.wanted, places.length - 1);
    this.main.update(places[this.index], job);
    this.#showCompared(places, job);
    const name = [places.length, job.media_next_cursor && !this.further.length].join();
    if (this.shown.thumbs !== name) {
      this.shown.thumbs = name;
      this.frames = places.map((media, at) => {
        const frame = new Frame(this.jobs);
        frame.button = h("button", {
          type: "button", class: "thumb", onclick: () => this.select(at),
        }, frame.element);
        return frame;
      });
      const readFurther = () => this.#readFurther();
      fill(this.thumbs, places.length > 1 ? this.frames.map((frame) => frame.button) : [],
        job.media_next_cursor && !this.further.length
          ? h("button", { type: "button", class: "quiet", onclick: readFurther },
            `Show all ${job.media_counts.total}`) : null);
    }
    places.forEach((media, at) => {
      const { button } = this.frames[at];
      this.frames[at].update(media, job);
      const status = media.status === "failed" ? missingLabel(media, job) : media.status;
      button.setAttribute("aria-label", `Output ${media.index + 1}, ${status}`);
      button.setAttribute("aria-current", String(at === this.index || at === this.other));
    });
  }

  /** Shows the second of two outputs that are compared. */
  #showCompared(places, job) {
    if (this.other === null || !places[this.other]) {
      this.other = null;
      this.beside.element.remove();
      return;
    }
    this.beside.update(places[this.other], job);
    if (!this.beside.element.isConnected) this.viewer.append(this.beside.element);
  }

  /** Compares with another output: the next one in this direction, or none at the end. */
  compare(by) {
    if (!this.job || this.places.length < 2) return;
    const other = (this.other ?? this.index) + by;
    this.other = other === this.index || !this.places[other] ? null : other;
    this.#outputs(this.job);
    this.#aboutOutput(this.job);
  }

  /** Selects an output. */
  select(index) {
    if (!this.job || index < 0 || index >= this.places.length) return;
    [this.wanted, this.other] = [index, null];
    this.#outputs(this.job);
    this.#aboutOutput(this.job);
    this.frames[index].button.scrollIntoView({ block: "nearest", inline: "nearest" });
    replaceUrl(index ? `?output=${index + 1}` : location.pathname);
  }

  step(by) {
    this.select(this.index + by);
  }

  save() {
    const media = this.places[this.index];
    if (media?.status === "completed") this.actions.save(this.job, media);
  }

  /** Reads the further outputs if the user wants one of them, and again when they have changed. */
  #refreshFurther() {
    const job = this.job;
    if (!job?.media_next_cursor) return;
    const isWanted = this.further.length ? this.furtherOf !== stateOfFurther(job) : this.wanted >= placesOf(job).length;
    if (isWanted) this.#readFurther();
  }

  async #readFurther() {
    if (this.readingFurther === this.id) return;
    this.readingFurther = this.id;
    const [id, of, further] = [this.id, stateOfFurther(this.job), []];
    let isRead = false;
    try {
      for (let cursor = this.job.media_next_cursor; cursor;) {
        const page = await call("GET", `v1/jobs/${id}/media?limit=100&cursor=${encodeURIComponent(cursor)}`);
        further.push(...page.media);
        cursor = page.next_cursor;
      }
      isRead = true;
    } catch (error) {
      toast(error.summary ?? error.message, "problem");
    }
    if (this.readingFurther === id) this.readingFurther = null;
    if (!isRead || this.id !== id || !this.job) return;
    [this.further, this.furtherOf] = [further, of];
    this.#outputs(this.job);
    this.#aboutOutput(this.job);
    this.refreshFurther();
  }

  #aboutOutput(job) {
    const media = this.places[this.index];
    const lasting = { ...media, presigned_preview_url: null, bytes_done: null, bytes_total: null };
    const name = JSON.stringify([this.index, this.other, lasting, job.provider?.expires_at, this.places.length]);
    if (this.shown.output === name) return;
    this.shown.output = name;
    const isStored = media.status === "completed" && !media.isPlaceholder;
    const state = stateOfOutput(media, job);
    fill(this.under,
      h("span", { class: "which" }, this.#which()),
      this.places.length > 1 ? h("button", {
        type: "button", class: "quiet", "aria-keyshortcuts": "Alt+ArrowRight", "aria-pressed": String(this.other !== null),
        onclick: () => (this.other === null ? this.compare(this.index + 1 < this.places.length ? 1 : -1) : this.select(this.index)),
      }, "Compare") : null,
      isStored ? h("button", { type: "button", class: "quiet", "aria-keyshortcuts": "d", onclick: () => this.save() }, `Save ${extensionOf(media)}`) : null,
      isStored ? h("a", { class: "button quiet", href: media.presigned_media_url, target: "_blank", rel: "noreferrer" }, "Open in a new tab") : null);
    this.expiry = h("dd");
    const attempt = media.attempts > 1 ? `, attempt ${media.attempts}` : "";
    const rows = isStored ? [
      row("Size", [media.width ? `${media.width} × ${media.height}` : null, bytes(media.size)].filter(Boolean).join(", ")),
      row("Type", media.content_type),
      media.name ? row("Name", media.name) : null,
      media.duration_ms ? row("Length", duration(media.duration_ms)) : null,
      row("Stored", `${clock(media.completed_at)}${attempt}`),
      row("S3 key", media.s3_key, true),
      row("SHA-256", media.sha256, true),
      media.c2pa ? row("C2PA", "The file has Content Credentials. They are not verified.") : null,
    ] : [
      row("State", state === media.status ? state : STATES[state].explain),
      media.error ? row("Error", media.error_message) : null,
      media.attempts ? row("Attempts", String(media.attempts)) : null,
    ];
    // An output that is not stored can be fetched until the provider deletes it.
    const isFetchable = !isStored && !media.isPlaceholder
      && remedyOfFailure(media.error) !== "regenerate";
    if (isFetchable && job.provider?.expires_at) rows.push(h("div", {}, h("dt", {}, "Provider"), this.expiry));
    fill(this.output, h("h2", {}, this.places.length > 1 ? `Output ${this.index + 1}` : "Output"), h("dl", {}, rows));
  }

  #aboutJob(job) {
    const { provider } = job;
    const name = JSON.stringify({ ...job, media: null, updated_at: null });
    if (this.shown.job === name) return;
    this.shown.job = name;
    const metrics = Object.entries(provider?.metrics ?? {})
      .filter(([, value]) => typeof value !== "object")
      .map(([key, value]) => `${key.replaceAll("_", " ")} ${value}`);
    const prediction = provider?.prediction_id
      ? `${provider.prediction_id} ${provider.status}` : null;
    fill(this.about, h("h2", {}, "Job"), h("dl", {},
      row("Model", job.model),
      row("Outputs", `${job.media_counts.completed} of ${Math.max(job.media_counts.total, job.num_outputs)} stored`),
      job.seed === null ? null : row("Seed", String(job.seed)),
      provider ? row("Prediction", prediction ?? "in doubt", prediction !== null) : null,
      provider?.error ? row("Provider error", provider.error) : null,
      metrics.length ? row("Metrics", metrics.join(", ")) : null,
      provider?.cancel_outcome ? row("Cancellation", cancelText(job)) : null,
      row("Accepted", clock(job.created_at)),
      job.completed_at ? row("Ended", clock(job.completed_at)) : null,
      job.expires_at ? row("Expires", clock(job.expires_at)) : null,
      job.key_id ? row("API key", job.key_id) : null,
      row("Job id", job.job_id, true)),
    job.links.temporal
      ? h("p", {}, h("a", { href: job.links.temporal, target: "_blank", rel: "noreferrer" },
        "Open in the Temporal UI")) : null);
    this.#aboutRequest(job);
  }

  #aboutRequest(job) {
    const request = requestOf(job);
    const isOver = hasEnded(job);
    const name = JSON.stringify([request, isOver, job.provider?.output]);
    if (this.shown.request === name) return;
    this.shown.request = name;
    const open = [...this.more.querySelectorAll("details[open] summary")].map((summary) => summary.textContent);
    const code = (title, text) => h("details", { open: open.includes(title) }, h("summary", {}, title),
      h("div", { class: "copyable" }, h("pre", { class: "code" }, text), copyButton(text, `Copy: ${title}`)));
    this.webhook = h("div", { class: "webhook" });
    const endpoint = new URL("v1/jobs", base).href;
    fill(this.more,
      job.webhook_url ? this.webhook : null,
      isExact(request) ? null : h("p", {}, `A number below is not exact: ${ROUNDED}.`),
      code("Request", JSON.stringify(request, null, 2)),
      code("Request as curl", curlOf(request, endpoint, storedKey() !== null)),
      code("Temporal command", `temporal workflow show --workflow-id ${job.job_id}`),
      job.provider?.output
        ? code("Output of the prediction", JSON.stringify(job.provider.output, null, 2)) : null);
    this.#showDeliveries();
  }

  async #readDeliveries() {
    const id = this.id;
    const { deliveries } = await call("GET", `v1/jobs/${id}/webhooks`).catch(() => ({ deliveries: null }));
    if (this.id !== id) return;
    this.deliveries = deliveries;
    this.#showDeliveries();
    clearTimeout(this.nextDelivery);
    const next = Math.min(...(deliveries ?? []).map((one) => Date.parse(one.next_attempt_at)).filter(Number.isFinite));
    const pause = Math.max(2000, next - now() + 1000);
    if (pause < 3_600_000) this.nextDelivery = setTimeout(() => this.id === id && this.#readDeliveries(), pause);
  }

  #showDeliveries() {
    if (!this.webhook || !this.job?.webhook_url) return;
    const attempt = (one) => h("li", {}, h("time", { datetime: one.at }, clock(one.at)), " ",
      one.error ?? `answered ${one.response_status}`, one.duration_ms === null ? "" : ` in ${duration(one.duration_ms)}`);
    const delivery = (one) => h("li", {}, h("strong", {}, `${one.event}: ${one.status}`),
      h("ol", {}, one.attempts.map(attempt)), one.next_attempt_at ? h("p", {}, `Next attempt at ${clock(one.next_attempt_at)}`) : null);
    const isOver = hasEnded(this.job);
    const empty = !isOver ? "Notified when the job ends."
      : this.deliveries ? "Nothing sent yet." : "The deliveries cannot be loaded.";
    fill(this.webhook, h("h2", {}, "Webhook"), h("p", { class: "address" }, this.job.webhook_url),
      this.deliveries?.length
        ? h("ul", {}, this.deliveries.map(delivery)) : h("p", {}, empty),
      isOver ? h("button", {
        type: "button", class: "quiet",
        onclick: async () => {
          await this.actions.redeliver(this.job);
          setTimeout(() => this.#readDeliveries(), 2000);
        },
      }, "Send again") : null);
  }

  /** Updates the times. */
  #tick() {
    const job = this.job;
    if (!job || document.hidden) return;
    const at = now();
    const isOver = hasEnded(job);
    if (!isOver || this.shown.time !== job.completed_at) {
      this.shown.time = job.completed_at;
      fill(this.time, waterfall(job, at));
    }
    const took = Date.parse(job.completed_at) - beganAt(job);
    this.timer.textContent = isOver ? `in ${duration(took)}, ${ago(job.completed_at, at)}`
      : elapsed(job, this.jobs.medianDuration(job.model), at);
    // URLs of outputs expire after an hour, and the page may be open for longer.
    if (Date.now() - this.readAt > MAX_URL_AGE) {
      this.readAt = Date.now();
      this.jobs.read(job.job_id).catch(() => {});
    }
    const left = job.provider?.expires_at ? Date.parse(job.provider.expires_at) - at : null;
    if (this.expiry && left !== null) {
      this.expiry.textContent = left > 0 ? `deletes it in ${duration(left)}` : "has deleted it";
      this.expiry.classList.toggle("urgent", left < 300_000);
    }
  }
}

/** Returns what the further outputs depend on. */
function stateOfFurther(job) {
  return JSON.stringify([job.status, job.retry_count, job.media_counts]);
}

function row(name, value, isCode = false) {
  if (value === null || value === undefined || value === "") return null;
  const content = isCode ? [h("code", {}, value), copyButton(value, `Copy ${name}`)] : [value];
  return h("div", {}, h("dt", {}, name), h("dd", {}, content));
}
