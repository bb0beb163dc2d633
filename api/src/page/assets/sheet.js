// Contact sheet: jobs, the newest first. Only a window of them is in the document. The keyboard
// moves the focus through them.

import { now } from "./clock.js";
import { fill, h, replaceUrl, throttle } from "./dom.js";
import { Card } from "./card.js";
import { keyOf, matches, NO_FILTER } from "./jobs.js";
import { count, hasEnded } from "./words.js";

/** Number of cards that are added at a time, and maximum number of cards in the document. */
const STEP = 60;
const MAX_CARDS = 240;

export class Sheet {
  constructor({ list, top, bottom, news, empty }, { jobs, actions, open }) {
    Object.assign(this, { list, top, bottom, news, empty, jobs, actions, open });
    this.filter = { ...NO_FILTER };
    this.cards = new Map();
    /** Ids of all jobs in their order. Those in `from..to` are in the document. */
    this.ids = [];
    this.from = 0;
    this.to = STEP;
    /** Heights of the rows above that were removed from the document. */
    this.above = [];
    /** Ids of new jobs that are not shown yet. */
    this.held = new Set();
    this.active = null;
    jobs.addEventListener("job", ({ detail }) => this.#update(detail));
    list.addEventListener("pointerenter", () => { this.isPointed = true; });
    list.addEventListener("pointerleave", () => {
      this.isPointed = false;
      this.#showHeld();
    });
    list.addEventListener("focusin", (event) => this.#activate(event.target.closest(".card")?.dataset.id));
    news.addEventListener("click", () => {
      this.#showHeld();
      scrollTo({ top: 0, behavior: "smooth" });
    });
    const ends = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.#extend(entry.target);
    }, { rootMargin: "900px" });
    ends.observe(top);
    ends.observe(bottom);
    setInterval(() => this.#tick(), 1000);
  }

  /** Shows the jobs of a filter; `reload` reads them again. */
  async show(filter, { reload = false } = {}) {
    const mustLoad = reload || keyOf(filter) !== keyOf(this.filter) || !this.isRead;
    this.filter = filter;
    [this.from, this.to, this.above] = [0, STEP, []];
    this.held.clear();
    this.#updateNews();
    if (mustLoad) [this.isRead, this.problem] = [false, null];
    this.#order();
    this.#render();
    if (mustLoad) await this.#load();
  }

  /** Reads a page. If the filter changes meanwhile, reads a page of the new one afterwards. */
  async #load() {
    if (this.loading) return;
    const key = keyOf(this.filter);
    [this.loading, this.problem] = [true, null];
    this.list.setAttribute("aria-busy", "true");
    this.#updateBottom();
    try {
      await this.jobs.load(this.filter);
    } catch (error) {
      if (key === keyOf(this.filter)) this.problem = error;
    }
    this.loading = false;
    if (key !== keyOf(this.filter)) return this.#load();
    this.isRead ||= this.problem === null;
    this.list.removeAttribute("aria-busy");
    this.#order();
    this.#render();
    if (this.problem?.retryAfter) setTimeout(() => this.#retry(), this.problem.retryAfter * 1000);
    else if (!this.problem) this.#extendIfNear(this.bottom);
  }

  #retry() {
    if (this.problem && !this.loading) this.#load();
  }

  /** Shows below the last card that jobs are being read, the error, or how many were searched. */
  #updateBottom() {
    const isMore = this.isRead && this.jobs.hasMore(this.filter);
    if (this.problem && this.isRead) {
      fill(this.bottom, h("span", {}, this.problem.summary ?? this.problem.message),
        h("button", { type: "button", class: "quiet small", onclick: () => this.#load() }, "Try again"));
    } else if (this.filter.text && isMore) {
      fill(this.bottom, h("span", {}, `${count(this.jobs.size, "job")} searched`),
        h("button", {
          type: "button", class: "quiet small", onclick: () => this.#load(),
        }, "Search older jobs"));
    } else {
      fill(this.bottom, this.loading ? h("span", {}, "Loading jobs…") : null);
    }
  }

  #update({ id, before, job }) {
    const isNew = job && !before;
    const shown = this.cards.get(id);
    if (job && before && shown && this.#keepsOrder(before, job)) {
      shown.update(job);
      return;
    }
    if (!job) this.held.delete(id);
    // A new job must not move the cards under the pointer, unless it was created on this page.
    const isHeld = isNew && this.isPointed && !this.loading && !hasEnded(job)
      && !this.jobs.own.has(id);
    if (isHeld && matches(this.filter, job)) this.held.add(id);
    this.#updateNews();
    // The stream begins with jobs in any order. Until the first page is read, others would belong
    // above them.
    const isFirstPage = this.loading && !this.isRead;
    if (!isFirstPage || this.jobs.own.has(id)) this.#scheduleRender();
  }

  /** True if a change keeps the order. */
  #keepsOrder(before, job) {
    return before.created_at === job.created_at
      && (!this.filter.status || hasEnded(before) === hasEnded(job));
  }

