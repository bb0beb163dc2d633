// The embedded stack, as `cargo run` starts it, with functions that kill and restart its processes.

import { execFileSync, spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
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
    if (Date.now() > end) throw new Error(`there was no ${what} within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
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
    let said = "";
    stack.process.stdout.on("data", (text) => { said += text; });
    await until("stack that is up", () => {
      if (stack.process.exitCode !== null) throw new Error(`the stack has ended:\n${said}`);
      return said.includes("Everything stays up");
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

  async call(method, path, body) {
    const response = await fetch(`${this.base}${path}`, {
      method, body: body && JSON.stringify(body), headers: body ? { "content-type": "application/json" } : {},
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
    return () => this.#spawn(name, `${name}-again`, environment);
  }

  /**
   * Starts another api process with these additional environment variables. Returns its URL once it
   * is ready.
   */
  async another(variables) {
    const port = await freePort();
    const base = `http://127.0.0.1:${port}`;
    const environment = { ...environmentOf(this.#find("api")), DARKROOM_LISTEN: `127.0.0.1:${port}`, DARKROOM_PUBLIC_URL: base, ...variables };
    this.#spawn("api", "another-api", environment);
    await until("api that is ready", () => fetch(`${base}/readyz`).then((answer) => answer.ok, () => false));
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
    if (!found) throw new Error(`there is no ${name}`);
    return Number(found);
  }
}
