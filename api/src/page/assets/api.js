// Calls to the api: the key, requests, problems, and the stream of all jobs. Only what its OpenAPI
// document describes is used.

/** Root URL, also behind a proxy with a path prefix: this file lies at `assets/{version}/`. */
export const base = new URL("../../", import.meta.url);

const KEY = "darkroom.key";

/** Dispatches `unauthorized` when a key is needed. */
export const access = new EventTarget();

export function storedKey() {
  return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
}

export function rememberKey(key, forLater) {
  forgetKey();
  (forLater ? localStorage : sessionStorage).setItem(KEY, key);
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

/** True if a header can contain the text. */
export function isKey(text) {
  return /^[\x21-\x7e]+$/.test(text);
}

/** Creates an idempotency key. Works without https as well. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A failed request, in the words of its problem details where there are any. */
export class Refusal extends Error {
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

  /** The problem in one line. */
  get words() {
    if (this.status === 429 && this.retryAfter) return `${this.title}: try again in ${this.retryAfter} s`;
    return this.detail ? `${this.title}: ${this.detail}` : this.title;
  }
}

/** Timeout of a request, in milliseconds. */
const PATIENCE = 30_000;

const LOST = { status: 0, title: "The api does not answer", detail: "nothing is lost; try again when the line is back" };

function headersWith(more) {
  const key = storedKey();
  return { accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}), ...more };
}

/** Sends a request and returns the JSON it is answered with. Throws a {@link Refusal}. */
export async function call(method, path, { body, headers = {} } = {}) {
  const more = body === undefined ? headers : { "content-type": "application/json", ...headers };
  let response;
  try {
    response = await fetch(new URL(path, base), {
      method, signal: AbortSignal.timeout(PATIENCE), headers: headersWith(more), body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refusal(LOST);
  }
  if (!response.ok) throw await refusalOf(response);
  return response.json().catch(() => null);
}

/** Reads the problem of a response, and dispatches `unauthorized` for a 401. */
async function refusalOf(response) {
  const answer = await response.json().catch(() => null);
  const problem = answer?.title ? answer : { status: response.status, title: `The answer was ${response.status}` };
  if (response.status === 401) access.dispatchEvent(new Event("unauthorized"));
  return new Refusal(problem, Number(response.headers.get("retry-after")) || null);
}

/** Reads the readiness, `{status, checks}`, of a 200 or a 503. */
export async function readiness() {
  const response = await fetch(new URL("readyz", base), { headers: { accept: "application/json" }, signal: AbortSignal.timeout(5000) });
  return response.json();
}

/** Idle timeout of the stream, in milliseconds: a heartbeat comes every 15 s. */
const SILENCE = 40_000;

/** Time for which a hidden page keeps the stream, in milliseconds. */
const UNSEEN = 60_000;

function untilSeen() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}

/**
 * The one stream of all jobs. Dispatches `job` and `reset` as they come, `up` when it is connected,
 * `down` with the time of the next attempt. After a disconnect it resumes from its last event.
 */
export class Feed extends EventTarget {
  #lastId = null;
  #attempt = 0;
  #abort = null;
  #wake = null;
  #isRunning = false;
  #isAnew = false;

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
    this.#isAnew = this.#isRunning;
    this.#abort?.abort();
    this.retryNow();
    this.start();
  }

  async #run() {
    this.#isRunning = true;
    for (;;) {
      let reason = null;
      this.#isAnew = false;
      try {
        await this.#read();
      } catch (error) {
        reason = error;
      }
      if (this.#isAnew) continue;
      if (reason?.status === 401) break;
      // The position is not valid any more: start without one.
      if (reason?.status === 400) this.#lastId = null;
      if (document.hidden) await untilSeen();
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
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => this.#abort.abort(), SILENCE);
    };
    heard();
    // Browsers limit connections per host, and each tab holds one: hidden tabs release theirs.
    let unseen;
    const look = () => {
      clearTimeout(unseen);
      if (document.hidden) unseen = setTimeout(() => this.#abort.abort(), UNSEEN);
    };
    document.addEventListener("visibilitychange", look);
    look();
    try {
      const more = this.#lastId ? { "last-event-id": this.#lastId } : {};
      const response = await fetch(new URL("v1/events", base), {
        headers: headersWith({ accept: "text/event-stream", ...more }), signal: this.#abort.signal, cache: "no-store",
      });
      if (!response.ok) throw await refusalOf(response);
      this.#attempt = 0;
      this.dispatchEvent(new Event("up"));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop();
        for (const part of parts) this.#take(part);
      }
    } finally {
      clearTimeout(silence);
      clearTimeout(unseen);
      document.removeEventListener("visibilitychange", look);
    }
  }

  #take(part) {
    const field = (name) => part.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    this.#lastId = field("id") ?? this.#lastId;
    const kind = field("event");
    if (kind === "job") this.dispatchEvent(new CustomEvent("job", { detail: JSON.parse(field("data")) }));
    if (kind === "reset") this.dispatchEvent(new Event("reset"));
  }
}
