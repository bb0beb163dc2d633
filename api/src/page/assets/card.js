// Card of one job on the contact sheet: its frames, and a caption with its request and state.

import { base } from "./api.js";
import { now } from "./clock.js";
import { fill, h } from "./dom.js";
import { Frame, placesOf, ratioOf, staleBadge } from "./frame.js";
import { isWhole } from "./jobs.js";
import {
  ago, beganAt, bytes, duration, elapsed, hasEnded, kindOf, LABELS, remedyOf, stateOf, STATES,
} from "./words.js";

/** Maximum number of frames on a card; the page of the job shows all outputs. */
const MAX_FRAMES = 12;

/** Minimum ratio of a card: the caption needs some width. */
const MIN_RATIO = 1.2;

export class Card {
  constructor(id, { jobs, actions, open }) {
    Object.assign(this, { id, jobs, actions, open });
    this.frames = [];
    this.strip = h("div", { class: "strip" });
    this.title = h("a", { class: "title", dir: "auto", href: new URL(`j/${id}`, base).href, tabindex: -1 });
    this.state = h("span", { class: "state" });
    this.time = h("time", { class: "time" });
    this.model = h("span", { class: "model" });
    this.buttons = h("span", { class: "buttons" });
    this.element = h("li", { class: "card", dataset: { id } }, this.strip,
      h("div", { class: "caption" }, this.title, h("div", { class: "line" }, this.state, this.time, this.model, this.buttons)));
    this.element.addEventListener("click", (event) => {
      const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
      if (!isPlain || event.target.closest("button, audio")) return;
      if (!event.target.closest(".title, .place, .frame")) return;
      event.preventDefault();
      this.open(id, Number(event.target.closest(".place")?.dataset.index ?? 0));
    });
  }

  update(job) {
    this.job = job;
    const state = stateOf(job);
    this.element.dataset.state = state;
    this.title.textContent = job.prompt ?? (isWhole(job) || job.media ? "no prompt" : "…");
    this.title.classList.toggle("none", !job.prompt);
    this.#updateState(job, state);
    const name = job.model.length > 20 && /^[0-9a-f]{64}$/.test(job.model) ? `version ${job.model.slice(0, 12)}` : job.model;
    this.model.textContent = name;
    this.model.title = job.model;
    this.#updateFrames(job);
    this.#updateButtons(job);
    this.tick();
    // The list does not contain the error.
    if (!isWhole(job) && job.media && !job.media.length && hasEnded(job)) this.jobs.read(this.id).catch(() => {});
  }

  #updateState(job, state) {
    const { sign, word, explain } = STATES[state];
    const stored = (job.media ?? []).filter((media) => media.status === "completed").length;
    const total = job.media?.length ?? 0;
    const isCounted = state === "partial" || (state === "storing" && total > 1);
    const text = isCounted ? `${stored} of ${total} stored` : word;
    fill(this.state, h("b", { "aria-hidden": true }, sign), ` ${text}`, staleBadge(job));
    this.state.title = explain;
    this.state.dataset.state = state;
  }

  #updateFrames(job) {
    const places = placesOf(job).slice(0, MAX_FRAMES);
    while (this.frames.length > places.length) this.frames.pop().place.remove();
    while (this.frames.length < places.length) {
      const frame = new Frame(this.jobs);
      const index = this.frames.length;
      frame.place = h("div", { class: "place", dataset: { index } }, frame.element);
      this.frames.push(frame);
      this.strip.append(frame.place);
    }
    const ratios = places.map((media) => ratioOf(media, job));
    places.forEach((media, at) => {
      this.frames[at].place.dataset.index = media.index;
      this.frames[at].update(media, job);
      this.frames[at].place.style.setProperty("--ratio", ratios[at]);
    });
    // Up to four frames are in one row; more are in two rows with the height of one.
    const isMany = ratios.length > 4;
    const columns = Math.ceil(ratios.length / 2);
    this.strip.classList.toggle("many", isMany);
    this.strip.style.setProperty("--columns", columns);
    const ratio = isMany ? (columns * ratios[0]) / 2 : ratios.reduce((sum, one) => sum + one, 0);
    const cardRatio = Math.max(MIN_RATIO, ratio);
    this.element.style.setProperty("--ratio", cardRatio);
    // A strip that is narrower than its caption must not make its row higher.
    this.strip.style.setProperty("--fill", ratio / cardRatio);
    const hidden = (job.media?.length ?? 0) - MAX_FRAMES;
    this.strip.dataset.more = hidden > 0 ? `+${hidden}` : "";
  }

  #updateButtons(job) {
    const { actions } = this;
    const isOver = hasEnded(job);
    const remedy = remedyOf(job);
    const name = [isOver, remedy].join();
    if (name === this.shown) return;
    this.shown = name;
    const hadFocus = this.buttons.contains(document.activeElement);
    const button = (label, title, act) => h("button", {
      type: "button", class: "quiet small", tabindex: this.title.tabIndex, title,
      onclick: () => act.call(actions, this.job),
    }, label);
    const regenerateTitle = "Generate the outputs again and pay; asks for confirmation";
    fill(this.buttons,
      isOver ? null : button("Cancel", "Cancel the job (c)", actions.cancel),
      remedy === "retry"
        ? button(LABELS.retry, "Fetch the missing outputs (r)", actions.retry) : null,
      remedy === "search"
        ? button(LABELS.search, "Search for the job at the provider (r)", actions.retry) : null,
      ["regenerate", "search"].includes(remedy)
        ? button(LABELS.regenerate, regenerateTitle, actions.regenerate) : null,
      remedy === "remix"
        ? button(LABELS.remix, "Edit a copy of the request", actions.remix) : null);
    if (hadFocus && !this.buttons.contains(document.activeElement)) this.title.focus();
  }

  /** Updates the times. */
  tick(at = now()) {
    const job = this.job;
    if (hasEnded(job)) {
      const size = (job.media ?? []).reduce((sum, media) => sum + (media.size ?? 0), 0);
      const when = job.completed_at ?? job.created_at;
      this.time.dateTime = when;
      const took = job.status === "completed" ? ` · ${duration(Date.parse(when) - beganAt(job))}` : "";
      this.time.textContent = `${ago(when, at)}${took}`;
      this.time.title = size ? bytes(size) : "";
      return;
    }
    this.time.dateTime = job.created_at;
    this.time.textContent = elapsed(job, this.jobs.medianDuration(job.model), at);
  }

  /** Plays or pauses the videos of the card. */
  play(isPlaying) {
    for (const frame of this.frames) {
      if (frame.media && kindOf(frame.media) === "video") isPlaying ? frame.play?.() : frame.pause?.();
    }
  }
}
