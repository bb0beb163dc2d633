// The contact sheet: jobs, the newest first. Only a window of them is in the document. The keyboard
// moves through them.

import { fill, h, soon } from "./dom.js";
import { Card } from "./card.js";
import { EVERYTHING, nameOf, shows } from "./jobs.js";
import { count, hasEnded } from "./words.js";

/** Cards that are added at a time, and the limit of cards in the document. */
const STEP = 60;
const MOST = 240;

export class Sheet {
  constructor({ list, top, bottom, news, empty }, { jobs, actions, open }) {
    Object.assign(this, { list, top, bottom, news, empty, jobs, actions, open });
    this.filter = { ...EVERYTHING };
    this.cards = new Map();
    /** Ids of all jobs in their order. Those in `from..to` are in the document. */
    this.ids = [];
    this.from = 0;
    this.to = STEP;
    /** Heights of the rows above that were removed from the document. */
    this.above = [];
    this.held = new Set();
    this.active = null;
    jobs.addEventListener("job", ({ detail }) => this.#take(detail));
    list.addEventListener("pointerenter", () => { this.isPointed = true; });
    list.addEventListener("pointerleave", () => {
      this.isPointed = false;
      this.#letIn();
    });
    list.addEventListener("focusin", (event) => this.#activate(event.target.closest(".card")?.dataset.id));
    news.addEventListener("click", () => {
      this.#letIn();
      scrollTo({ top: 0, behavior: "smooth" });
    });
    const ends = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.#reach(entry.target);
    }, { rootMargin: "900px" });
    ends.observe(top);
    ends.observe(bottom);
    setInterval(() => this.#tick(), 1000);
  }

  /** Shows the jobs of a filter; `anew` reads them again. */
  async show(filter, { anew = false } = {}) {
    const isOther = anew || nameOf(filter) !== nameOf(this.filter) || !this.isRead;
    this.filter = filter;
    [this.from, this.to, this.above] = [0, STEP, []];
    this.held.clear();
    this.#tellNews();
    if (isOther) [this.isRead, this.problem] = [false, null];
    this.#order();
    this.#render();
    if (isOther) await this.#load();
  }

  /** Reads a page; a request meanwhile is handled after it. */
  async #load() {
    if (this.loading) return;
    const name = nameOf(this.filter);
    [this.loading, this.problem] = [true, null];
    this.list.setAttribute("aria-busy", "true");
    this.#tellFurther();
    try {
      await this.jobs.load(this.filter);
    } catch (error) {
      if (name === nameOf(this.filter)) this.problem = error;
    }
    this.loading = false;
    if (name !== nameOf(this.filter)) return this.#load();
    this.isRead ||= this.problem === null;
    this.list.removeAttribute("aria-busy");
    this.#order();
    this.#render();
    if (this.problem?.retryAfter) setTimeout(() => this.#goOn(), this.problem.retryAfter * 1000);
    else if (!this.problem) this.#watchAgain(this.bottom);
  }

  #goOn() {
    if (this.problem && !this.loading) this.#load();
  }

  /** Shows the state of reading below the last card: progress, an error, or how far it reached. */
  #tellFurther() {
    const isMore = this.isRead && this.jobs.hasMore(this.filter);
    if (this.problem && this.isRead) {
      fill(this.bottom, h("span", {}, this.problem.words ?? this.problem.message),
        h("button", { type: "button", class: "quiet small", onclick: () => this.#load() }, "Try again"));
    } else if (this.filter.text && isMore) {
      fill(this.bottom, h("span", {}, `${count(this.jobs.size, "job")} looked through`),
        h("button", { type: "button", class: "quiet small", onclick: () => this.#load() }, "Look further back"));
    } else {
      fill(this.bottom, this.loading ? h("span", {}, "Reading jobs…") : null);
    }
  }

  #take({ id, before, job }) {
    const isNew = job && !before;
    const shown = this.cards.get(id);
    if (job && before && shown && this.#isStill(before, job)) {
      shown.update(job);
      return;
    }
    if (!job) this.held.delete(id);
    // Nothing moves under the pointer, except for jobs that were created here.
    const waits = isNew && this.isPointed && !this.loading && !hasEnded(job) && !this.jobs.own.has(id);
    if (waits && shows(this.filter, job)) this.held.add(id);
    this.#tellNews();
    this.#later();
  }

  /** True if a change keeps the order. */
  #isStill(before, job) {
    return before.created_at === job.created_at && (!this.filter.status || hasEnded(before) === hasEnded(job));
  }

  #later() {
    if (this.isPlanned) return;
    this.isPlanned = true;
    requestAnimationFrame(() => {
      this.isPlanned = false;
      this.#order();
      this.#render();
    });
  }

  #letIn() {
    if (!this.held.size) return;
    this.held.clear();
    this.#tellNews();
    this.#order();
    this.#render();
  }

  #tellNews() {
    this.news.hidden = this.held.size === 0;
    this.news.textContent = `${this.held.size} new`;
  }

