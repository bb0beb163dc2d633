// Tests of the web page in a real browser against the real system: `npm test` in this directory,
// after `cargo build`.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { Stack, until } from "./stack.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Factor by which times may exceed their limits: 1 on an idle machine (DARKROOM_QUIET). */
const TOLERANCE = process.env.DARKROOM_QUIET ? 1 : 4;

/** Number of jobs that exceeds what the page keeps in the DOM. */
const MANY = Number(process.env.DARKROOM_PAGE_JOBS ?? 400);

let stack;
let browser;

before(async () => {
  stack = await Stack.start();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  await stack?.stop();
});

/**
 * Opens the page; `init` runs in it before its own scripts. After the test it checks that there was
 * no script error and no violation of the content security policy, and that requests went to the
 * api and the store only.
 */
async function open(t, path = "/", { init, ...options } = {}, base = stack.base) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  if (init) await context.addInitScript(init);
  const page = await context.newPage();
  page.seen = { problems: [], origins: new Set(), streams: new Set(), requests: [] };
  page.on("pageerror", (error) => page.seen.problems.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy|Trusted/i.test(message.text())) page.seen.problems.push(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http")) page.seen.origins.add(url.origin);
    page.seen.requests.push(url);
    if (/\/(undefined|null|NaN)\b/.test(url.pathname)) page.seen.problems.push(`request: ${url}`);
  });
  page.on("response", (response) => {
    if (new URL(response.url()).pathname === "/v1/events" && response.ok()) page.seen.streams.add(response.request());
  });
  page.on("requestfinished", (request) => page.seen.streams.delete(request));
  page.on("requestfailed", (request) => page.seen.streams.delete(request));
  await page.goto(base + path);
  t.after(async () => {
    assert.deepEqual(page.seen.problems, []);
    for (const origin of page.seen.origins) assert.ok([base, stack.store].includes(origin), origin);
    await context.close();
  });
  return page;
}

/** Waits until the page receives the stream, so that it shows a new job at once. */
async function connected(page) {
  await page.locator(".card").first().waitFor();
  await until("stream of changes", () => page.seen.streams.size);
}

const card = (page, id) => page.locator(`.card[data-id="${id}"]`);

/** Waits until the card of a job shows a state. */
async function untilState(page, id, state, seconds = 60) {
  await page.locator(`.card[data-id="${id}"][data-state="${state}"]`).waitFor({ timeout: seconds * 1000 });
}

/** Delays the list by two seconds; runs in the page. */
function delayList() {
  const { fetch } = window;
  window.fetch = async (url, options) => {
    if (String(url).includes("/v1/jobs?")) await new Promise((resolve) => setTimeout(resolve, 2000));
    return fetch(url, options);
  };
}

/** Checks that axe finds no violation of accessibility rules. */
async function assertAccessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => {
    const elements = nodes.map((node) => node.html.slice(0, 160));
    return `${id}: ${elements.join("\n  ")}`;
  });
  assert.deepEqual(found, [], what);
}

test("a job is created, selected, opened and closed with the keyboard alone", async (t) => {
  const page = await open(t);
  await page.locator(".card").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("a lighthouse, created with keys");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("2");
  await page.keyboard.press("Control+Enter");
  const created = page.locator(".card", { hasText: "a lighthouse, created with keys" });
  await created.and(page.locator("[data-state=completed]")).waitFor();
  // The number field held a 1, which Tab selected, so that typing replaced it.
  assert.equal(await created.locator(".place").count(), 2);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  const title = created.locator(".title");
  const isFocused = () => title.evaluate((element) => element === document.activeElement);
  for (let step = 0; step < 5 && !(await isFocused()); step += 1) {
    await page.keyboard.press("ArrowRight");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "a lighthouse, created with keys" }).waitFor();
  await page.locator(".which", { hasText: "1 of 2" }).waitFor();
  await page.keyboard.press("ArrowRight");
  await page.locator(".which", { hasText: "2 of 2" }).waitFor();
  await page.keyboard.press("Alt+ArrowLeft");
  await page.locator(".which", { hasText: "2 of 2, compared with 1" }).waitFor();
  assert.equal(await page.locator(".main .frame").count(), 2);
  await page.keyboard.press("Escape");
  await page.locator("#home").waitFor();
  assert.ok(await isFocused(), "the card has no focus");
});

