// Calls to the api: the key, requests, errors, and the stream of all jobs. They use only what the
// OpenAPI document describes.

import { learn } from "./clock.js";
import { persistent, tab } from "./storage.js";

/** Root URL, also behind a proxy with a path prefix: this file lies at `assets/{version}/`. */
export const base = new URL("../../", import.meta.url);

const KEY = "darkroom.key";

/** Dispatches `unauthorized` when a key is needed. */
export const access = new EventTarget();

export function storedKey() {
  return tab.get(KEY) ?? persistent.get(KEY);
}

/** Stores the key, in this tab only or persistently. */
export function storeKey(key, isPersistent) {
  removeKey();
  (isPersistent ? persistent : tab).set(KEY, key);
}

export function removeKey() {
  tab.remove(KEY);
  persistent.remove(KEY);
}

/** True if a header can contain the text. */
export function isKey(text) {
  return /^[\x21-\x7e]+$/.test(text);
}

/** Creates an idempotency key. Works without https as well. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Error of a request, with the problem details of the response if there are any. */
export class ApiError extends Error {
  constructor(problem, retryAfter = null) {
    super(problem.detail || problem.title);
    this.title = problem.title;
    this.detail = problem.detail;
    this.status = problem.status;
    this.kind = problem.type ?? "";
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }

  get isGone() { return this.status === 404 || this.status === 410; }

  /** Error in one line. */
  get summary() {
    if (this.status === 429 && this.retryAfter) return `${this.title}: try again in ${this.retryAfter} s`;
    return this.detail ? `${this.title}: ${this.detail}` : this.title;
  }
}

/** Timeout of a request, in milliseconds. */
const REQUEST_TIMEOUT = 30_000;

/** Problem of a request without a response. */
const NO_RESPONSE = {
  status: 0, title: "The api does not respond", detail: "check the connection and try again",
};

function headersWith(more) {
  const key = storedKey();
  return { accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}), ...more };
}

/** Sends a request and returns the JSON of the response. Throws an {@link ApiError}. */
export async function call(method, path, { body, headers = {} } = {}) {
  const more = body === undefined ? headers : { "content-type": "application/json", ...headers };
  let response;
  try {
    response = await fetch(new URL(path, base), {
      method, signal: AbortSignal.timeout(REQUEST_TIMEOUT), headers: headersWith(more),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(NO_RESPONSE);
  }
  learn(response);
  if (!response.ok) throw await errorOf(response);
  try {
    return await response.json();
  } catch {
    // It was cut off, or is of another server, such as a network's sign-in page.
    throw new ApiError(NO_RESPONSE);
  }
}

/** Reads the error of a response, and dispatches `unauthorized` for a 401. */
async function errorOf(response) {
  const { status } = response;
  const body = await response.json().catch(() => null);
  const problem = body?.title ? body : { status, title: `HTTP status ${status}` };
  if (status === 401) access.dispatchEvent(new Event("unauthorized"));
  return new ApiError(problem, Number(response.headers.get("retry-after")) || null);
}

/** Reads the readiness, `{status, checks}`, of a 200 or a 503. */
export async function readiness() {
  const response = await fetch(new URL("readyz", base), {
    headers: { accept: "application/json" }, signal: AbortSignal.timeout(5000),
  });
  return response.json();
}

/** Idle timeout of the stream, in milliseconds: the api sends a heartbeat every 15 s. */
const IDLE_TIMEOUT = 40_000;

/** Time after which a hidden page closes the stream, in milliseconds. */
const HIDDEN_TIMEOUT = 5000;

function untilVisible() {
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
  });
}

/**
 * Stream of all jobs. Dispatches `job` and `reset` as they arrive, `up` once it is connected, and
 * `down` with the time of the next attempt. After a disconnect it resumes from its last event.
 */
export class Feed extends EventTarget {
  #lastId = null;
  #attempt = 0;
  #abort = null;
  #wake = null;
  #isRunning = false;
  #isRestarted = false;

  start() {
    if (!this.#isRunning) this.#run();
  }

  /** Reconnects at once. */
  retryNow() {
    this.#wake?.();
  }

  /** Reconnects from the beginning, with another key. */
  restart() {
    this.#lastId = null;
    this.#isRestarted = this.#isRunning;
    this.#abort?.abort();
    this.retryNow();
    this.start();
  }

  async #run() {
    this.#isRunning = true;
    for (;;) {
      // Browsers limit connections per host, and each stream is one: hidden pages have none.
      if (document.hidden) await untilVisible();
      let reason = null;
      this.#isRestarted = false;
      try {
        await this.#read();
      } catch (error) {
        reason = error;
      }
      if (this.#isRestarted) continue;
      if (reason?.status === 401) break;
      // The last event id is no longer valid: start without one.
      if (reason?.status === 400) this.#lastId = null;
      if (document.hidden) continue;
      this.#attempt += 1;
      const pause = reason?.retryAfter ? reason.retryAfter * 1000
        : Math.min(150 * 2 ** this.#attempt, 10_000) * (0.75 + Math.random() / 2);
      this.dispatchEvent(new CustomEvent("down", { detail: { until: Date.now() + pause, reason } }));
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, pause);
      });
    }
    this.#isRunning = false;
  }

  async #read() {
    this.#abort = new AbortController();
    let idleTimer;
    const resetIdleTimer = () => {
      clearTimeout(idleTimer);
      idleTimer = setTimeout(() => this.#abort.abort(), IDLE_TIMEOUT);
    };
    resetIdleTimer();
    let hiddenTimer;
    const checkVisibility = () => {
      clearTimeout(hiddenTimer);
      if (document.hidden) hiddenTimer = setTimeout(() => this.#abort.abort(), HIDDEN_TIMEOUT);
    };
    document.addEventListener("visibilitychange", checkVisibility);
    checkVisibility();
    try {
      const more = this.#lastId ? { "last-event-id": this.#lastId } : {};
      const response = await fetch(new URL("v1/events", base), {
        headers: headersWith({ accept: "text/event-stream", ...more }), signal: this.#abort.signal, cache: "no-store",
      });
      if (!response.ok) throw await errorOf(response);
      this.#attempt = 0;
      this.dispatchEvent(new Event("up"));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        resetIdleTimer();
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop();
        for (const part of parts) this.#dispatch(part);
      }
    } finally {
      clearTimeout(idleTimer);
      clearTimeout(hiddenTimer);
      document.removeEventListener("visibilitychange", checkVisibility);
    }
  }

  #dispatch(part) {
    const lines = part.split("\n");
    const field = (name) => {
      const line = lines.find((one) => one.startsWith(`${name}: `));
      return line?.slice(name.length + 2);
    };
    this.#lastId = field("id") ?? this.#lastId;
    const kind = field("event");
    if (kind === "job") {
      this.dispatchEvent(new CustomEvent("job", { detail: JSON.parse(field("data")) }));
    }
    if (kind === "reset") this.dispatchEvent(new Event("reset"));
  }
}
