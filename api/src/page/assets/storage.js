// Values that the browser keeps for the page, by name. It may refuse to, as cookies are blocked or
// its quota is full: then values are kept until the page is closed.

class Kept {
  #refused = new Map();

  constructor(area) {
    this.area = area;
  }

  get(name) {
    try {
      return this.#refused.get(name) ?? globalThis[this.area].getItem(name);
    } catch {
      return null;
    }
  }

  set(name, value) {
    try {
      this.#refused.delete(name);
      globalThis[this.area].setItem(name, value);
    } catch {
      this.#refused.set(name, value);
    }
  }

  remove(name) {
    this.#refused.delete(name);
    try {
      globalThis[this.area].removeItem(name);
    } catch {
      // Nothing is kept there.
    }
  }
}

/** Values of this tab. */
export const tab = new Kept("sessionStorage");

/** Values that outlive the page. */
export const persistent = new Kept("localStorage");