test("every state is shown when it is reached", async (t) => {
  // High enough for all of its cards, as cards far from the viewport are not in the document.
  const page = await open(t, "/", { viewport: { width: 1280, height: 2000 } });
  await connected(page);
  await page.evaluate(() => {
    window.states = {};
    const record = (card) => {
      if (card.matches?.(".card")) (window.states[card.dataset.id] ??= []).push(card.dataset.state);
    };
    new MutationObserver((changes) => {
      for (const { target, addedNodes } of changes) [target, ...addedNodes].forEach(record);
    }).observe(document.getElementById("sheet"), { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] });
  });
  const ids = {
    completed: await stack.create("one that is completed", { dev: { latency_ms: 4000 } }),
    partial: await stack.create("one that is partial", { outputs: 3, dev: { missing: [1] } }),
    failed: await stack.create("one that fails", { dev: { fail: "out of memory at step 40" } }),
    in_doubt: await stack.create("one in doubt", {
      dev: { drop_answer: true, hidden: true, webhooks: 0, latency_ms: 900_000 },
    }),
    canceled: await stack.create("one that is canceled", { outputs: 2, dev: { latency_ms: 900_000 } }),
  };
  const text = await stack.create("one with a text", {
    model: "acme/words", output_format: undefined, dev: { output: "The text of the output" },
  });
  await untilState(page, ids.canceled, "generating");
  await card(page, ids.canceled).getByRole("button", { name: "Cancel" }).click();
  // New jobs are held back while the pointer is on the cards.
  await page.mouse.move(0, 0);
  for (const [state, id] of Object.entries(ids)) await untilState(page, id, state);
  const states = await page.evaluate((id) => window.states[id], ids.completed);
  assert.ok(states.includes("generating"), `${states}`);
  assert.match(await card(page, ids.partial).innerText(), /2 of 3 stored/);
  await card(page, ids.partial).getByText("The provider removed it before it was stored").waitFor();
  await card(page, ids.failed).getByText("The model failed").waitFor();
  const regenerate = card(page, ids.partial).getByRole("button", { name: "Regenerate" });
  assert.equal(await regenerate.count(), 1);
  await card(page, ids.completed).scrollIntoViewIfNeeded();
  await card(page, ids.completed).locator(".frame.loaded").waitFor();
  await untilState(page, text, "completed");
  await card(page, text).scrollIntoViewIfNeeded();
  await card(page, text).locator(".text", { hasText: "The text of the output" }).waitFor();
  // The list has less of a job than the stream, which does not answer here.
  await page.route("**/v1/events", () => {});
  await page.reload();
  await card(page, ids.partial).getByText("✕ Not stored", { exact: true }).waitFor();
});

test("a job is deleted only after a confirmation", async (t) => {
  const id = await stack.create("one to delete", { outputs: 2 });
  const page = await open(t, `/j/${id}`);
  await page.locator(".state-line", { hasText: "completed" }).waitFor();
  await page.keyboard.press("Delete");
  await page.getByText("2 stored outputs are deleted").waitFor();
  await page.keyboard.press("Enter");
  await page.locator("dialog.ask").waitFor({ state: "detached" });
  assert.equal((await stack.call("GET", `/v1/jobs/${id}`)).status, "completed");
  await page.keyboard.press("Delete");
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.locator("#home").waitFor();
  const isDeleted = async () => (await fetch(`${stack.base}/v1/jobs/${id}`)).status !== 200;
  await until("deletion of the job", isDeleted);
});

