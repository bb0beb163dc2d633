// One frame: the place of an output, empty at first and then with its content, in a fitting shape.

import { call } from "./api.js";
import { h, fill } from "./dom.js";
import { draw } from "./thumbhash.js";
import { absence, bytes, duration, failureWords, hasEnded, kindOf, stateOfOutput, STATES } from "./words.js";

/** Default ratio of a frame, and the bounds of all ratios. */
const USUAL_RATIO = 1;
const FLATTEST = 4;
const TALLEST = 0.4;

/** Latest ratio of an output, by model. */
const shapes = new Map();

/** Bytes of a text that are shown. */
const TEXT_BYTES = 1500;

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
  return Math.min(FLATTEST, Math.max(TALLEST, guess(media, job)));
}

/** Guesses the ratio: from the picture, its siblings, or the request. */
function guess(media, job) {
  if (media.width && media.height) {
    shapes.set(job.model, media.width / media.height);
    return shapes.get(job.model);
  }
  const kind = media.status === "completed" ? kindOf(media) : null;
  if (kind === "sound") return 2.2;
  if (kind === "text" || kind === "file") return 1.3;
  const sibling = job.media?.find((one) => one.width && one.height);
  if (sibling) return sibling.width / sibling.height;
  const input = job.input ?? {};
  const [, across, down] = /^(\d+):(\d+)$/.exec(input.aspect_ratio ?? "") ?? [];
  if (across && Number(down)) return across / down;
  if (Number(input.width) > 0 && Number(input.height) > 0) return input.width / input.height;
  // Words need room; anything else is likely to have the ratio of the model's latest output.
  return media.status === "failed" ? 1.5 : shapes.get(job.model) ?? USUAL_RATIO;
}

/** Returns the frames of a job: its outputs or, before they exist, as many as were requested. */
export function placesOf(job) {
  if (job.media?.length) return job.media;
  const isOne = job.status === "failed" || !job.num_outputs;
  const status = hasEnded(job) ? job.status : "pending";
  return Array.from({ length: isOne ? 1 : Math.min(job.num_outputs, 8) }, (_, index) => ({
    index, status, isPlace: true, error: job.error ?? null, error_message: job.error_message ?? null,
  }));
}

/** A frame on the page. `large` shows the output itself, otherwise its preview. */
export class Frame {
  constructor({ large = false } = {}) {
    this.large = large;
    this.element = h("div", { class: "frame", onpointerenter: () => this.play?.(), onpointerleave: () => this.pause?.() });
    this.shown = null;
  }

  update(media, job) {
    const state = stateOfOutput(media, job);
    this.element.dataset.state = state;
    this.element.style.setProperty("--ratio", ratioOf(media, job));
    const name = [media.index, media.status, media.sha256, media.error?.type, media.isPlace, state].join();
    if (name !== this.shown) {
      this.shown = name;
      this.#show(media, job, state);
    }
    if (media.status === "pending") this.#progress(media, job, state);
    this.media = media;
  }

  #show(media, job, state) {
    if (media.status === "completed" && !media.isPlace) return this.#content(media, job);
    if (media.status === "pending") {
      this.bar = h("progress", { max: 1, "aria-label": `output ${media.index + 1}` });
      this.label = h("span", { class: "label" });
      return fill(this.element, h("div", { class: "sweep", "aria-hidden": true }), this.label, this.bar);
    }
    if (media.status === "failed") {
      const words = failureWords(media.error);
      const detail = media.error_message ? h("span", { class: "detail" }, media.error_message) : null;
      return fill(this.element, h("p", { class: "why" }, h("strong", {}, state === "parked" ? "? In doubt" : `✕ ${absence(media, job)}`),
        h("span", { title: media.error_message }, words), detail));
    }
    return fill(this.element, h("p", { class: "why" }, h("strong", {}, "⊘ Canceled"), h("span", {}, "before it was stored")));
  }

  #progress(media, job, state) {
    const isMoving = media.bytes_done > 0;
    this.bar.hidden = !isMoving;
    if (isMoving && media.bytes_total) this.bar.value = media.bytes_done / media.bytes_total;
    else this.bar.removeAttribute("value");
    const done = media.bytes_total ? `${bytes(media.bytes_done)} of ${bytes(media.bytes_total)}` : bytes(media.bytes_done ?? 0);
    fill(this.label, isMoving ? done : state === "parked" ? "looking for it" : STATES[state].word);
    this.label.title = job.stale ? "this may be behind the truth" : "";
  }

  #content(media, job) {
    const alt = job.prompt ?? `output ${media.index + 1} of a job of ${job.model}`;
    switch (kindOf(media)) {
      case "picture": return this.#picture(media, job, alt);
      case "video": return this.#video(media, job, alt);
      case "sound": return fill(this.element, h("div", { class: "file" }, h("b", {}, "♪ Sound"), facts(media),
        this.#sound(media, job, alt)));
      case "text": return this.#text(media, job);
      default: return fill(this.element, h("div", { class: "file" }, h("b", {}, extensionOf(media)), facts(media)));
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
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.large && !isCalm) {
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
    fill(this.element, text, h("div", { class: "file" }, facts(media)));
    const load = async () => {
      try {
        const url = await freshUrl(job, media);
        const response = await fetch(url, { headers: { range: `bytes=0-${TEXT_BYTES - 1}` } });
        if (!response.ok) throw new Error(`the store answered ${response.status}`);
        text.textContent = (await response.text()).slice(0, TEXT_BYTES);
      } catch {
        // The store does not let pages read it (CORS): show its file type only.
        fill(this.element, h("div", { class: "file" }, h("b", {}, extensionOf(media)), facts(media)));
      }
    };
    this.#whenNear(text, load);
  }

  /** Sets the URL once the element is near; an expired one is replaced, a few times. */
  #loadWhenNear(element, job, media, field) {
    let left = 3;
    const renew = async () => {
      left -= 1;
      try {
        element.src = await freshUrl(job, media);
      } catch (error) {
        // Retried if rate limited.
        if (error.retryAfter && left > 0) setTimeout(renew, error.retryAfter * 1000);
        else giveUp();
      }
    };
    const giveUp = () => fill(this.element, h("p", { class: "why" }, h("strong", {}, extensionOf(media)), h("span", {}, "it cannot be shown here")));
    element.addEventListener("error", () => (left > 1 ? renew() : giveUp()));
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

/** Returns a fresh URL of an output, as those that came with the job expire. */
async function freshUrl(job, media) {
  const { url } = await call("GET", `v1/jobs/${job.job_id}/media/${media.index}/url`);
  return url;
}

/** Returns the file type of an output, in capitals. */
export function extensionOf(media) {
  return (/\.([a-z0-9]+)$/i.exec(media.s3_key ?? "")?.[1] ?? "file").toUpperCase();
}

function facts(media) {
  return h("span", {}, [media.name, media.content_type, media.size === null ? null : bytes(media.size)].filter(Boolean).join(" · "));
}
