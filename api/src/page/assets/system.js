// Readiness of the system, in the footer, and notices while a worker is missing or the stream is
// down.

import { readiness } from "./api.js";
import { fill, h } from "./dom.js";
import { duration } from "./words.js";

/** Interval of the polls, in milliseconds. */
const POLL_INTERVAL = 1000;

/** Names and labels of the checks. */
const CHECKS = [
  ["temporal", "Temporal"], ["storage", "store"], ["worker_generate", "workers"],
  ["worker_persist", "storing workers"],
];

export class System {
  constructor({ line, notice, banner }, feed) {
    Object.assign(this, { line, notice, banner, feed });
    this.since = {};
    this.message = h("span", { role: "status" });
    this.age = h("span", { class: "count", "aria-hidden": true });
    feed.addEventListener("up", () => this.#up());
    feed.addEventListener("down", ({ detail }) => this.#down(detail));
    setInterval(() => this.#countDown(), 250);
    this.#poll();
  }

  async #poll() {
    for (;;) {
      if (!document.hidden) {
        try {
          this.#show(await readiness());
        } catch {
          this.#show(null);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
    }
  }

  #show(ready) {
    const known = ready ? CHECKS : [["api", "api"]];
    const checks = known.map(([name, label]) => {
      const result = ready ? ready.checks[name] : "no response";
      const isOk = result === "ok";
      if (isOk) delete this.since[name];
      else this.since[name] ??= Date.now();
      return { name, label, result, isOk };
    });
    const isReady = checks.every((check) => check.isOk);
    fill(this.line, checks.map(({ label, result, isOk }) => {
      const text = isOk ? label : `${label}: ${result}`;
      return h("span", { class: isOk ? "check-result" : "check-result bad", title: result },
        h("b", { "aria-hidden": true }, isOk ? "●" : "✕"), ` ${text}`);
    }), isReady ? h("span", {}, "ready") : null);
    this.#updateNotice(checks);
  }

  /** Shows that a worker is missing: jobs are accepted without one, and wait. */
  #updateNotice(checks) {
    const missing = checks.find(
      ({ name, result }) => name.startsWith("worker") && result.startsWith("no worker"));
    this.notice.hidden = !missing;
    if (!missing) return;
    const task = missing.name === "worker_generate" ? "run jobs" : "store outputs";
    const text = `Jobs are accepted, but no worker is available to ${task}. `
      + "They continue when a worker is available.";
    // Screen readers announce the message once, not every second.
    if (this.message.textContent !== text) this.message.textContent = text;
    this.age.textContent = `For ${duration(Date.now() - this.since[missing.name])}`;
    if (!this.message.isConnected) fill(this.notice, this.message, this.age);
  }

  #up() {
    this.until = null;
    this.banner.hidden = true;
    document.body.classList.remove("disconnected");
  }

  #down({ until, reason }) {
    this.until = until;
    this.reason = reason;
    // A short disconnect is not shown.
    clearTimeout(this.bannerTimer);
    this.bannerTimer = setTimeout(() => {
      if (this.until === null) return;
      document.body.classList.add("disconnected");
      this.banner.hidden = false;
      const text = reason?.status === 429
        ? "Too many pages are open, so this one is not updated."
        : "Connection lost. No job is lost, but this page may be outdated.";
      this.count = h("span", { class: "count", "aria-hidden": true });
      fill(this.banner, h("span", { role: "alert" }, text), this.count, h("button", {
        type: "button", class: "quiet small", onclick: () => this.feed.retryNow(),
      }, "Reconnect now"));
      this.#countDown();
    }, 1500);
  }

  #countDown() {
    if (!this.until || !this.count) return;
    const left = Math.ceil((this.until - Date.now()) / 1000);
    this.count.textContent = left > 0 ? `Reconnecting in ${left} s` : "Reconnecting…";
  }
}