test("a paid retry states the number of outputs and asks for confirmation", async (t) => {
  const id = await stack.create("one to regenerate", { outputs: 3, dev: { missing: [1] } });
  const page = await open(t);
  await untilState(page, id, "partial");
  await card(page, id).getByRole("button", { name: "Regenerate" }).click();
  await page.getByText("The provider generates 3 outputs again and charges for it.").waitFor();
  await page.getByRole("button", { name: "Go back" }).click();
  assert.equal((await stack.call("GET", `/v1/jobs/${id}`)).retry_count, 0);
  await card(page, id).getByRole("button", { name: "Regenerate" }).click();
  await page.getByRole("button", { name: "Regenerate and pay" }).click();
  const retryCount = async () => (await stack.call("GET", `/v1/jobs/${id}`)).retry_count;
  await until("retried job", async () => await retryCount() === 1);
});

test("a paid retry whose answer is lost is repeated with its key", async (t) => {
  const id = await stack.create("one whose retry is lost", { outputs: 2, dev: { missing: [1] } });
  const page = await open(t);
  await untilState(page, id, "partial");
  const keys = [];
  await page.route("**/retry", async (route) => {
    keys.push(route.request().headers()["idempotency-key"]);
    if (keys.length > 1) return route.continue();
    await route.fetch();
    return route.abort();
  });
  await card(page, id).getByRole("button", { name: "Regenerate" }).click();
  await page.getByRole("button", { name: "Regenerate and pay" }).click();
  await page.locator(".toast", { hasText: "Regenerating the outputs." }).waitFor();
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.equal((await stack.call("GET", `/v1/jobs/${id}`)).retry_count, 1);
});

/** Fills the form, and returns its button. */
async function fillForm(page, prompt) {
  await page.fill("#prompt", prompt);
  return page.getByRole("button", { name: "Run", exact: true });
}

async function untilAccepted(page) {
  await page.locator(".toast", { hasText: "Job accepted." }).last().waitFor();
}

/** Returns the ids of the jobs with a prompt. */
async function idsOf(prompt) {
  const { jobs } = await stack.call("GET", "/v1/jobs?expand=media&limit=50");
  return jobs.filter((job) => job.prompt === prompt).map((job) => job.job_id);
}

test("a double click, or a key that is held, creates one job", async (t) => {
  const page = await open(t);
  let accepted = 0;
  page.on("response", (response) => {
    if (response.request().method() === "POST") accepted += 1;
  });
  const run = await fillForm(page, "one that is clicked twice");
  await run.click();
  await until("first job", () => accepted === 1);
  await untilAccepted(page);
  const box = await run.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const assertIdle = async () => assert.equal(await run.getAttribute("aria-disabled"), "false");
  await page.mouse.down({ clickCount: 2 });
  await page.mouse.up({ clickCount: 2 });
  await assertIdle();
  await page.focus("#prompt");
  await page.keyboard.down("Control");
  await page.keyboard.down("Enter");
  await until("second job", () => accepted === 2);
  await page.locator(".run[aria-disabled=false]").waitFor();
  await page.keyboard.down("Enter");
  await assertIdle();
  await page.keyboard.up("Enter");
  await page.keyboard.press("Enter");
  await until("third job", () => accepted === 3);
  await page.keyboard.up("Control");
  await until("jobs in the list", async () => (await idsOf("one that is clicked twice")).length >= 3);
  assert.equal((await idsOf("one that is clicked twice")).length, 3);
  assert.equal(accepted, 3);
});

test("a paid job whose answer is an error is requested again with its key", async (t) => {
  const id = await stack.create("one whose answer is an error");
  const page = await open(t, `/j/${id}`);
  const keys = [];
  await page.route("**/v1/jobs", async (route) => {
    keys.push(route.request().headers()["idempotency-key"]);
    await route.fetch();
    if (keys.length === 1) return route.fulfill({ status: 503, contentType: "text/plain", body: "" });
    return route.continue();
  });
  for (const answer of ["HTTP status 503", "New job created."]) {
    await page.getByRole("button", { name: "Regenerate" }).click();
    await page.getByRole("button", { name: "Regenerate and pay" }).click();
    await page.locator(".toast", { hasText: answer }).waitFor();
  }
  assert.equal(keys[0], keys[1]);
  await until("job in the list", async () => (await idsOf("one whose answer is an error")).length >= 2);
  assert.equal((await idsOf("one whose answer is an error")).length, 2);
});

