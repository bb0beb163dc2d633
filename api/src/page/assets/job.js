// The page of one job: its outputs, large, and beside them everything that is known of it.

import { base, call, storedKey } from "./api.js";
import { copyButton, fill, h, toast } from "./dom.js";
import { extensionOf, Frame, placesOf } from "./frame.js";
import { isWhole } from "./jobs.js";
import { waterfall } from "./waterfall.js";
import {
  absence, ago, bytes, cancelWords, clock, count, curlOf, duration, hasEnded, LABELS, remedyOf, remedyOfFailure, requestOf, stateOf, stateOfOutput, STATES, story,
} from "./words.js";

/** Age at which the URLs of outputs are renewed, in milliseconds. */
const RENEWED = 40 * 60_000;

export class JobPage {
  constructor(element, { jobs, actions, home }) {
    Object.assign(this, { element, jobs, actions, home });
    jobs.addEventListener("job", ({ detail }) => {
      if (detail.id === this.id) this.#update(detail.job);
    });
    jobs.addEventListener("clear", () => this.id && this.show(this.id, this.index));
    setInterval(() => this.#tick(), 500);
  }

  /** Shows a job, and the output at a position. */
  async show(id, index = 0) {
    const isAnother = id !== this.id;
    [this.id, this.index, this.readAt] = [id, index, Date.now()];
    if (isAnother) {
      this.job = null;
      this.further = [];
      this.deliveries = null;
      this.#build();
    }
    const known = this.jobs.get(id);
    if (known && isWhole(known)) this.#update(known);
    try {
      const job = await this.jobs.read(id);
      if (this.id === id) this.#update(job);
    } catch (error) {
      if (this.id !== id) return;
      // Known content remains shown.
      if (this.job && !error.isGone) {
        toast(error.words ?? error.message, "problem");
        return;
      }
      this.job = null;
      fill(this.element, h("div", { class: "nothing" }, h("h1", {}, error.isGone ? "There is no such job" : error.title ?? "It cannot be read"),
        h("p", {}, error.detail ?? error.message),
        error.isGone ? null : h("button", { type: "button", class: "quiet", onclick: () => this.show(id, index) }, "Try again"), h("a", { href: base.href, onclick: (event) => this.#leave(event) }, "To all jobs")));
    }
  }

  hide() {
    this.id = null;
    this.job = null;
    fill(this.element);
  }

  #leave(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.home();
  }

  #build() {
    this.heading = h("h1", { tabindex: -1 });
    this.main = new Frame({ large: true });
    this.beside = new Frame({ large: true });
    this.other = null;
    this.under = h("div", { class: "under row" });
    this.film = h("div", { class: "film", role: "group", "aria-label": "Outputs" });
    this.state = h("div", { class: "state-line" });
    this.explain = h("p", { class: "explain" });
    this.buttons = h("div", { class: "row actions" });
    this.time = h("div");
    this.about = h("div");
    this.output = h("div");
    this.more = h("div");
    this.shown = {};
    const back = h("a", { class: "back", href: base.href, onclick: (event) => this.#leave(event) }, "← All jobs");
    fill(this.element, back, h("div", { class: "job" },
      h("section", { class: "outputs", "aria-label": "Outputs" }, this.stage = h("div", { class: "main" }, this.main.element), this.under, this.film),
      h("section", { class: "details", "aria-label": "About the job" }, this.heading, this.state, this.explain, this.buttons,
        h("h2", {}, "Time"), this.time, this.output, this.about, this.more)));
  }

  #update(job) {
    if (!job) {
      fill(this.element, h("div", { class: "nothing" }, h("h1", {}, "This job was deleted"),
        h("a", { href: base.href, onclick: (event) => this.#leave(event) }, "To all jobs")));
      this.job = null;
      return;
    }
    const before = this.job;
    if (!isWhole(job)) return;
    if (!this.heading?.isConnected) this.#build();
    this.job = job;
    document.title = `${job.prompt ? `${job.prompt.slice(0, 60)} · ` : ""}Darkroom`;
    this.heading.textContent = job.prompt ?? "A job without a prompt";
    this.heading.classList.toggle("long", (job.prompt ?? "").length > 120);
    this.#state(job);
    this.#buttons(job);
    this.#outputs(job);
    this.#aboutOutput(job);
    this.#aboutJob(job);
    this.#tick();
    const hasNewEnd = !before || before.status !== job.status;
    if (hasNewEnd && job.webhook_url && hasEnded(job)) this.#readDeliveries();
  }

  #which() {
    if (this.places.length < 2) return "";
    const beside = this.other === null ? "" : `, beside ${this.other + 1}`;
    return `${this.index + 1} of ${this.places.length}${beside}`;
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
    fill(this.state, h("span", { class: "state", dataset: { state: name } }, h("b", { "aria-hidden": true }, sign), ` ${word}${stored}`), this.timer,
      job.stale ? h("span", { class: "badge stale", title: "no worker could be asked" }, "may be behind") : null,
      job.retry_count ? h("span", { class: "badge" }, `taken up again ${count(job.retry_count, "time")}`) : null);
    const parked = job.in_doubt_since
      ? `The provider's answer was lost at ${clock(job.in_doubt_since)}.` : null;
    const search = parked && !hasEnded(job) ? "Whether it took the job is being looked up there; it is not bought again meanwhile." : null;
    const error = hasEnded(job) ? story(job) : null;
    const canceled = job.status === "canceled" ? cancelWords(job) : null;
    fill(this.explain, [parked, search, error, canceled].filter(Boolean).join(" ") || (hasEnded(job) ? "" : explain));
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
      remedy === "look" ? button(LABELS.look, this.actions.retry, "primary", "r") : null,
      isOver ? button(LABELS.again, this.actions.again, "quiet", remedy ? null : "r") : null,
      button("Remix…", this.actions.remix),
      h("button", { type: "button", class: "quiet danger-text", "aria-keyshortcuts": "Delete", onclick: () => this.delete() }, "Delete…"));
    if (hadFocus) this.buttons.firstElementChild.focus();
  }

  async delete() {
    if (this.job && await this.actions.delete(this.job)) this.home();
  }

  #outputs(job) {
    const places = this.places;
    this.index = Math.min(this.index, places.length - 1);
    this.main.update(places[this.index], job);
    this.#compared(places, job);
    const name = [places.length, job.media_next_cursor && !this.further.length].join();
    if (this.shown.film !== name) {
      this.shown.film = name;
      this.frames = places.map((media, at) => {
        const frame = new Frame();
        frame.button = h("button", {
          type: "button", class: "thumb", onclick: () => this.select(at),
        }, frame.element);
        return frame;
      });
      fill(this.film, places.length > 1 ? this.frames.map((frame) => frame.button) : [],
        job.media_next_cursor && !this.further.length
          ? h("button", { type: "button", class: "quiet", onclick: () => this.#readFurther() }, `All ${job.media_counts.total}`) : null);
    }
    places.forEach((media, at) => {
      this.frames[at].update(media, job);
      const standing = media.status === "failed" ? absence(media, job) : media.status;
      this.frames[at].button.setAttribute("aria-label", `Output ${media.index + 1}, ${standing}`);
      this.frames[at].button.setAttribute("aria-current", String(at === this.index || at === this.other));
    });
  }

  /** Shows the second of two outputs that are compared. */
  #compared(places, job) {
    if (this.other === null || !places[this.other]) {
      this.other = null;
      this.beside.element.remove();
      return;
    }
    this.beside.update(places[this.other], job);
    if (!this.beside.element.isConnected) this.stage.append(this.beside.element);
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
    [this.index, this.other] = [index, null];
    this.#outputs(this.job);
    this.#aboutOutput(this.job);
    this.frames[index].button.scrollIntoView({ block: "nearest", inline: "nearest" });
    history.replaceState(history.state, "", index ? `?output=${index + 1}` : location.pathname);
  }

  step(by) {
    this.select(this.index + by);
  }

  save() {
    const media = this.places[this.index];
    if (media?.status === "completed") this.actions.save(this.job, media);
  }

  async #readFurther() {
    if (this.isReadingFurther) return;
    this.isReadingFurther = true;
    const [id, further] = [this.id, []];
    try {
      for (let cursor = this.job.media_next_cursor; cursor;) {
        const page = await call("GET", `v1/jobs/${id}/media?limit=100&cursor=${encodeURIComponent(cursor)}`);
        further.push(...page.media);
        cursor = page.next_cursor;
      }
    } catch (error) {
      toast(error.words ?? error.message, "problem");
    }
    this.isReadingFurther = false;
    if (this.id !== id || !this.job) return;
    this.further = further;
    this.#outputs(this.job);
  }

  #aboutOutput(job) {
    const media = this.places[this.index];
    const name = JSON.stringify([this.index, this.other, { ...media, presigned_preview_url: null }, job.provider?.expires_at, this.places.length]);
    if (this.shown.output === name) return;
    this.shown.output = name;
    const isStored = media.status === "completed" && !media.isPlace;
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
    const rows = isStored ? [
      row("Size", [media.width ? `${media.width} × ${media.height}` : null, bytes(media.size)].filter(Boolean).join(", ")),
      row("Type", media.content_type),
      media.name ? row("Name", media.name) : null,
      media.duration_ms ? row("Length", duration(media.duration_ms)) : null,
      row("Stored", `${clock(media.completed_at)}${media.attempts > 1 ? `, at attempt ${media.attempts}` : ""}`),
      row("S3 key", media.s3_key, true),
      row("SHA-256", media.sha256, true),
      media.c2pa ? row("Credentials", "Content Credentials (C2PA) are in the file, unverified") : null,
    ] : [
      row("State", state === media.status ? state : STATES[state].explain),
      media.error ? row("Why", media.error_message) : null,
      media.attempts ? row("Attempts", String(media.attempts)) : null,
    ];
    // An output that can still be fetched exists until the provider deletes it.
    const isFetchable = !isStored && !media.isPlace && remedyOfFailure(media.error) !== "again";
    if (isFetchable && job.provider?.expires_at) rows.push(h("div", {}, h("dt", {}, "Provider"), this.expiry));
    fill(this.output, h("h2", {}, this.places.length > 1 ? `Output ${this.index + 1}` : "Output"), h("dl", {}, rows));
  }

  #aboutJob(job) {
    const { provider } = job;
    const name = JSON.stringify({ ...job, media: null, updated_at: null });
    if (this.shown.job === name) return;
    this.shown.job = name;
    const metrics = Object.entries(provider?.metrics ?? {}).filter(([, value]) => typeof value !== "object");
    fill(this.about, h("h2", {}, "Job"), h("dl", {},
      row("Model", job.model),
      row("Outputs", `${job.media_counts.completed} of ${Math.max(job.media_counts.total, job.num_outputs)} stored`),
      job.seed === null ? null : row("Seed", String(job.seed)),
      provider ? row("At the provider", provider.prediction_id ? `${provider.prediction_id} ${provider.status}` : "in doubt", Boolean(provider.prediction_id)) : null,
      provider?.error ? row("Its error", provider.error) : null,
      metrics.length ? row("Measured", metrics.map(([key, value]) => `${key.replaceAll("_", " ")} ${value}`).join(", ")) : null,
      provider?.cancel_outcome ? row("Cancel", cancelWords(job)) : null,
      row("Accepted", clock(job.created_at)),
      job.completed_at ? row("Ended", clock(job.completed_at)) : null,
      job.expires_at ? row("Kept until", clock(job.expires_at)) : null,
      job.key_id ? row("API key", job.key_id) : null,
      row("Id", job.job_id, true)),
    job.links.temporal ? h("p", {}, h("a", { href: job.links.temporal, target: "_blank", rel: "noreferrer" }, "Its history in the Temporal UI")) : null);
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
    this.hooks = h("div", { class: "hooks" });
    fill(this.more,
      job.webhook_url ? this.hooks : null,
      code("Request", JSON.stringify(request, null, 2)),
      code("The same as curl", curlOf(request, new URL("v1/jobs", base).href, storedKey() !== null)),
      code("From a terminal", `temporal workflow show --workflow-id ${job.job_id}`),
      job.provider?.output ? code("What else the provider answered", JSON.stringify(job.provider.output, null, 2)) : null);
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
    const pause = Math.max(2000, next - Date.now() + 1000);
    if (pause < 3_600_000) this.nextDelivery = setTimeout(() => this.id === id && this.#readDeliveries(), pause);
  }

  #showDeliveries() {
    if (!this.hooks || !this.job?.webhook_url) return;
    const attempt = (one) => h("li", {}, h("time", { datetime: one.at }, clock(one.at)), " ",
      one.error ?? `answered ${one.response_status}`, one.duration_ms === null ? "" : ` in ${duration(one.duration_ms)}`);
    const delivery = (one) => h("li", {}, h("strong", {}, `${one.event}: ${one.status}`),
      h("ol", {}, one.attempts.map(attempt)), one.next_attempt_at ? h("p", {}, `Next attempt at ${clock(one.next_attempt_at)}`) : null);
    fill(this.hooks, h("h2", {}, "Webhook"), h("p", { class: "address" }, this.job.webhook_url),
      this.deliveries?.length ? h("ul", {}, this.deliveries.map(delivery))
        : h("p", {}, !hasEnded(this.job) ? "It is told how the job ends." : this.deliveries ? "Nothing was sent yet." : "What was sent cannot be read just now."),
      hasEnded(this.job) ? h("button", {
        type: "button", class: "quiet",
        onclick: async () => {
          await this.actions.tellAgain(this.job);
          setTimeout(() => this.#readDeliveries(), 2000);
        },
      }, "Tell it again") : null);
  }

  /** Updates what depends on the clock alone. */
  #tick() {
    const job = this.job;
    if (!job || document.hidden) return;
    const now = Date.now();
    const isOver = hasEnded(job);
    if (!isOver || this.shown.time !== job.completed_at) {
      this.shown.time = job.completed_at;
      fill(this.time, waterfall(job, now));
    }
    const usual = stateOf(job) === "parked" ? null : this.jobs.usual(job.model);
    const took = (isOver ? Date.parse(job.completed_at) : now) - Date.parse(job.created_at);
    this.timer.textContent = isOver ? `in ${duration(took)}, ${ago(job.completed_at, now)}`
      : `${duration(took)} so far${usual ? `, usually ${duration(usual)}` : ""}`;
    // URLs of outputs expire after an hour, and the page may be open for longer.
    if (now - this.readAt > RENEWED) {
      this.readAt = now;
      this.jobs.read(job.job_id).catch(() => {});
    }
    const left = job.provider?.expires_at ? Date.parse(job.provider.expires_at) - now : null;
    if (this.expiry && left !== null) {
      this.expiry.textContent = left > 0 ? `it deletes this in ${duration(left)}` : "it has deleted this";
      this.expiry.classList.toggle("urgent", left < 300_000);
    }
  }
}

function row(name, value, isCode = false) {
  if (value === null || value === undefined || value === "") return null;
  const content = isCode ? [h("code", {}, value), copyButton(value, `Copy ${name}`)] : [value];
  return h("div", {}, h("dt", {}, name), h("dd", {}, content));
}
