// Functions that create and fill elements, tell the user something, or change the URL. Texts are
// never parsed as markup.

/**
 * Creates an element. `on…` properties are listeners; `null`, `undefined` and `false` are left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/** Replaces the content of an element. The focus stays on the control with the same label. */
export function fill(element, ...children) {
  const labelOf = (control) => control.getAttribute("aria-label") ?? control.textContent;
  const focused = element.contains(document.activeElement) ? labelOf(document.activeElement) : "";
  element.replaceChildren(...present(children));
  if (!focused) return;
  const same = [...element.querySelectorAll("button, a, summary")].find((control) => labelOf(control) === focused);
  same?.focus({ preventScroll: true });
}

function present(children) {
  return children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Throttles a function: runs it after a delay, once for all calls within the delay. */
export function throttle(act, milliseconds = 100) {
  let isPlanned = false;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    setTimeout(() => {
      isPlanned = false;
      act();
    }, milliseconds);
  };
}

/** Announces a text to screen readers. */
export function announce(text) {
  document.getElementById("announcer").textContent = text.slice(0, 160);
}

/** Shows the outcome of an action for a few seconds. */
export function toast(text, kind = "note") {
  const line = h("p", { class: `toast ${kind}` }, text);
  announce(text);
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), kind === "problem" ? 9000 : 4000);
}

/** Replaces the URL. Browsers refuse that if it is done very often; then the URL stays as it is. */
export function replaceUrl(url) {
  try {
    history.replaceState(history.state, "", url);
  } catch {
    // It is replaced by the next change.
  }
}

/** Copies a text. Without https, browsers offer nothing but a selection for it. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const before = document.activeElement;
  const area = h("textarea", { class: "visually-hidden" });
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  before?.focus();
  if (!isCopied) throw new Error("the browser refused");
}

/** Creates a button that copies a text. */
export function copyButton(text, label) {
  const button = h("button", { type: "button", class: "quiet small", "aria-label": label ?? "Copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await copy(typeof text === "function" ? text() : text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy failed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
}

/**
 * Asks for confirmation of an action that costs money or cannot be undone. Resolves to true if
 * confirmed. The confirming button does not have the initial focus.
 */
export function ask({ title, text, yes, no = "Go back", isDanger = false }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const dialog = h("dialog", { "aria-labelledby": "ask-title", class: "ask" },
      h("h2", { id: "ask-title" }, title),
      [text].flat().map((line) => h("p", {}, line)),
      h("div", { class: "row end" },
        h("button", { type: "button", class: "quiet", autofocus: true, onclick: () => dialog.close("no") }, no),
        h("button", { type: "button", class: isDanger ? "danger" : "primary", onclick: () => dialog.close("yes") }, yes)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
