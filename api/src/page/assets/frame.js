// Frame of one output: a placeholder until its content is stored, with the ratio of the content.

import { call } from "./api.js";
import { h, fill } from "./dom.js";
import { draw } from "./thumbhash.js";
import {
  bytes, duration, failureText, hasEnded, kindOf, missingLabel, stateOfOutput, STATES,
} from "./words.js";

/** Default ratio of a frame, and the bounds of all ratios. */
const DEFAULT_RATIO = 1;
const MAX_RATIO = 4;
const MIN_RATIO = 0.4;

/** Ratio of the latest output, by model. */
const latestRatios = new Map();

/** Explanation of the state of a stale job. */
const STALE = "no worker answered, so this may be outdated";

/** Frames whose content could not be loaded. */
const failed = new Set();

/** Loads what could not be loaded, as the network may be there again. */
export function loadAgain() {
  for (const frame of failed) frame.loadAgain();
  failed.clear();
}

/** Number of bytes of a text that are shown. */
const TEXT_BYTES = 1500;

/** Attempts at loading a content, and the time in milliseconds after which they count anew. */
const ATTEMPTS = 3;
const MIN_VALIDITY = 300_000;

/** Observer that loads content only near the viewport. */
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    entry.target.dispatchEvent(new Event("near"));
  }
}, { rootMargin: "500px" });

/** Returns the ratio of width to height, within the bounds. */
export function ratioOf(media, job) {
  return Math.min(MAX_RATIO, Math.max(MIN_RATIO, estimateRatio(media, job)));
}

/** Estimates the ratio: from the picture, the other outputs, or the request. */
function estimateRatio(media, job) {
  if (media.width && media.height) {
    latestRatios.set(job.model, media.width / media.height);
    return latestRatios.get(job.model);
  }
  const kind = media.status === "completed" ? kindOf(media) : null;
  if (kind === "sound") return 2.2;
  if (kind === "text" || kind === "file") return 1.3;
  const other = job.media?.find((one) => one.width && one.height);
  if (other) return other.width / other.height;
  const input = job.input ?? {};
  const [, across, down] = /^(\d+):(\d+)$/.exec(input.aspect_ratio ?? "") ?? [];
  if (across && Number(down)) return across / down;
  if (Number(input.width) > 0 && Number(input.height) > 0) return input.width / input.height;
  // An error text needs room; a picture is likely to have the ratio of the model's latest output.
  return media.status === "failed" ? 1.5 : latestRatios.get(job.model) ?? DEFAULT_RATIO;
}

/** Returns the outputs of a job or, before they exist, placeholders for those requested. */
export function placesOf(job) {
  if (job.media?.length) return job.media;
  const isOne = job.status === "failed" || !job.num_outputs;
  const status = hasEnded(job) ? job.status : "pending";
  return Array.from({ length: isOne ? 1 : Math.min(job.num_outputs, 8) }, (_, index) => ({
    index, status, isPlaceholder: true,
    error: job.error ?? null, error_message: job.error_message ?? null,
  }));
}

/** Frame on the page. `large` shows the output itself, otherwise its preview. */
export class Frame {
  constructor(jobs, { large = false } = {}) {
    Object.assign(this, { jobs, large });
    this.element = h("div", { class: "frame", onpointerenter: () => this.play?.(), onpointerleave: () => this.pause?.() });
    this.shown = null;
  }

  update(media, job) {
    const state = stateOfOutput(media, job);
    this.element.dataset.state = state;
    this.element.style.setProperty("--ratio", ratioOf(media, job));
    const name = [
      media.index, media.status, media.sha256, media.error?.type, missingLabel(media, job),
      media.isPlaceholder, state,
    ].join();
    if (name !== this.shown) {
      this.shown = name;
      failed.delete(this);
      this.#show(media, job, state);
    }
    if (media.status === "pending") this.#progress(media, job, state);
    [this.media, this.job] = [media, job];
  }

  loadAgain() {
    if (!this.element.isConnected) return;
    this.shown = null;
    this.update(this.media, this.job);
  }

