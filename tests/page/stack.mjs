// Embedded stack, as `cargo run` starts it, with functions that kill and restart its processes.

import { execFileSync, spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const binary = path.join(root, "target/debug/darkroom");
const data = path.join(root, "target/tmp/page");

/** Polls a condition until it yields a truthy value, and returns it. Throws after the deadline. */
export async function until(what, condition, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`no ${what} within ${seconds} s`);
    await sleep(50);
  }
}

function environmentOf(id) {
  return Object.fromEntries(readFileSync(`/proc/${id}/environ`, "utf8").split("\0").filter(Boolean).map((entry) => {
    const at = entry.indexOf("=");
    return [entry.slice(0, at), entry.slice(at + 1)];
  }));
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Stack {
  /** Starts a stack with fresh data and one sample job. */
  static async start() {
    rmSync(data, { recursive: true, force: true });
    const stack = new Stack();
    // With the token, the stack would use Replicate, which charges.
    const { REPLICATE_API_TOKEN: _, ...environment } = process.env;
    const options = { env: environment, stdio: ["ignore", "pipe", "inherit"] };
    stack.process = spawn(binary, ["--free-ports", "--sample", "one", "--data", data], options);
    process.once("exit", () => stack.process.kill("SIGKILL"));
    let output = "";
    stack.process.stdout.on("data", (text) => { output += text; });
    await until("running stack", () => {
      if (stack.process.exitCode !== null) throw new Error(`the stack has ended:\n${output}`);
      return output.includes("Everything stays up");
    }, 180);
    stack.base = `http://127.0.0.1:${readFileSync(path.join(data, "ports/api"), "utf8").trim()}`;
    stack.store = `http://127.0.0.1:${readFileSync(path.join(data, "ports/s3"), "utf8").trim()}`;
    stack.others = [];
    return stack;
  }

  async stop() {
    for (const other of this.others) other.kill("SIGKILL");
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGINT");
    await ended;
  }

  /** Calls the api. Tests ask for lists more often than it allows, so it says when to ask again. */
  async call(method, path, body) {
    const request = {
      method, body: body && JSON.stringify(body), headers: body ? { "content-type": "application/json" } : {},
    };
    const response = await until(`${method} ${path} within the rate limit`, async () => {
      const answer = await fetch(`${this.base}${path}`, request);
      if (answer.status !== 429) return answer;
      await sleep(Number(answer.headers.get("retry-after")) * 1000);
      return null;
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Creates a job and returns its id. `dev` is the script of the embedded provider. */
  async create(prompt, { outputs = 1, dev = {}, ...more } = {}) {
    const request = { model: "black-forest-labs/flux-schnell", prompt, num_outputs: outputs, output_format: "png", input: { dev }, ...more };
    return (await this.call("POST", "/v1/jobs", request)).job_id;
  }

  /**
   * Kills a process of the stack, `worker` or `api`, with SIGKILL. Returns a function that starts it
   * again, with these additional environment variables.
   */
  kill(name, variables = {}) {
    const id = this.#find(name);
    const environment = { ...environmentOf(id), ...variables };
    process.kill(id, "SIGKILL");
    return () => this.#spawn(name, `${name}-restarted`, environment);
  }

  /**
   * Starts another api process with these additional environment variables. Returns its URL once it
   * is ready.
   */
  async startApi(variables) {
    const port = await freePort();
    const base = `http://127.0.0.1:${port}`;
    const environment = { ...environmentOf(this.#find("api")), DARKROOM_LISTEN: `127.0.0.1:${port}`, DARKROOM_PUBLIC_URL: base, ...variables };
    this.#spawn("api", "second-api", environment);
    const isReady = () => fetch(`${base}/readyz`).then((response) => response.ok, () => false);
    await until("ready api", isReady);
    return base;
  }

  #spawn(name, log, environment) {
    const file = createWriteStream(path.join(data, `logs/${log}.log`));
    const spawned = spawn(binary, [name], { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    spawned.stdout.pipe(file);
    spawned.stderr.pipe(file);
    this.others.push(spawned);
  }

  #find(name) {
    const ids = execFileSync("pgrep", ["-f", `darkroom ${name}`], { encoding: "utf8" }).trim().split("\n");
    const isOurs = (id) => {
      if (!existsSync(`/proc/${id}/environ`) || readlinkSync(`/proc/${id}/exe`) !== binary) return false;
      return readFileSync(`/proc/${id}/environ`, "utf8").includes(new URL(this.base).host);
    };
    const found = ids.find((id) => {
      try {
        return isOurs(id);
      } catch {
        // The process has ended meanwhile.
        return false;
      }
    });
    if (!found) throw new Error(`no process of ${name} is running`);
    return Number(found);
  }
}