  #scheduleRender() {
    if (this.isPlanned) return;
    this.isPlanned = true;
    requestAnimationFrame(() => {
      this.isPlanned = false;
      this.#order();
      this.#render();
    });
  }

  #showHeld() {
    if (!this.held.size) return;
    this.held.clear();
    this.#updateNews();
    this.#order();
    this.#render();
  }

  #updateNews() {
    this.news.hidden = this.held.size === 0;
    this.news.textContent = `Show ${this.held.size} new`;
  }

  #order() {
    this.ids = this.jobs.list(this.filter).filter((id) => !this.held.has(id));
    // After scrolling, the first card stays in place when jobs above it change.
    const at = this.from > 0 ? this.ids.indexOf(this.list.firstElementChild?.dataset.id) : 0;
    if (at > 0) {
      this.above[0].count += at - this.from;
      [this.from, this.to] = [at, this.to + at - this.from];
    } else if (at < 0 || this.from >= this.ids.length) {
      [this.from, this.to, this.above] = [0, STEP, []];
    }
    this.to = Math.min(Math.max(this.to, this.from + STEP), this.from + MAX_CARDS);
  }

  #render() {
    const ids = this.ids.slice(this.from, this.to);
    const wanted = new Set(ids);
    let focused = -1;
    for (const [id, card] of this.cards) {
      if (wanted.has(id)) continue;
      if (card.element.contains(document.activeElement)) {
        focused = [...this.list.children].indexOf(card.element);
      }
      card.element.remove();
      this.cards.delete(id);
    }
    let next = this.list.firstElementChild;
    for (const id of ids) {
      let card = this.cards.get(id);
      if (!card) {
        card = new Card(id, this);
        this.cards.set(id, card);
      }
      const job = this.jobs.get(id);
      if (card.job !== job) card.update(job);
      if (card.element === next) next = next.nextElementSibling;
      else this.list.insertBefore(card.element, next);
    }
    this.top.style.height = `${this.above.reduce((sum, part) => sum + part.height, 0)}px`;
    if (!this.cards.has(this.active)) {
      this.#activate(ids[Math.min(Math.max(focused, 0), ids.length - 1)]);
    }
    // Moves the focus of a removed card to its neighbor.
    if (focused >= 0) this.focus();
    this.#updateBottom();
    this.#updateEmpty(ids.length);
  }

  #updateEmpty(shown) {
    this.empty.hidden = shown > 0 || this.loading || (!this.isRead && !this.problem);
    if (this.empty.hidden) return;
    const isFiltered = JSON.stringify(this.filter) !== JSON.stringify(NO_FILTER);
    this.empty.dataset.kind = this.problem && !this.isRead ? "problem"
      : isFiltered ? "filtered" : "nothing";
    if (this.problem) {
      const line = this.empty.querySelector(".of-problem");
      line.textContent = this.problem.summary ?? this.problem.message;
    }
  }

  /** Extends the window at one end, and shortens it at the other. */
  #extend(end) {
    if (!end.checkVisibility()) return;
    if (end === this.bottom) {
      if (this.to < this.ids.length) {
        this.to += STEP;
        if (this.to - this.from > MAX_CARDS) this.#cutTop();
        this.#render();
      } else {
        if (this.#canRead()) this.#load();
        return;
      }
    } else if (this.above.length) {
      this.from -= this.above.pop().count;
      this.to = Math.min(this.to, this.from + MAX_CARDS);
      this.#render();
    }
    // The end may still be near the viewport.
    this.#extendIfNear(end);
  }

  #extendIfNear(end) {
    requestAnimationFrame(() => {
      if (!end.checkVisibility()) return;
      const box = end.getBoundingClientRect();
      const isNear = box.bottom > -900 && box.top < innerHeight + 900;
      const canExtend = end === this.bottom
        ? this.to < this.ids.length || this.#canRead() : this.above.length > 0;
      if (isNear && canExtend) this.#extend(end);
    });
  }

  /** True if more can be read automatically. A text search is extended only on request. */
  #canRead() {
    return this.isRead && !this.loading && !this.problem && !this.filter.text && this.jobs.hasMore(this.filter);
  }

  /** Removes whole rows at the top, so that the layout of the others does not change. */
  #cutTop() {
    const cards = [...this.list.children];
    let at = STEP;
    while (at > 0 && cards[at].offsetTop === cards[at - 1].offsetTop) at -= 1;
    if (at === 0) return;
    this.above.push({ count: at, height: cards[at].offsetTop - cards[0].offsetTop });
    this.from += at;
  }

  #tick() {
    if (document.hidden || this.list.offsetParent === null) return;
    const at = now();
    for (const card of this.cards.values()) card.tick(at);
  }

  #activate(id) {
    if (!id || id === this.active && this.cards.get(id)?.title.tabIndex === 0) return;
    const setTabIndex = (card, index) => {
      if (!card) return;
      card.title.tabIndex = index;
      for (const button of card.buttons.children) button.tabIndex = index;
      card.play(index === 0 && card.element.contains(document.activeElement));
    };
    setTabIndex(this.cards.get(this.active), -1);
    this.active = id;
    setTabIndex(this.cards.get(id), 0);
  }

  /** Job that shortcuts act on. */
  get activeJob() {
    return this.list.contains(document.activeElement) ? this.jobs.get(this.active) : null;
  }

  focus() {
    this.cards.get(this.active)?.title.focus();
  }

  /** Moves the focus: `1` and `-1` to the next and the previous card, `down` and `up` by row. */
  move(step) {
    const cards = [...this.list.children];
    if (!this.list.contains(document.activeElement)) {
      // Starts at the first visible card.
      const visible = cards.find((card) => card.getBoundingClientRect().bottom > 0);
      this.#activate(visible?.dataset.id);
      return this.focus();
    }
    const at = cards.findIndex((card) => card.dataset.id === this.active);
    let to = at + step;
    if (step === "down" || step === "up") {
      const here = cards[at].getBoundingClientRect();
      const middle = here.left + here.width / 2;
      const others = cards.map((card, index) => ({ index, box: card.getBoundingClientRect() }))
        .filter(({ box }) => (step === "down" ? box.top >= here.bottom - 1 : box.bottom <= here.top + 1));
      const distance = ({ box }) => Math.abs(box.top - here.top) * 10 + Math.abs(box.left + box.width / 2 - middle);
      to = others.sort((one, other) => distance(one) - distance(other))[0]?.index ?? at;
    }
    const card = this.cards.get(cards[Math.min(Math.max(to, 0), cards.length - 1)]?.dataset.id);
    card?.title.focus();
    card?.element.scrollIntoView({ block: "nearest" });
  }
}

