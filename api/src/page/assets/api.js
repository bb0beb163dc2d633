// Calling the api: the key, requests, problems, and the stream of all jobs. Only what its description has is used.

/** Where we are, wherever a proxy has put us: this file lies at `assets/{version}/`. */
export const base = new URL("../../", import.meta.url);

const KEY = "darkroom.key";

/** Tells that a key is needed: `unauthorized`. */
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

/** What headers take. */
export function isKey(text) {
  return /^[\x21-\x7e]+$/.test(text);
}

/** A name for something that is to be done once, however often it is asked for. Works without https as well. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Why a request came to nothing, in the api's own words where it said any. */
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

  /** One line for a person. */
  get words() {
    if (this.status === 429 && this.retryAfter) return `${this.title}: try again in ${this.retryAfter} s`;
    return this.detail ? `${this.title}: ${this.detail}` : this.title;
  }
}

/** How long an answer is waited for. */
const PATIENCE = 30_000;

const LOST = { status: 0, title: "The api does not answer", detail: "nothing is lost; try again when the line is back" };

function headersWith(more) {
  const key = storedKey();
  return { accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}), ...more };
}

/** Asks, and returns what was answered. Throws a {@link Refusal}. */
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

/** Reads why a request was refused, and tells if it is for want of a key. */
async function refusalOf(response) {
  const answer = await response.json().catch(() => null);
  const problem = answer?.title ? answer : { status: response.status, title: `The answer was ${response.status}` };
  if (response.status === 401) access.dispatchEvent(new Event("unauthorized"));
  return new Refusal(problem, Number(response.headers.get("retry-after")) || null);
}

/** How the api stands: `{ready, checks}`, whether it can answer or not. */
export async function readiness() {
  const response = await fetch(new URL("readyz", base), { headers: { accept: "application/json" }, signal: AbortSignal.timeout(5000) });
  return response.json();
}

/** How long the stream may be silent: a heartbeat comes every 15 s. */
const SILENCE = 40_000;

/** How long a page that nobody looks at holds it. */
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
 * The one stream of all jobs: `job` and `reset` as they come, `up` when it stands, `down` with when it is tried again.
 * After a break it goes on where it was.
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

  /** Tries again at once. */
  retryNow() {
    this.#wake?.();
  }

  /** Begins anew, as somebody else. */
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
      // A position that is no good any more is none to go on from.
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
    // A browser has few connections to one host, and each tab holds one: those that nobody looks at let go of theirs.
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
