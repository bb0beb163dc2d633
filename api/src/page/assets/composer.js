// The form that creates a job: prompt, model, number of outputs. It marks the fields that the api
// rejects.

import { base, newKey, storedKey } from "./api.js";
import { copyButton, fill, h, throttle, toast } from "./dom.js";
import { persistent } from "./storage.js";
import { curlOf } from "./words.js";

const FORMATS = ["jpg", "png", "webp", "gif", "mp4", "webm", "mp3", "wav", "glb"];

/** Model of the form until the first job is created. */
const DEFAULT_MODEL = "black-forest-labs/flux-schnell";

/** Longest time between the taps of a double tap, in milliseconds. */
const DOUBLE_TAP = 500;

/** Name under which the browser stores the latest model. */
const MODEL = "darkroom.model";

export class Composer {
  constructor(form, { jobs, actions }) {
    this.form = form;
    this.jobs = jobs;
    this.actions = actions;
    this.#build();
    jobs.addEventListener("job", throttle(() => this.#updateModels()));
    this.#update();
  }

  focus() {
    this.prompt.focus();
    this.prompt.setSelectionRange(this.prompt.value.length, this.prompt.value.length);
  }

  /** Fills the form with a request. */
  setRequest(request) {
    this.prompt.value = request.prompt ?? "";
    this.model.value = request.model ?? this.model.value;
    this.number.value = request.num_outputs ?? 1;
    this.seed.value = "";
    this.format.value = request.output_format ?? "";
    const { model: _, prompt: __, num_outputs: ___, seed: ____, output_format: _____, input, ...others } = request;
    this.others = others;
    this.inputs.value = input && Object.keys(input).length ? JSON.stringify(input, null, 2) : "";
    this.more.open = this.inputs.value !== "";
    this.#update();
    this.focus();
  }

  #build() {
    const changed = () => this.#update();
    const field = (label, control, hint) => h("label", { class: "field" }, h("span", {}, label), control, hint);
    this.others = {};
    this.prompt = h("textarea", {
      id: "prompt", rows: 2, placeholder: "Describe what to generate", "aria-label": "Prompt",
      autocomplete: "off", dir: "auto", oninput: changed, "aria-keyshortcuts": "/",
    });
    this.models = h("datalist", { id: "models" });
    this.model = h("input", {
      id: "model", list: "models", required: true, spellcheck: "false", oninput: changed,
      value: persistent.get(MODEL) ?? DEFAULT_MODEL,
    });
    this.number = h("input", { id: "number", type: "number", min: 1, max: 100, value: 1, oninput: changed });
    this.seed = h("input", { id: "seed", inputmode: "numeric", pattern: "[0-9]*", placeholder: "random", oninput: changed });
    const dice = h("button", {
      type: "button", class: "quiet dice",
      "aria-label": "Pick a random seed", title: "Pick a random seed",
      onclick: () => {
        this.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
        changed();
      },
    }, "⚄");
    this.format = h("select", { id: "format", onchange: changed }, h("option", { value: "" }, "model default"),
      FORMATS.map((format) => h("option", { value: format }, format)));
    this.inputs = h("textarea", {
      id: "inputs", rows: 4, spellcheck: "false", placeholder: "{\"aspect_ratio\": \"16:9\"}",
      "aria-label": "Other inputs of the model, as JSON", oninput: changed,
    });
    this.inputsProblem = h("p", { class: "problem-line", id: "inputs-problem", "aria-live": "polite" });
    this.more = h("details", { class: "more" }, h("summary", {}, "More options"), this.inputs, this.inputsProblem);
    this.curl = h("pre", { class: "code" });
    const asCurl = h("details", { class: "more" }, h("summary", {}, "Show as curl"),
      h("div", { class: "copyable" }, this.curl,
        copyButton(() => this.curl.textContent, "Copy the curl command")));
    this.also = h("p", { class: "also" });
    this.run = h("button", { type: "submit", class: "primary run", title: "Ctrl+Enter" }, "Run");
    this.problem = h("div", { class: "problem", role: "alert", hidden: true });
    fill(this.form, this.prompt,
      h("div", { class: "row fields" }, field("Model", this.model), field("Outputs", this.number),
        field("Seed", h("span", { class: "with-button" }, this.seed, dice)), field("Format", this.format), this.run),
      this.models, this.also, this.problem, h("div", { class: "row options" }, this.more, asCurl));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    // A job is paid for: a double click, a double tap or a key that is held creates one job. A click
    // by the keyboard has no detail, and a tap always 1.
    let clickedAt = -Infinity;
    this.run.addEventListener("click", (event) => {
      if (event.detail === 0) return;
      if (event.detail > 1 || event.timeStamp - clickedAt < DOUBLE_TAP) event.preventDefault();
      clickedAt = event.timeStamp;
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      const isRun = event.ctrlKey || event.metaKey;
      if (isRun || (event.repeat && !event.target.matches("textarea"))) event.preventDefault();
      if (isRun && !event.repeat) this.submit();
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
    this.seed.setCustomValidity(
      isSeed ? "" : "the seed must be a whole number of at most 9,007,199,254,740,991");
    if (!isSeed) return null;
    if (seed) request.seed = Number(seed);
    if (this.format.value) request.output_format = this.format.value;
    const inputs = this.inputs.value.trim();
    try {
      const input = inputs ? JSON.parse(inputs) : null;
      if (input !== null && (typeof input !== "object" || Array.isArray(input))) {
        throw new SyntaxError("it must be an object: { … }");
      }
      this.inputsProblem.textContent = "";
      this.inputs.removeAttribute("aria-invalid");
      if (input && Object.keys(input).length) request.input = input;
    } catch (error) {
      this.inputsProblem.textContent = `Invalid JSON: ${error.message}`;
      this.inputs.setAttribute("aria-invalid", "true");
      return null;
    }
    return request;
  }

  #update() {
    this.#clearProblem();
    // Fits the height to the content.
    this.prompt.style.height = "auto";
    this.prompt.style.height = `${Math.min(this.prompt.scrollHeight + 2, 320)}px`;
    const request = this.#request();
    const others = Object.keys(this.others).map((name) => name.replaceAll("_", " "));
    const remove = h("button", {
      type: "button", class: "quiet small",
      onclick: () => {
        this.others = {};
        this.#update();
      },
    }, "Remove");
    fill(this.also, others.length
      ? [`Also copied from the other job: ${others.join(", ")}. `, remove] : []);
    if (request) {
      const endpoint = new URL("v1/jobs", base).href;
      this.curl.textContent = curlOf(request, endpoint, storedKey() !== null);
    }
  }

  #updateModels() {
    const models = this.jobs.models().slice(0, 20);
    const name = models.join();
    if (name === this.shownModels) return;
    this.shownModels = name;
    fill(this.models, models.map((model) => h("option", { value: model })));
  }

  async submit() {
    const request = this.#request();
    if (!request) {
      const detail = this.seed.validationMessage;
      if (detail) this.#show({ title: "Invalid seed", detail, errors: [{ pointer: "/seed" }] });
      return (detail ? this.seed : this.inputs).focus();
    }
    if (!request.prompt && !request.input) {
      const detail = "write a prompt, or add an input of the model";
      this.#show({ title: "Empty request", detail, errors: [{ pointer: "/prompt" }] });
      return;
    }
    if (this.isSubmitting) return;
    this.#setSubmitting(true);
    this.#clearProblem();
    // Reuses the key for the same request, so that a retry after a lost response creates no
    // second job.
    const text = JSON.stringify(request);
    if (this.submitted?.text !== text) this.submitted = { text, key: newKey() };
    try {
      await this.actions.create(request, this.submitted.key);
      this.submitted = null;
      this.others = {};
      this.#update();
      persistent.set(MODEL, request.model);
      toast("Job accepted.");
    } catch (error) {
      // The job of this key was deleted meanwhile.
      if (error.status === 410) this.submitted = null;
      this.#show(error);
    } finally {
      this.#setSubmitting(false);
    }
  }

  /** Marks the button, which keeps the focus: a disabled one loses it. */
  #setSubmitting(isSubmitting) {
    this.isSubmitting = isSubmitting;
    this.run.setAttribute("aria-disabled", String(isSubmitting));
  }

  #show(problem) {
    fill(this.problem, h("strong", {}, problem.title ?? "The request failed"),
      h("span", {}, problem.detail ?? problem.message),
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
