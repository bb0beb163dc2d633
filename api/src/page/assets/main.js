// Entry point of the page: routing, the API key, keyboard shortcuts.

import { access, base, Feed, isKey, removeKey, storedKey, storeKey } from "./api.js";
import { Actions } from "./actions.js";
import { Composer } from "./composer.js";
import { announce, h, throttle, toast } from "./dom.js";
import { loadAgain } from "./frame.js";
import { JobPage } from "./job.js";
import { Jobs } from "./jobs.js";
import { filters, Sheet, summaryOf } from "./sheet.js";
import { persistent } from "./storage.js";
import { System } from "./system.js";
import { hasEnded, stateOf, STATES } from "./words.js";

const find = (id) => document.getElementById(id);

const jobs = new Jobs();
const feed = new Feed();
const actions = new Actions(jobs, { remix, open });
const composer = new Composer(find("composer"), { jobs, actions });
const sheet = new Sheet({
  list: find("sheet"), top: find("sheet-top"), bottom: find("sheet-bottom"), news: find("news"), empty: find("empty"),
}, { jobs, actions, open });
const jobPage = new JobPage(find("job"), { jobs, actions, home });
const filter = filters(find("filters"), { jobs, changed: (changed) => sheet.show(changed) });
new System({ line: find("system"), notice: find("notice"), banner: find("banner") }, feed);

/** Shows the contact sheet, or the job that the URL names. */
function route() {
  const id = /^j\/([0-9a-f-]{36})$/.exec(location.pathname.slice(base.pathname.length))?.[1];
  find("home").hidden = Boolean(id);
  find("job").hidden = !id;
  if (id) {
    const output = Number(new URLSearchParams(location.search).get("output") ?? 1);
    jobPage.show(id, Math.max(0, output - 1 || 0));
  } else {
    document.title = "Darkroom";
    jobPage.hide();
  }
}

/** Scroll position of the sheet while a job is open. */
let scrollPosition = 0;

/** Action for when the sheet is shown again: the browser goes back in its own time. */
let arrive = null;

function open(id, index = 0) {
  if (!find("home").hidden) scrollPosition = scrollY;
  // Counted from the sheet, if that is where the first job was opened.
  const isFromSheet = !find("home").hidden || history.state?.depth;
  const depth = isFromSheet ? (history.state?.depth ?? 0) + 1 : 0;
  history.pushState({ depth }, "", new URL(`j/${id}${index ? `?output=${index + 1}` : ""}`, base));
  route();
  scrollTo(0, 0);
  find("job").querySelector("h1")?.focus({ preventScroll: true });
}

/** Returns to the sheet, at its previous position, however many jobs were opened from it. */
function home(act = () => sheet.focus()) {
  arrive = act;
  const depth = history.state?.depth;
  if (depth) {
    history.go(-depth);
    return;
  }
  history.pushState(null, "", base);
  navigated();
}

function navigated() {
  const wasJob = find("home").hidden;
  const act = arrive ?? (() => sheet.focus());
  arrive = null;
  route();
  if (!wasJob || find("home").hidden) return;
  scrollTo(0, scrollPosition);
  act();
}

/** Fills the composer with a request. */
function remix(request) {
  if (find("home").hidden) {
    history.pushState(null, "", base);
    route();
  }
  composer.setRequest(request);
  scrollTo({ top: 0 });
}

addEventListener("popstate", navigated);
find("wordmark").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  if (find("home").hidden) home();
  else scrollTo({ top: 0, behavior: "smooth" });
});

// Announces the ends of jobs to screen readers, not their progress.
jobs.addEventListener("job", ({ detail: { before, job } }) => {
  if (before && job && !hasEnded(before) && hasEnded(job)) {
    announce(`${job.prompt ?? "Job"}: ${STATES[stateOf(job)].word}`);
  }
});
const showSummary = throttle(() => { find("summary").textContent = summaryOf(jobs); });
jobs.addEventListener("job", showSummary);
jobs.addEventListener("clear", showSummary);

feed.addEventListener("job", ({ detail }) => jobs.put(detail));
feed.addEventListener("up", loadAgain);
feed.addEventListener("reset", () => {
  jobs.clear();
  sheet.show(sheet.filter, { reload: true });
});

for (const example of find("empty").querySelectorAll("[data-prompt]")) {
  example.addEventListener("click", () => {
    composer.setRequest({ prompt: example.dataset.prompt });
  });
}
find("clear-filter").addEventListener("click", () => filter.clear());
find("retry-list").addEventListener("click", () => sheet.show(sheet.filter, { reload: true }));