  #order() {
    this.ids = this.jobs.list(this.filter).filter((id) => !this.held.has(id));
    // After scrolling, the first card stays in place, whatever changes above it.
    const at = this.from > 0 ? this.ids.indexOf(this.list.firstElementChild?.dataset.id) : 0;
    if (at > 0) {
      this.above[0].count += at - this.from;
      [this.from, this.to] = [at, this.to + at - this.from];
    } else if (at < 0 || this.from >= this.ids.length) {
      [this.from, this.to, this.above] = [0, STEP, []];
    }
    this.to = Math.min(Math.max(this.to, this.from + STEP), this.from + MOST);
  }

  #render() {
    const ids = this.ids.slice(this.from, this.to);
    const wanted = new Set(ids);
    let lost = -1;
    for (const [id, card] of this.cards) {
      if (wanted.has(id)) continue;
      if (card.element.contains(document.activeElement)) lost = [...this.list.children].indexOf(card.element);
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
    if (!this.cards.has(this.active)) this.#activate(ids[Math.min(Math.max(lost, 0), ids.length - 1)]);
    // The focus moves to the neighbor of a removed card.
    if (lost >= 0) this.focus();
    this.#tellFurther();
    this.#tellEmpty(ids.length);
  }

  #tellEmpty(shown) {
    this.empty.hidden = shown > 0 || this.loading || (!this.isRead && !this.problem);
    if (this.empty.hidden) return;
    const isFiltered = JSON.stringify(this.filter) !== JSON.stringify(EVERYTHING);
    this.empty.dataset.kind = this.problem && !this.isRead ? "problem" : isFiltered ? "filtered" : "nothing";
    if (this.problem) this.empty.querySelector(".of-problem").textContent = this.problem.words ?? this.problem.message;
  }

  /** Extends the window at the end that is near, and shortens it at the other one. */
  #reach(end) {
    if (!end.checkVisibility()) return;
    if (end === this.bottom) {
      if (this.to < this.ids.length) {
        this.to += STEP;
        if (this.to - this.from > MOST) this.#cutTop();
        this.#render();
      } else {
        if (this.#readsOn()) this.#load();
        return;
      }
    } else if (this.above.length) {
      this.from -= this.above.pop().count;
      this.to = Math.min(this.to, this.from + MOST);
      this.#render();
    }
    // The end may still be near.
    this.#watchAgain(end);
  }

  #watchAgain(end) {
    requestAnimationFrame(() => {
      if (!end.checkVisibility()) return;
      const box = end.getBoundingClientRect();
      const isNear = box.bottom > -900 && box.top < innerHeight + 900;
      const isOfUse = end === this.bottom ? this.to < this.ids.length || this.#readsOn() : this.above.length > 0;
      if (isNear && isOfUse) this.#reach(end);
    });
  }

  /** True if more can be read automatically. A text search is extended only on request. */
  #readsOn() {
    return this.isRead && !this.loading && !this.problem && !this.filter.text && this.jobs.hasMore(this.filter);
  }

  /** Removes whole rows at the top, so that the layout of the others stays. */
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
    const now = Date.now();
    for (const card of this.cards.values()) card.tick(now);
  }

  #activate(id) {
    if (!id || id === this.active && this.cards.get(id)?.title.tabIndex === 0) return;
    const tab = (card, index) => {
      if (!card) return;
      card.title.tabIndex = index;
      for (const button of card.buttons.children) button.tabIndex = index;
      card.play(index === 0 && card.element.contains(document.activeElement));
    };
    tab(this.cards.get(this.active), -1);
    this.active = id;
    tab(this.cards.get(id), 0);
  }

  /** The job that shortcuts act on. */
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
      const seen = cards.find((card) => card.getBoundingClientRect().bottom > 0);
      this.#activate(seen?.dataset.id);
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
  const asked = new URLSearchParams(location.search);
  const filter = Object.fromEntries(Object.keys(EVERYTHING).map((name) => [name, asked.get(name) ?? ""]));
  if (!/^\d+$/.test(filter.since)) filter.since = "";
  const statuses = [["", "All"], ["processing", "Running"], ["completed", "Completed"], ["partial", "Partial"], ["failed", "Failed"], ["canceled", "Canceled"]];
  const chips = statuses.map(([status, label]) => h("button", {
    type: "button", class: "chip", "aria-pressed": String(filter.status === status), onclick: () => set({ status }), dataset: { status },
  }, label));
  const model = h("select", { "aria-label": "Model", onchange: () => set({ model: model.value }) });
  const since = h("select", { "aria-label": "Since when", onchange: () => set({ since: since.value }) },
    [["", "Any time"], [String(DAY / 24), "Last hour"], [String(DAY), "Last day"], [String(7 * DAY), "Last week"]]
      .map(([value, label]) => h("option", { value, selected: filter.since === value }, label)));
  const text = h("input", {
    type: "search", placeholder: "Search prompts", "aria-label": "Search prompts", value: filter.text,
    oninput: () => set({ text: text.value }), "aria-keyshortcuts": "f",
  });
  fill(element, h("div", { class: "chips", role: "group", "aria-label": "State" }, chips), text, model, since);
  const offer = () => {
    const models = [...new Set([filter.model, ...jobs.models()])].filter(Boolean).slice(0, 40);
    if (models.join() === offer.last) return;
    offer.last = models.join();
    fill(model, h("option", { value: "" }, "Any model"), models.map((name) => h("option", { value: name, selected: name === filter.model }, name)));
  };
  jobs.addEventListener("job", soon(offer));
  offer();
  function set(change) {
    Object.assign(filter, change);
    chips.forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.status === filter.status)));
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
    history.replaceState(history.state, "", query.size ? `?${query}` : location.pathname);
    changed({ ...filter });
  }
  return { filter, text, clear: () => {
    text.value = model.value = since.value = "";
    set({ ...EVERYTHING });
  } };
}

/** Summary of the known jobs, such as `3 running, 1 partial`. */
export function sum(jobs) {
  const counts = jobs.counts();
  const underWay = ["waiting", "generating", "storing", "finishing"].reduce((total, state) => total + (counts[state] ?? 0), 0);
  const said = [
    underWay ? `${underWay} running` : null,
    counts.parked ? `${counts.parked} in doubt` : null,
    counts.partial ? `${counts.partial} partial` : null,
    counts.failed ? `${counts.failed} failed` : null,
  ].filter(Boolean);
  return said.length ? said.join(", ") : jobs.size ? `${count(jobs.size, "job")}, all is well` : "";
}