test("an answer that cannot be read creates no second job", async (t) => {
  const page = await open(t);
  await page.route("**/v1/jobs", async (route) => {
    await route.fetch();
    await route.fulfill({ contentType: "text/html", body: "<p>Sign in to this network</p>" });
  }, { times: 1 });
  const run = await fillForm(page, "one whose answer is another's");
  await run.click();
  await untilAccepted(page);
  const created = async () => (await idsOf("one whose answer is another's")).length;
  await until("job in the list", created);
  assert.equal(await created(), 1);
});

test("a request is sent anew after its job was deleted", async (t) => {
  const page = await open(t);
  const prompt = "one that is deleted before its answer";
  await page.route("**/v1/jobs", async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 4 });
  const run = await fillForm(page, prompt);
  await run.click();
  await page.locator(".problem", { hasText: "does not respond" }).waitFor();
  const [id] = await until("job in the list", async () => (await idsOf(prompt)).length && idsOf(prompt));
  await stack.call("DELETE", `/v1/jobs/${id}`);
  await until("deletion", async () => (await fetch(`${stack.base}/v1/jobs/${id}`)).status !== 200);
  await run.click();
  await page.locator(".problem:not([hidden])", { hasText: /deleted/i }).waitFor();
  await page.keyboard.press("Control+Enter");
  await untilAccepted(page);
});

for (const [what, init] of Object.entries({
  refuses: () => {
    for (const name of ["localStorage", "sessionStorage"]) {
      Object.defineProperty(window, name, {
        get() { throw new DOMException("denied", "SecurityError"); },
      });
    }
  },
  "has no room for": () => {
    Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
  },
})) {
  test(`the page works in a browser that ${what} storage`, async (t) => {
    const page = await open(t, "/", { init });
    await page.locator(".card").first().waitFor();
    const run = await fillForm(page, `one where the browser ${what} storage`);
    await run.click();
    await untilAccepted(page);
    assert.equal(await page.locator(".problem:not([hidden])").count(), 0);
    await page.getByRole("button", { name: "Show as table" }).click();
    await page.locator(".sheet.table").waitFor();
  });
}

test("times are those of the api, whatever the clock of the computer", async (t) => {
  const id = await stack.create("one that has just ended");
  const page = await open(t, "/", {
    init: () => {
      const Real = Date;
      const now = () => Real.now() + 7_200_000;
      window.Date = class extends Real {
        constructor(...parts) {
          super(...(parts.length ? parts : [now()]));
        }

        static now() { return now(); }
      };
    },
  });
  await untilState(page, id, "completed");
  await card(page, id).locator(".time", { hasText: "just now" }).waitFor();
});

test("what is typed after a shortcut goes to its field", async (t) => {
  const id = await stack.create("one that is not to be canceled", { dev: { latency_ms: 900_000 } });
  const page = await open(t);
  await untilState(page, id, "generating");
  await card(page, id).locator(".title").click();
  await page.getByRole("heading", { name: "one that is not to be canceled" }).waitFor();
  await page.keyboard.press("/");
  await page.locator("#prompt:focus").waitFor();
  await page.keyboard.type("cat");
  assert.equal(await page.inputValue("#prompt"), "cat");
  assert.equal((await stack.call("GET", `/v1/jobs/${id}`)).status, "processing");
  await stack.call("POST", `/v1/jobs/${id}/cancel`);
});