const view = find("view");
function setView(isTable) {
  find("sheet").classList.toggle("table", isTable);
  view.textContent = isTable ? "Show as grid" : "Show as table";
}
view.addEventListener("click", () => {
  const isTable = !find("sheet").classList.contains("table");
  setView(isTable);
  persistent.set("darkroom.view", isTable ? "table" : "grid");
});
setView(persistent.get("darkroom.view") === "table");

// API key: requested when it is needed, and kept until the tab is closed unless the user chose to
// remember it.
const keyDialog = find("key-dialog");
access.addEventListener("unauthorized", () => {
  find("locked").hidden = false;
  if (keyDialog.open) return;
  find("key-problem").textContent = storedKey() ? "This key is not accepted." : "";
  keyDialog.showModal();
});
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = find("key").value.trim();
  if (!isKey(key)) {
    find("key-problem").textContent = "A key has letters, digits and punctuation, but no spaces.";
    return;
  }
  storeKey(key, find("key-remember").checked);
  find("key").value = "";
  keyDialog.close();
  start();
});
find("remove-key").addEventListener("click", () => {
  removeKey();
  toast("API key removed from this browser.");
  start();
});

/** Loads everything, with the current key. */
function start() {
  find("remove-key").hidden = storedKey() === null;
  find("locked").hidden = true;
  jobs.clear();
  sheet.show(filter.filter, { reload: true });
  feed.restart();
  route();
}

// Keyboard shortcuts. They are off while the user types.
const SHORTCUTS = {
  "/": () => composer.focus(),
  f: () => filter.text.focus(),
  g: () => view.click(),
  "?": () => find("help").showModal(),
};
const HOME = {
  j: () => sheet.move(1), k: () => sheet.move(-1),
  ArrowRight: () => sheet.move(1), ArrowLeft: () => sheet.move(-1), ArrowDown: () => sheet.move("down"), ArrowUp: () => sheet.move("up"),
  c: (job) => job && actions.cancel(job),
  r: (job) => job && hasEnded(job)
    && (["partial", "failed"].includes(job.status) ? actions.retry(job) : actions.regenerate(job)),
  Delete: (job) => job && actions.delete(job),
};
const JOB = {
  ArrowRight: () => jobPage.step(1), ArrowLeft: () => jobPage.step(-1), j: () => jobPage.step(1), k: () => jobPage.step(-1),
  d: () => jobPage.save(), Escape: () => home(),
  c: HOME.c, r: HOME.r, Delete: () => jobPage.delete(),
};

// Single-letter shortcuts can be turned off, as speech input may trigger them.
const letters = find("letters");
letters.checked = persistent.get("darkroom.letters") !== "off";
letters.addEventListener("change", () => persistent.set("darkroom.letters", letters.checked ? "on" : "off"));

addEventListener("keydown", (event) => {
  const isCompare = event.altKey && ["ArrowLeft", "ArrowRight"].includes(event.key)
    && find("home").hidden;
  if (isCompare && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    jobPage.compare(event.key === "ArrowRight" ? 1 : -1);
    return;
  }
  const isTyping = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && isTyping) event.target.blur();
  const isDialog = document.querySelector("dialog[open]") !== null;
  const isIgnored = event.ctrlKey || event.metaKey || event.altKey || isTyping || isDialog;
  if (isIgnored || event.target.matches("video, audio")) return;
  const isHome = !find("home").hidden;
  if (!letters.checked && event.key.length === 1) return;
  const act = (isHome ? HOME : JOB)[event.key] ?? SHORTCUTS[event.key];
  const isArrow = event.key.startsWith("Arrow");
  // Arrow keys scroll, unless the focus is in the sheet.
  if (!act || (isHome && isArrow && !find("sheet").contains(document.activeElement))) return;
  event.preventDefault();
  // A key that is held acts once on jobs.
  if (event.repeat && ["c", "r", "Delete"].includes(event.key)) return;
  if (!isHome && event.key in SHORTCUTS && event.key !== "?") home(act);
  else act(isHome ? sheet.activeJob : jobPage.job);
});

for (const button of document.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => find(button.dataset.opens).showModal());
}
for (const button of document.querySelectorAll("[data-closes]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

document.body.append(h("div", { id: "toasts" }));
start();
