// The readiness of the system, in one line at the bottom; and a notice while the stream is down.

import { readiness } from "./api.js";
import { fill, h } from "./dom.js";
import { duration } from "./words.js";

const OFTEN = 1000;

const PARTS = [["temporal", "Temporal"], ["storage", "store"], ["worker_generate", "workers"], ["worker_persist", "storing workers"]];

export class System {
  constructor({ line, notice, banner }, feed) {
    Object.assign(this, { line, notice, banner, feed });
    this.since = {};
    this.told = h("span", { role: "status" });
    this.lasted = h("span", { class: "count", "aria-hidden": true });
    feed.addEventListener("up", () => this.#up());
    feed.addEventListener("down", ({ detail }) => this.#down(detail));
    setInterval(() => this.#countDown(), 250);
    this.#look();
  }

  async #look() {
    for (;;) {
      if (!document.hidden) {
        try {
          this.#show(await readiness());
        } catch {
          this.#show(null);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, OFTEN));
    }
  }

  #show(ready) {
    const named = ready ? PARTS : [["api", "api"]];
    const parts = named.map(([name, label]) => {
      const said = ready ? ready.checks[name] : "no answer";
      const isWell = said === "ok";
      if (isWell) delete this.since[name];
      else this.since[name] ??= Date.now();
      return { name, label, said, isWell };
    });
    const all = h("span", {}, "all is well");
    fill(this.line, parts.map(({ label, said, isWell }) => h("span", { class: isWell ? "part" : "part bad", title: said },
      h("b", { "aria-hidden": true }, isWell ? "●" : "✕"), ` ${label}${isWell ? "" : `: ${said}`}`)),
    parts.every((part) => part.isWell) ? all : null);
    this.#tellWorkers(parts);
  }

  /** Shows that a worker is missing: jobs are accepted without one, and wait. */
  #tellWorkers(parts) {
    const missing = parts.find(({ name, isWell, said }) => !isWell && name.startsWith("worker") && said.startsWith("no worker"));
    this.notice.hidden = !missing;
    if (!missing) return;
    const what = missing.name === "worker_generate" ? "no worker asks for work" : "no worker stores outputs";
    const words = `What you ask for is accepted and safe; but ${what}. It goes on when one is back.`;
    // Screen readers announce it once, not every second.
    if (this.told.textContent !== words) this.told.textContent = words;
    this.lasted.textContent = `Seen for ${duration(Date.now() - this.since[missing.name])}`;
    if (!this.told.isConnected) fill(this.notice, this.told, this.lasted);
  }

  #up() {
    this.until = null;
    this.banner.hidden = true;
    document.body.classList.remove("lost");
  }

  #down({ until, reason }) {
    this.until = until;
    this.reason = reason;
    // A short disconnect is not shown.
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      if (this.until === null) return;
      document.body.classList.add("lost");
      this.banner.hidden = false;
      const words = reason?.status === 429 ? "Too many pages are open on this Darkroom at the moment, so this one is not kept up to date." : "The line to Darkroom is lost. Nothing is lost with it; what you see may be behind.";
      this.count = h("span", { class: "count", "aria-hidden": true });
      fill(this.banner, h("span", { role: "alert" }, words), this.count, h("button", { type: "button", class: "quiet small", onclick: () => this.feed.retryNow() }, "Try now"));
      this.#countDown();
    }, 1500);
  }

  #countDown() {
    if (!this.until || !this.count) return;
    const left = Math.ceil((this.until - Date.now()) / 1000);
    this.count.textContent = left > 0 ? `Again in ${left} s` : "Trying…";
  }
}