  #show(media, job, state) {
    if (media.status === "completed" && !media.isPlaceholder) return this.#content(media, job);
    if (media.status === "pending") {
      this.bar = h("progress", { max: 1, "aria-label": `output ${media.index + 1}` });
      this.label = h("span", { class: "label" });
      return fill(this.element, h("div", { class: "sweep", "aria-hidden": true }), this.label, this.bar);
    }
    if (media.status === "failed") {
      const text = failureText(media.error);
      const label = state === "in_doubt" ? "? In doubt" : `✕ ${missingLabel(media, job)}`;
      const detail = media.error_message
        ? h("span", { class: "detail" }, media.error_message) : null;
      return fill(this.element, h("p", { class: "why" }, h("strong", {}, label),
        h("span", { title: media.error_message }, text), detail));
    }
    return fill(this.element, h("p", { class: "why" }, h("strong", {}, "⊘ Canceled"),
      h("span", {}, "before it was stored")));
  }

  #progress(media, job, state) {
    const isMoving = media.bytes_done > 0;
    this.bar.hidden = !isMoving;
    if (isMoving && media.bytes_total) this.bar.value = media.bytes_done / media.bytes_total;
    else this.bar.removeAttribute("value");
    const done = media.bytes_total ? `${bytes(media.bytes_done)} of ${bytes(media.bytes_total)}` : bytes(media.bytes_done ?? 0);
    fill(this.label, isMoving ? done : state === "in_doubt" ? "reconciling" : STATES[state].word);
    this.label.title = job.stale ? STALE : "";
  }

  #content(media, job) {
    const alt = job.prompt ?? `output ${media.index + 1} of a job of ${job.model}`;
    switch (kindOf(media)) {
      case "picture": return this.#picture(media, job, alt);
      case "video": return this.#video(media, job, alt);
      case "sound": return fill(this.element, h("div", { class: "file" },
        h("b", {}, "♪ Sound"), summary(media), this.#sound(media, job, alt)));
      case "text": return this.#text(media, job);
      default: return fill(this.element, fileOf(media));
    }
  }

  #sound(media, job, alt) {
    const audio = h("audio", { controls: true, preload: "metadata", "aria-label": alt });
    this.#loadWhenNear(audio, job, media, "presigned_media_url");
    return audio;
  }

  /** Shows the blurred picture at once, and the picture when it is near and loaded. */
  #picture(media, job, alt) {
    const preview = !this.large && media.presigned_preview_url;
    const image = h("img", { alt, decoding: "async", draggable: "false" });
    const blurred = media.thumbhash ? draw(media.thumbhash) : null;
    blurred?.setAttribute("aria-hidden", "true");
    image.addEventListener("load", () => {
      this.element.classList.add("loaded");
      if (!media.width) this.element.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    });
    this.#loadWhenNear(image, job, media, preview ? "presigned_preview_url" : "presigned_media_url");
    this.element.classList.remove("loaded");
    fill(this.element, blurred, image);
  }

  #video(media, job, alt) {
    const video = h("video", {
      muted: true, loop: true, playsinline: true, preload: "metadata", controls: this.large, "aria-label": alt,
    });
    video.muted = true;
    // With reduced motion, a video plays only on request.
    const isReduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.large && !isReduced) {
      this.play = () => video.play().catch(() => {});
      this.pause = () => video.pause();
    }
    video.addEventListener("loadedmetadata", () => this.element.classList.add("loaded"));
    this.#loadWhenNear(video, job, media, "presigned_media_url");
    const length = h("span", { class: "badge" }, media.duration_ms ? `▶ ${duration(media.duration_ms)}` : "▶");
    fill(this.element, video, this.large ? null : length);
  }

  #text(media, job) {
    const text = h("pre", { class: "text" });
    fill(this.element, text, h("div", { class: "file" }, summary(media)));
    const load = async () => {
      try {
        const url = await this.#freshUrl(job, media);
        const response = await fetch(url, { headers: { range: `bytes=0-${TEXT_BYTES - 1}` } });
        if (!response.ok) throw new Error(`the store answered ${response.status}`);
        text.textContent = (await response.text()).slice(0, TEXT_BYTES);
      } catch {
        // The store does not allow pages to read it (CORS): show its file type only.
        fill(this.element, fileOf(media));
      }
    };
    this.#whenNear(text, load);
  }

  /** Returns a new URL of an output or its preview, as the URLs in the job expire. */
  async #freshUrl(job, media, field = "presigned_media_url") {
    const id = job.job_id;
    if (field === "presigned_preview_url") {
      const fresh = (await this.jobs.read(id)).media.find(({ index }) => index === media.index);
      if (fresh?.[field]) return fresh[field];
    }
    const { url } = await call("GET", `v1/jobs/${id}/media/${media.index}/url`);
    return url;
  }

  /** Sets the URL once the element is near the viewport, and replaces one that has expired. */
  #loadWhenNear(element, job, media, field) {
    let [left, renewedAt] = [ATTEMPTS, -Infinity];
    const renew = async () => {
      // Its URL may expire again while it is open.
      if (performance.now() - renewedAt > MIN_VALIDITY) left = ATTEMPTS;
      renewedAt = performance.now();
      left -= 1;
      try {
        element.src = await this.#freshUrl(job, media, field);
      } catch (error) {
        // Retries after a rate limit.
        if (error.retryAfter && left > 0) setTimeout(renew, error.retryAfter * 1000);
        else giveUp();
      }
    };
    const giveUp = () => {
      if (!this.element.contains(element)) return;
      failed.add(this);
      fill(this.element, h("p", { class: "why" },
        h("strong", {}, extensionOf(media)), h("span", {}, "cannot be displayed")));
    };
    element.addEventListener("error", () => {
      const isRenewed = performance.now() - renewedAt < MIN_VALIDITY;
      if (left > 1 || !isRenewed) renew();
      else giveUp();
    });
    this.#whenNear(element, () => {
      if (media[field]) element.src = media[field];
      else renew();
    });
  }

  #whenNear(element, load) {
    if (this.large) {
      load();
      return;
    }
    element.addEventListener("near", load, { once: true });
    near.observe(element);
  }
}

/** Returns the file type of an output, in capitals. */
export function extensionOf(media) {
  return (/\.([a-z0-9]+)$/i.exec(media.s3_key ?? "")?.[1] ?? "file").toUpperCase();
}

/** Creates the content of a frame whose output is not displayed. */
function fileOf(media) {
  return h("div", { class: "file" }, h("b", {}, extensionOf(media)), summary(media));
}

/** Creates the line with the name, the type and the size of an output. */
function summary(media) {
  const size = media.size === null ? null : bytes(media.size);
  return h("span", {}, [media.name, media.content_type, size].filter(Boolean).join(" · "));
}

/** Creates the badge of a job whose state no worker has confirmed; `null` for others. */
export function staleBadge(job) {
  return job.stale ? h("span", { class: "badge stale", title: STALE }, "may be outdated") : null;
}
