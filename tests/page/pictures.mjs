// Takes the screenshots of the README from the running system: `npm run pictures` in this
// directory, after `cargo build`.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Stack, until } from "./stack.mjs";

/** Maximum size of a screenshot, in bytes. */
const MAX_SIZE = 300 * 1024;

/** Prompts and options of the jobs. */
const JOBS = [
  ["hills at dusk, the first stars", { outputs: 4 }],
  ["a lighthouse in fog, long exposure", { outputs: 1 }],
  ["a red fox in the snow, film grain", { outputs: 2 }],
  ["the sea from a train at night", { outputs: 3, dev: { missing: [2] } }],
  ["a harbor at night", { outputs: 8 }],
  ["a portrait in studio light", { dev: { fail: "the prompt was flagged as sensitive" } }],
  ["mountains in one color", { outputs: 1 }],
  ["fog over the bay, time lapse", { outputs: 4 }],
];

const stack = await Stack.start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const ids = [];
  for (const [prompt, request] of JOBS) {
    const id = await stack.create(prompt, { ...request, dev: { latency_ms: 1200, ...request.dev } });
    ids.push(id);
    await until(`end of ${prompt}`, async () => !["pending", "processing"].includes((await stack.call("GET", `/v1/jobs/${id}`)).status));
  }
  await stack.create("a cathedral made of coral", { outputs: 2, dev: { latency_ms: 600_000 } });
  const shoot = async (name, path, colorScheme, ready) => {
    const page = await browser.newPage({ viewport: { width: 1320, height: 1000 }, colorScheme });
    await page.goto(stack.base + path);
    await page.locator(ready).first().waitFor();
    // Pictures fade in: wait until they are opaque.
    await until("pictures", () => page.evaluate(() => [...document.querySelectorAll(".frame img")].every((image) => {
      const { top, bottom } = image.getBoundingClientRect();
      return !image.checkVisibility() || top > innerHeight || bottom < 0 || getComputedStyle(image).opacity === "1";
    })));
    const file = fileURLToPath(new URL(`../../docs/pictures/${name}.jpg`, import.meta.url));
    const picture = await page.screenshot({ type: "jpeg", quality: 82 });
    if (picture.length > MAX_SIZE) throw new Error(`${name} has ${picture.length} bytes`);
    writeFileSync(file, picture);
    await page.close();
  };
  await shoot("sheet", "/", "light", ".card[data-state=generating]");
  await shoot("job", `/j/${ids[3]}?output=3`, "dark", ".state-line");
} finally {
  await browser.close();
  await stack.stop();
}
