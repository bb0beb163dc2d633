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

/** Factor by which promised times may be exceeded. It is 1 on an idle machine (DARKROOM_QUIET). */
const PATIENCE = process.env.DARKROOM_QUIET ? 1 : 4;

/** A number of jobs that is more than the page keeps in the DOM. */
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
 * Opens the page. After the test it checks that there was no script error and no violation of the
 * content security policy, and that requests went to the api and the store only.
 */
async function open(t, path = "/", options = {}, base = stack.base) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
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

/** Waits until the page follows the jobs: one created earlier may be seen seconds later. */
async function followed(page) {
  await page.locator(".card").first().waitFor();
  await until("stream of changes", () => page.seen.streams.size);
}

const card = (page, id) => page.locator(`.card[data-id="${id}"]`);

async function untilState(page, id, state, seconds = 60) {
  await page.locator(`.card[data-id="${id}"][data-state="${state}"]`).waitFor({ timeout: seconds * 1000 });
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const said = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join("\n  ")}`);
  assert.deepEqual(said, [], what);
}

test("a job is asked for, walked to, opened and left by keys alone", async (t) => {
  const page = await open(t);
  await page.locator(".card").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("a lighthouse, asked for by keys");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("2");
  await page.keyboard.press("Control+Enter");
  const asked = page.locator(".card", { hasText: "a lighthouse, asked for by keys" });
  await asked.and(page.locator("[data-state=completed]")).waitFor();
  // The number field held a 1, which Tab selected, so that typing replaced it.
  assert.equal(await asked.locator(".place").count(), 2);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  for (let step = 0; step < 5 && !(await asked.locator(".title").evaluate((title) => title === document.activeElement)); step += 1) {
    await page.keyboard.press("ArrowRight");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "a lighthouse, asked for by keys" }).waitFor();
  await page.locator(".which", { hasText: "1 of 2" }).waitFor();
  await page.keyboard.press("ArrowRight");
  await page.locator(".which", { hasText: "2 of 2" }).waitFor();
  await page.keyboard.press("Alt+ArrowLeft");
  await page.locator(".which", { hasText: "2 of 2, beside 1" }).waitFor();
  assert.equal(await page.locator(".main .frame").count(), 2);
  await page.keyboard.press("Escape");
  await page.locator("#home").waitFor();
  assert.ok(await asked.locator(".title").evaluate((title) => title === document.activeElement), "the focus is where it was");
});

test("every state is seen as it comes", async (t) => {
  const page = await open(t);
  await followed(page);
  await page.evaluate(() => {
    window.states = {};
    const note = (card) => card.matches?.(".card") && (window.states[card.dataset.id] ??= []).push(card.dataset.state);
    new MutationObserver((changes) => {
      for (const { target, addedNodes } of changes) [target, ...addedNodes].forEach(note);
    }).observe(document.getElementById("sheet"), { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] });
  });
  const ids = {
    completed: await stack.create("one that is completed", { dev: { latency_ms: 4000 } }),
    partial: await stack.create("one that is partial", { outputs: 3, dev: { missing: [1] } }),
    failed: await stack.create("one that fails", { dev: { fail: "out of memory at step 40" } }),
    parked: await stack.create("one in doubt", { dev: { drop_answer: true, hidden: true, webhooks: 0, latency_ms: 900_000 } }),
    canceled: await stack.create("one that is canceled", { outputs: 2, dev: { latency_ms: 900_000 } }),
  };
  const written = await stack.create("one that is written", { model: "acme/words", output_format: undefined, dev: { output: "Red light, patient hands" } });
  await untilState(page, ids.canceled, "generating");
  await card(page, ids.canceled).getByRole("button", { name: "Cancel" }).click();
  for (const [state, id] of Object.entries(ids)) await untilState(page, id, state);
  const states = await page.evaluate((id) => window.states[id], ids.completed);
  assert.ok(states.includes("generating"), `${states}`);
  assert.match(await card(page, ids.partial).innerText(), /2 of 3 stored/);
  await card(page, ids.partial).getByText("The provider removed it before it was stored").waitFor();
  await card(page, ids.failed).getByText("The model failed").waitFor();
  assert.equal(await card(page, ids.partial).getByRole("button", { name: "Make again" }).count(), 1);
  await card(page, ids.completed).scrollIntoViewIfNeeded();
  await card(page, ids.completed).locator(".frame.loaded").waitFor();
  await untilState(page, written, "completed");
  await card(page, written).scrollIntoViewIfNeeded();
  await card(page, written).locator(".text", { hasText: "Red light, patient hands" }).waitFor();
});

test("what is asked first is not done before", async (t) => {
  const id = await stack.create("one to delete", { outputs: 2 });
  const page = await open(t, `/j/${id}`);
  await page.locator(".state-line", { hasText: "completed" }).waitFor();
  await page.keyboard.press("Delete");
  await page.getByText("2 stored outputs are removed").waitFor();
  await page.keyboard.press("Enter");
  await page.locator("dialog.ask").waitFor({ state: "detached" });
  assert.equal((await stack.call("GET", `/v1/jobs/${id}`)).status, "completed");
  await page.keyboard.press("Delete");
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.locator("#home").waitFor();
  await until("job that is gone", async () => (await fetch(`${stack.base}/v1/jobs/${id}`)).status !== 200);
});

test("what costs says how much before it is done", async (t) => {
  const id = await stack.create("one to make again", { outputs: 3, dev: { missing: [1] } });
  const page = await open(t);
  await untilState(page, id, "partial");
  await card(page, id).getByRole("button", { name: "Make again" }).click();
  await page.getByText("The provider makes 3 outputs again and charges for it.").waitFor();
  await page.getByRole("button", { name: "Keep it as it is" }).click();
  assert.equal((await stack.call("GET", `/v1/jobs/${id}`)).retry_count, 0);
  await card(page, id).getByRole("button", { name: "Make again" }).click();
  await page.getByRole("button", { name: "Make it again, and pay" }).click();
  await until("job that was taken up again", async () => (await stack.call("GET", `/v1/jobs/${id}`)).retry_count === 1);
});

test("a key is asked for once, stays in the tab, and is in no address", async (t) => {
  const key = "dk_of_the_page_tests";
  const hash = createHash("sha256").update(key).digest("hex");
  const base = await stack.another({ DARKROOM_API_KEYS: `acme:${hash}` });
  const page = await open(t, "/", {}, base);
  const dialog = page.getByRole("dialog", { name: "Your API key" });
  const enter = async (text) => {
    await dialog.waitFor();
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
  };
  await enter("dk_of_somebody_else");
  await page.getByText("This key is not accepted").waitFor();
  await accessible(page, "the question for a key");
  await enter(key);
  await page.getByText("Nothing has been made here yet").waitFor();
  await page.getByRole("button", { name: "a lighthouse in fog" }).click();
  await page.keyboard.press("Control+Enter");
  await page.locator(".card[data-state=completed]").waitFor();
  await page.reload();
  await page.locator(".card[data-state=completed]").waitFor();
  assert.equal(await dialog.count(), 0);
  assert.equal(await page.evaluate(() => localStorage.getItem("darkroom.key")), null);
  for (const url of page.seen.requests) assert.ok(!url.href.includes(key), url.href);
  await page.getByRole("button", { name: "Forget the key" }).click();
  await dialog.waitFor();
  assert.equal(await page.locator(".card").count(), 0, "what is somebody's is not left for others");
});

test("prompts and errors that are full of markup stay text", async (t) => {
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

test("what the api refuses is marked where it is wrong", async (t) => {
  const page = await open(t);
  await page.fill("#prompt", "a fox");
  await page.fill("#model", "no slash");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator(".problem", { hasText: "owner/name" }).waitFor();
  assert.equal(await page.locator("#model").getAttribute("aria-invalid"), "true");
  await page.getByText("More options").click();
  await page.fill("#inputs", "{\"steps\": ");
  await page.getByText("This is no JSON yet").waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  test(`everybody can use it: ${colorScheme}`, async (t) => {
    const options = { colorScheme, reducedMotion: "reduce" };
    const page = await open(t, "/", options);
    await page.locator(".card").first().waitFor();
    await page.locator(".card[data-state=failed]").first().waitFor();
    await accessible(page, `home, ${colorScheme}`);
    const id = (await stack.call("GET", "/v1/jobs?status=partial")).jobs[0].job_id;
    const job = await open(t, `/j/${id}`, options);
    await job.locator(".state-line", { hasText: "partial" }).waitFor();
    await accessible(job, `job, ${colorScheme}`);
    await job.keyboard.press("?");
    await accessible(job, `keys, ${colorScheme}`);
  });
}

test("it fits a phone, and twice the size", async (t) => {
  for (const viewport of [{ width: 320, height: 640 }, { width: 640, height: 450 }]) {
    const id = (await stack.call("GET", "/v1/jobs?status=partial")).jobs[0].job_id;
    for (const path of ["/", `/j/${id}`]) {
      const page = await open(t, path, { viewport });
      await page.locator(path === "/" ? ".card" : ".state-line").first().waitFor();
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(beyond <= 0, `${path} is ${beyond} pixels too wide for ${viewport.width}`);
    }
  }
});

test("scripts and styles are few bytes", async (t) => {
  const page = await open(t);
  await page.locator(".card").first().waitFor();
  const bytes = await page.evaluate(() => performance.getEntriesByType("resource")
    .filter(({ name }) => /assets.*\.(js|css)$/.test(name)).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0));
  assert.ok(bytes > 10_000 && bytes <= 60 * 1024, `${bytes} bytes`);
});

test("a worker that is killed is missed at once", async (t) => {
  const page = await open(t);
  await page.locator("#system", { hasText: "all is well" }).waitFor();
  const begin = Date.now();
  const restart = stack.kill("worker");
  await page.locator("#notice:not([hidden])").waitFor();
  const took = Date.now() - begin;
  assert.ok(took <= 5000 * PATIENCE, `it took ${took} ms`);
  assert.match(await page.locator("#notice").innerText(), /accepted and safe/);
  const id = await stack.create("one that waits for a worker");
  await untilState(page, id, "waiting");
  restart();
  await untilState(page, id, "completed");
  await page.locator("#notice").waitFor({ state: "hidden" });
});

test("a job that nobody can tell of is in doubt, and not called failed", async (t) => {
  stack.kill("worker", { SUBMISSION_SEARCH_SECONDS: "1" })();
  const id = await stack.create("one nobody heard of", { dev: { drop_answer: true, hidden: true, webhooks: 0, latency_ms: 900_000 } });
  await until("end of the search", async () => (await stack.call("GET", `/v1/jobs/${id}`)).status === "failed");
  const page = await open(t, `/j/${id}`);
  const job = page.locator("#job");
  await job.locator(".frame[data-state=parked]", { hasText: "? In doubt" }).first().waitFor();
  await job.getByRole("button", { name: "Look again, free" }).waitFor();
  assert.doesNotMatch(await job.locator(".explain").innerText(), /being looked up/);
});

test("an api that is killed is caught up with, by one stream", async (t) => {
  const page = await open(t);
  await followed(page);
  const id = await stack.create("one that goes on without the api", { dev: { latency_ms: 8000 } });
  await untilState(page, id, "generating");
  const cards = await page.locator(".card").count();
  const restart = stack.kill("api");
  await page.locator("#banner:not([hidden])").waitFor();
  assert.equal(await page.locator(".card").count(), cards, "nothing disappears");
  restart();
  await untilState(page, id, "completed");
  await page.locator("#banner").waitFor({ state: "hidden" });
  assert.equal(page.seen.streams.size, 1);
});

test("of many jobs, only the cards that can be seen are in the page", async (t) => {
  const numbers = Array.from({ length: MANY }, (_, number) => number);
  const next = numbers.values();
  const create = async () => {
    for (const number of next) await stack.create(`number ${number}`, { dev: { latency_ms: 3_600_000 } });
  };
  await Promise.all(Array.from({ length: 8 }, create));
  const page = await open(t);
  await page.locator(".card").first().waitFor();
  // All cards with pictures are far below the visible ones.
  await page.locator("#sum", { hasText: `${MANY} running` }).waitFor();
  const early = page.seen.requests.filter((url) => url.origin === stack.store).length;
  assert.ok(early <= 12, `${early} pictures were loaded that nobody sees`);
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
