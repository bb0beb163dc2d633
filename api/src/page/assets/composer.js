// The form that creates a job: prompt, model, number of outputs. It marks the fields that the api
// rejects.

import { base, newKey, storedKey } from "./api.js";
import { copyButton, fill, h, soon, toast } from "./dom.js";
import { curlOf } from "./words.js";

const FORMATS = ["jpg", "png", "webp", "gif", "mp4", "webm", "mp3", "wav", "glb"];

/** Model that is offered before any job was created. */
const FIRST_MODEL = "black-forest-labs/flux-schnell";

const MODEL = "darkroom.model";

export class Composer {
  constructor(form, { jobs, actions }) {
    this.form = form;
    this.jobs = jobs;
    this.actions = actions;
    this.#build();
    jobs.addEventListener("job", soon(() => this.#offerModels()));
    this.#changed();
  }

  focus() {
    this.prompt.focus();
    this.prompt.setSelectionRange(this.prompt.value.length, this.prompt.value.length);
  }

  /** Fills the form with a request. */
  take(request) {
    this.prompt.value = request.prompt ?? "";
    this.model.value = request.model ?? this.model.value;
    this.number.value = request.num_outputs ?? 1;
    this.seed.value = "";
    this.format.value = request.output_format ?? "";
    const { model: _, prompt: __, num_outputs: ___, seed: ____, output_format: _____, input, ...others } = request;
    this.others = others;
    this.inputs.value = input && Object.keys(input).length ? JSON.stringify(input, null, 2) : "";
    this.more.open = this.inputs.value !== "";
    this.#changed();
    this.focus();
  }

  #build() {
    const changed = () => this.#changed();
    const field = (label, control, hint) => h("label", { class: "field" }, h("span", {}, label), control, hint);
    this.others = {};
    this.prompt = h("textarea", {
      id: "prompt", rows: 2, placeholder: "What do you want to see?", "aria-label": "Prompt", autocomplete: "off",
      oninput: changed, "aria-keyshortcuts": "/",
    });
    this.models = h("datalist", { id: "models" });
    this.model = h("input", {
      id: "model", list: "models", required: true, value: localStorage.getItem(MODEL) ?? FIRST_MODEL, spellcheck: "false", oninput: changed,
    });
    this.number = h("input", { id: "number", type: "number", min: 1, max: 100, value: 1, oninput: changed });
    this.seed = h("input", { id: "seed", inputmode: "numeric", pattern: "[0-9]*", placeholder: "random", oninput: changed });
    const dice = h("button", {
      type: "button", class: "quiet dice", "aria-label": "Pick a seed that can be used again", title: "Pick a seed that can be used again",
      onclick: () => {
        this.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
        changed();
      },
    }, "⚄");
    this.format = h("select", { id: "format", onchange: changed }, h("option", { value: "" }, "model default"),
      FORMATS.map((format) => h("option", { value: format }, format)));
    this.inputs = h("textarea", {
      id: "inputs", rows: 4, spellcheck: "false", placeholder: "{\"aspect_ratio\": \"16:9\"}", "aria-label": "Further inputs of the model, as JSON",
      oninput: changed,
    });
    this.inputsProblem = h("p", { class: "problem-line", id: "inputs-problem", "aria-live": "polite" });
    this.more = h("details", { class: "more" }, h("summary", {}, "More options"), this.inputs, this.inputsProblem);
    this.curl = h("pre", { class: "code" });
    const asCurl = h("details", { class: "more" }, h("summary", {}, "Show as curl"),
      h("div", { class: "copyable" }, this.curl, copyButton(() => this.curl.textContent, "Copy the curl line")));
    this.also = h("p", { class: "also" });
    this.run = h("button", { type: "submit", class: "primary run", title: "Ctrl+Enter" }, "Run");
    this.problem = h("div", { class: "problem", role: "alert", hidden: true });
    fill(this.form, this.prompt,
      h("div", { class: "row fields" }, field("Model", this.model), field("How many", this.number),
        field("Seed", h("span", { class: "with-button" }, this.seed, dice)), field("Format", this.format), this.run),
      this.models, this.also, this.problem, h("div", { class: "row mores" }, this.more, asCurl));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.submit();
      }
    });
  }

  /** Returns the request of the form; `null` if it is not valid. */
  #request() {
    const request = { model: this.model.value.trim(), ...this.others };
    if (this.prompt.value.trim()) request.prompt = this.prompt.value;
    if (Number(this.number.value) !== 1) request.num_outputs = Number(this.number.value);
    const seed = this.seed.value.trim();
    // JavaScript rounds whole numbers beyond 2^53.
    const isSeed = seed === "" || (/^\d+$/.test(seed) && Number.isSafeInteger(Number(seed)));
    this.seed.setCustomValidity(isSeed ? "" : "a seed is a whole number of at most 9,007,199,254,740,991 here");
    if (!isSeed) return null;
    if (seed) request.seed = Number(seed);
    if (this.format.value) request.output_format = this.format.value;
    const inputs = this.inputs.value.trim();
    try {
      const input = inputs ? JSON.parse(inputs) : null;
      if (input !== null && (typeof input !== "object" || Array.isArray(input))) throw new SyntaxError("it must be an object: { … }");
      this.inputsProblem.textContent = "";
      this.inputs.removeAttribute("aria-invalid");
      if (input && Object.keys(input).length) request.input = input;
    } catch (error) {
      this.inputsProblem.textContent = `This is no JSON yet: ${error.message}`;
      this.inputs.setAttribute("aria-invalid", "true");
      return null;
    }
    return request;
  }

  #changed() {
    this.#clearProblem();
    // Grows with its content.
    this.prompt.style.height = "auto";
    this.prompt.style.height = `${Math.min(this.prompt.scrollHeight + 2, 320)}px`;
    const request = this.#request();
    const others = Object.keys(this.others).map((name) => name.replaceAll("_", " "));
    fill(this.also, others.length ? [`With it goes what the other job had: ${others.join(", ")}. `, h("button", {
      type: "button", class: "quiet small",
      onclick: () => {
        this.others = {};
        this.#changed();
      },
    }, "Without")] : []);
    if (request) this.curl.textContent = curlOf(request, new URL("v1/jobs", base).href, storedKey() !== null);
  }

  #offerModels() {
    const models = this.jobs.models().slice(0, 20);
    const name = models.join();
    if (name === this.offered) return;
    this.offered = name;
    fill(this.models, models.map((model) => h("option", { value: model })));
  }

  async submit() {
    const request = this.#request();
    if (!request) {
      const wrong = this.seed.validationMessage ? this.seed : this.inputs;
      if (wrong === this.seed) this.#show({ title: "The seed is no seed", detail: this.seed.validationMessage, errors: [{ pointer: "/seed" }] });
      return wrong.focus();
    }
    if (!request.prompt && !request.input) {
      this.#show({ title: "Nothing to make yet", detail: "write a prompt, or give the model an input", errors: [{ pointer: "/prompt" }] });
      return;
    }
    if (this.run.disabled) return;
    this.run.disabled = true;
    this.#clearProblem();
    // The same request, retried after a lost answer, is the same job.
    const name = JSON.stringify(request);
    if (this.asked?.name !== name) this.asked = { name, key: newKey() };
    try {
      await this.actions.create(request, this.asked.key);
      this.asked = null;
      this.others = {};
      this.#changed();
      localStorage.setItem(MODEL, request.model);
      toast("Accepted. It cannot be lost now.");
    } catch (error) {
      this.#show(error);
    } finally {
      this.run.disabled = false;
    }
  }

  #show(problem) {
    fill(this.problem, h("strong", {}, problem.title ?? "It was not accepted"), h("span", {}, problem.detail ?? problem.message),
      problem.retryAfter ? h("span", {}, `Try again in ${problem.retryAfter} s.`) : null);
    this.problem.hidden = false;
    const fields = { prompt: this.prompt, model: this.model, num_outputs: this.number, seed: this.seed, output_format: this.format, input: this.inputs };
    for (const { pointer } of problem.errors ?? []) {
      const control = fields[pointer.split("/")[1]];
      if (!control) continue;
      if (control === this.inputs) this.more.open = true;
      control.setAttribute("aria-invalid", "true");
      control.focus();
    }
  }

  #clearProblem() {
    this.problem.hidden = true;
    for (const control of this.form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  }
}