/** Creates the filters, as chips and fields above the sheet. */
export function filters(element, { jobs, changed }) {
  const DAY = 86_400_000;
  const query = new URLSearchParams(location.search);
  const filter = Object.fromEntries(
    Object.keys(NO_FILTER).map((name) => [name, query.get(name) ?? ""]));
  if (!/^\d+$/.test(filter.since)) filter.since = "";
  const statuses = [["", "All"], ["processing", "Running"], ["completed", "Completed"], ["partial", "Partial"], ["failed", "Failed"], ["canceled", "Canceled"]];
  const chips = statuses.map(([status, label]) => h("button", {
    type: "button", class: "chip", "aria-pressed": String(filter.status === status), onclick: () => set({ status }), dataset: { status },
  }, label));
  const model = h("select", { "aria-label": "Model", onchange: () => set({ model: model.value }) });
  const changeSince = () => set({ since: since.value });
  const since = h("select", { "aria-label": "Created", onchange: changeSince },
    [["", "Any time"], [String(DAY / 24), "Last hour"], [String(DAY), "Last day"], [String(7 * DAY), "Last week"]]
      .map(([value, label]) => h("option", { value, selected: filter.since === value }, label)));
  const text = h("input", {
    type: "search", placeholder: "Search prompts", "aria-label": "Search prompts", value: filter.text,
    oninput: () => set({ text: text.value }), "aria-keyshortcuts": "f",
  });
  fill(element, h("div", { class: "chips", role: "group", "aria-label": "State" }, chips), text, model, since);
  const updateModels = () => {
    const models = [...new Set([filter.model, ...jobs.models()])].filter(Boolean).slice(0, 40);
    if (models.join() === updateModels.last) return;
    updateModels.last = models.join();
    fill(model, h("option", { value: "" }, "Any model"),
      models.map((name) => h("option", { value: name, selected: name === filter.model }, name)));
  };
  jobs.addEventListener("job", throttle(updateModels));
  updateModels();
  function set(change) {
    Object.assign(filter, change);
    chips.forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.status === filter.status)));
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
    replaceUrl(query.size ? `?${query}` : location.pathname);
    changed({ ...filter });
  }
  return { filter, text, clear: () => {
    text.value = model.value = since.value = "";
    set({ ...NO_FILTER });
  } };
}

/** Returns a summary of the known jobs, such as `3 running, 1 partial`. */
export function summaryOf(jobs) {
  const counts = jobs.counts();
  const running = ["queued", "generating", "storing", "finalizing"]
    .reduce((total, state) => total + (counts[state] ?? 0), 0);
  const parts = [
    running ? `${running} running` : null,
    counts.in_doubt ? `${counts.in_doubt} in doubt` : null,
    counts.partial ? `${counts.partial} partial` : null,
    counts.failed ? `${counts.failed} failed` : null,
  ].filter(Boolean);
  if (parts.length) return parts.join(", ");
  return jobs.size ? `${count(jobs.size, "job")}, no failures` : "";
}
