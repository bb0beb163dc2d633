// Making elements. Text is always text: nothing here parses markup.

/** Makes an element. What begins with `on` listens; `null`, `undefined` and `false` are left out. */
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

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

function present(children) {
  return children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Does something soon, and once, however often it is asked for until then. */
export function soon(act, milliseconds = 100) {
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

/** Tells those who do not see the screen, once and politely. */
export function announce(text) {
  document.getElementById("announcer").textContent = text.slice(0, 160);
}

/** Shows a line for a while: what was done, or why it was not. */
export function toast(text, kind = "note") {
  const line = h("p", { class: `toast ${kind}` }, text);
  announce(text);
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), kind === "problem" ? 9000 : 4000);
}

/** A button that copies. */
export function copyButton(text, label) {
  const button = h("button", { type: "button", class: "quiet small", "aria-label": label ?? "Copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
}

/**
 * Asks before something is done that cannot be undone or that costs. Resolves to whether it is to be done.
 * The button that does it is not the one that has the focus at first.
 */
export function ask({ title, text, yes, no = "Keep it as it is", isDanger = false }) {
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