test("Escape leads from a job that another one led to back to all jobs", async (t) => {
  const id = await stack.create("one that is made twice");
  const page = await open(t);
  await untilState(page, id, "completed");
  await card(page, id).locator(".title").click();
  await page.getByRole("button", { name: "Regenerate" }).click();
  await page.getByRole("button", { name: "Regenerate and pay" }).click();
  await page.waitForURL((url) => url.pathname.startsWith("/j/") && !url.pathname.includes(id));
  await page.locator(".state-line").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#home").waitFor();
  const direct = await open(t, `/j/${id}`);
  await direct.getByRole("button", { name: "Regenerate" }).click();
  await direct.getByRole("button", { name: "Regenerate and pay" }).click();
  await direct.waitForURL((url) => url.pathname.startsWith("/j/") && !url.pathname.includes(id));
  await direct.locator(".state-line").waitFor();
  await direct.keyboard.press("Escape");
  await direct.locator("#home").waitFor();
});

test("a page in the background has no stream", async (t) => {
  const page = await open(t, "/", {
    init: () => {
      window.isHidden = true;
      Object.defineProperty(document, "hidden", { get: () => window.isHidden });
    },
  });
  await page.locator(".card").first().waitFor();
  assert.ok(!page.seen.requests.some(({ pathname }) => pathname === "/v1/events"));
  await page.evaluate(() => {
    window.isHidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await connected(page);
});

test("a preview whose URL has expired is replaced by a preview", async (t) => {
  const page = await open(t);
  await connected(page);
  const id = await stack.create("one with a preview", { dev: { latency_ms: 3000 } });
  const isPreview = (url) => url.pathname.includes(`${id}/previews/`);
  await page.route(isPreview, (route) => route.abort(), { times: 1 });
  await card(page, id).locator(".frame.loaded").waitFor();
  const loaded = page.seen.requests.filter(({ origin, pathname }) => origin === stack.store && pathname.includes(id));
  assert.equal(loaded.length, 2);
  assert.ok(loaded.every(isPreview), `${loaded}`);
});

test("outputs beyond the first hundred are shown", async (t) => {
  const id = await stack.create("one with many outputs", { dev: { outputs: 120, bytes: 1024 } });
  await until("end", async () => (await stack.call("GET", `/v1/jobs/${id}`)).status === "completed");
  const page = await open(t, `/j/${id}?output=110`);
  await page.locator(".which", { hasText: "110 of 120" }).waitFor();
});

test("a button that changes the view keeps the focus", async (t) => {
  const id = await stack.create("one with two outputs", { outputs: 2 });
  const page = await open(t, `/j/${id}`);
  await page.locator(".state-line", { hasText: "completed" }).waitFor();
  await page.getByRole("button", { name: "Compare" }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".which", { hasText: "compared with" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Compare");
});

test("the filter works where the browser refuses another URL", async (t) => {
  const page = await open(t, "/", {
    init: () => {
      history.replaceState = () => { throw new DOMException("too often", "SecurityError"); };
    },
  });
  await page.locator(".card").first().waitFor();
  await page.getByRole("searchbox").fill("nothing has this prompt");
  await page.locator(".card").first().waitFor({ state: "detached" });
});

test("a key is requested once, kept in the tab, and not part of a URL", async (t) => {
  const key = "dk_of_the_page_tests";
  const hash = createHash("sha256").update(key).digest("hex");
  const base = await stack.startApi({ DARKROOM_API_KEYS: `acme:${hash}` });
  const page = await open(t, "/", {}, base);
  const dialog = page.getByRole("dialog", { name: "Enter the API key" });
  const enter = async (text) => {
    await dialog.waitFor();
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
  };
  await enter("dk_of_somebody_else");
  await page.getByText("This key is not accepted").waitFor();
  await assertAccessible(page, "the dialog for the key");
  await enter(key);
  await page.getByText("No jobs yet").waitFor();
  await page.getByRole("button", { name: "a lighthouse in fog" }).click();
  await page.keyboard.press("Control+Enter");
  await page.locator(".card[data-state=completed]").waitFor();
  await page.reload();
  await page.locator(".card[data-state=completed]").waitFor();
  assert.equal(await dialog.count(), 0);
  assert.equal(await page.evaluate(() => localStorage.getItem("darkroom.key")), null);
  for (const url of page.seen.requests) assert.ok(!url.href.includes(key), url.href);
  await page.getByRole("button", { name: "Remove key" }).click();
  await dialog.waitFor();
  assert.equal(await page.locator(".card").count(), 0, "jobs are shown without a key");
});

test("markup in prompts and errors is shown as text", async (t) => {
  const markup = "<img src=x onerror=\"window.ran = 1\"><script>window.ran = 1</script>";
  const id = await stack.create(markup, { dev: { fail: `<b>${markup}</b>` } });
  const page = await open(t);
  await untilState(page, id, "failed");
  await card(page, id).locator(".title").click();
  await page.getByRole("heading", { name: markup }).waitFor();
  assert.match(await page.locator("#job").innerText(), /<b><img src=x/);
  assert.equal(await page.evaluate(() => window.ran), undefined);
  assert.equal(await page.locator("img[src=x]").count(), 0);
});

test("fields that the api rejects are marked", async (t) => {
  const page = await open(t);
  await page.fill("#prompt", "a fox");
  await page.fill("#model", "no slash");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator(".problem", { hasText: "owner/name" }).waitFor();
  assert.equal(await page.locator("#model").getAttribute("aria-invalid"), "true");
  await page.getByText("More options").click();
  await page.fill("#inputs", "{\"steps\": ");
  await page.getByText("Invalid JSON").waitFor();
});

test("a request with a number that the browser rounds is not sent", async (t) => {
  const page = await open(t);
  await page.fill("#prompt", "a number that is too large");
  await page.getByText("More options").click();
  await page.fill("#inputs", "{\"steps\": 9007199254740993}");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator(".problem", { hasText: "browsers round" }).waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  test(`the page is accessible: ${colorScheme}`, async (t) => {
    const options = { colorScheme, reducedMotion: "reduce" };
    const page = await open(t, "/", options);
    await page.locator(".card").first().waitFor();
    await page.locator(".card[data-state=failed]").first().waitFor();
    await assertAccessible(page, `home, ${colorScheme}`);
    const id = (await stack.call("GET", "/v1/jobs?status=partial")).jobs[0].job_id;
    const job = await open(t, `/j/${id}`, options);
    await job.locator(".state-line", { hasText: "partial" }).waitFor();
    await assertAccessible(job, `job, ${colorScheme}`);
    await job.keyboard.press("?");
    await assertAccessible(job, `shortcuts, ${colorScheme}`);
  });
}

test("the page fits a phone, and twice the text size", async (t) => {
  for (const viewport of [{ width: 320, height: 640 }, { width: 640, height: 450 }]) {
    const id = (await stack.call("GET", "/v1/jobs?status=partial")).jobs[0].job_id;
    for (const path of ["/", `/j/${id}`]) {
      const page = await open(t, path, { viewport });
      await page.locator(path === "/" ? ".card" : ".state-line").first().waitFor();
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(excess <= 0, `${path} is ${excess} pixels too wide for ${viewport.width}`);
    }
  }
});

test("scripts and styles are small", async (t) => {
  const page = await open(t);
  await page.locator(".card").first().waitFor();
  const bytes = await page.evaluate(() => performance.getEntriesByType("resource")
    .filter(({ name }) => /assets.*\.(js|css)$/.test(name)).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0));
  assert.ok(bytes > 10_000 && bytes <= 60 * 1024, `${bytes} bytes`);
});

test("a missing worker is shown within seconds", async (t) => {
  const page = await open(t);
  await page.locator("#system", { hasText: "ready" }).waitFor();
  const start = Date.now();
  const restart = stack.kill("worker");
  await page.locator("#notice:not([hidden])").waitFor();
  const took = Date.now() - start;
  assert.ok(took <= 5000 * TOLERANCE, `it took ${took} ms`);
  assert.match(await page.locator("#notice").innerText(), /Jobs are accepted/);
  const id = await stack.create("one without a worker");
  await untilState(page, id, "queued");
  restart();
  await untilState(page, id, "completed");
  await page.locator("#notice").waitFor({ state: "hidden" });
});

test("a job whose submission is unknown is shown as in doubt, not as failed", async (t) => {
  stack.kill("worker", { SUBMISSION_SEARCH_SECONDS: "1" })();
  const id = await stack.create("one that stays in doubt", {
    dev: { drop_answer: true, hidden: true, webhooks: 0, latency_ms: 900_000 },
  });
  await until("end of the search", async () => (await stack.call("GET", `/v1/jobs/${id}`)).status === "failed");
  const page = await open(t, `/j/${id}`);
  const job = page.locator("#job");
  await job.locator(".frame[data-state=in_doubt]", { hasText: "? In doubt" }).first().waitFor();
  await job.getByRole("button", { name: "Search again, free" }).waitFor();
  assert.doesNotMatch(await job.locator(".explain").innerText(), /Searching for the job/);
});

test("the page reconnects to a restarted api, with one stream", async (t) => {
  const page = await open(t);
  await connected(page);
  const id = await stack.create("one that runs without the api", { dev: { latency_ms: 8000 } });
  await untilState(page, id, "generating");
  const isOfPicture = (url) => url.origin === stack.store || url.pathname.endsWith("/url");
  await page.route(isOfPicture, (route) => route.abort());
  const picture = await stack.create("one whose picture cannot be loaded");
  await card(page, picture).getByText("cannot be displayed").waitFor();
  await page.unroute(isOfPicture);
  const cards = await page.locator(".card").count();
  const restart = stack.kill("api");
  await page.locator("#banner:not([hidden])").waitFor();
  assert.equal(await page.locator(".card").count(), cards, "a card is missing");
  restart();
  await untilState(page, id, "completed");
  await page.locator("#banner").waitFor({ state: "hidden" });
  await card(page, picture).locator(".frame.loaded").waitFor();
  assert.equal(page.seen.streams.size, 1);
});

test("of many jobs, only the cards near the viewport are in the document", async (t) => {
  const numbers = Array.from({ length: MANY }, (_, number) => number);
  const next = numbers.values();
  const created = new Set();
  const create = async () => {
    for (const number of next) created.add(await stack.create(`number ${number}`, { dev: { latency_ms: 3_600_000 } }));
  };
  await Promise.all(Array.from({ length: 8 }, create));
  // A list that lags behind would begin with older jobs, whose pictures would be visible.
  await until("list that begins with these jobs", async () => {
    const { jobs } = await stack.call("GET", "/v1/jobs?limit=50");
    return jobs.every((job) => created.has(job.job_id));
  });
  // The stream, which begins with jobs that have ended, arrives before the list.
  const page = await open(t, "/", { init: delayList });
  await page.locator(".card").first().waitFor();
  // All cards with pictures are far below the visible ones.
  await page.locator("#summary", { hasText: `${MANY} running` }).waitFor();
  const early = page.seen.requests.filter((url) => url.origin === stack.store).length;
  assert.ok(early <= 12, `${early} invisible pictures were loaded`);
  const most = async () => Math.max(await page.locator(".card").count(), seen);
  let seen = 0;
  await until("end of the sheet", async () => {
    seen = await most();
    await page.mouse.wheel(0, 6000);
    return page.locator(".card", { hasText: "hills at dusk" }).count();
  }, 120);
  assert.ok(seen <= 300, `${seen} cards`);
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await page.locator(".frame.loaded").first().waitFor();
  await until("beginning of the sheet", async () => {
    await page.mouse.wheel(0, -6000);
    return page.evaluate(() => scrollY === 0);
  }, 60);
  await page.locator(".card").first().waitFor();
  assert.ok(await page.locator(".card").count() <= 300);
});
