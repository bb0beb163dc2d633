// What the page's scripts are held to: above all that each name was declared, as a browser takes an element's id, or a property of
// its window, for one that was not.

import js from "@eslint/js";
import globals from "globals";

const held = (files, known) => ({
  ...js.configs.recommended,
  files,
  languageOptions: { globals: known },
  rules: {
    ...js.configs.recommended.rules,
    "no-restricted-globals": ["error", "event", "length", "name", "status"],
    "no-unused-vars": ["error", { ignoreRestSiblings: true }],
  },
});

export default [
  held(["api/src/page/assets/*.js"], globals.browser),
  held(["tests/page/*.mjs"], { ...globals.node, ...globals.browser }),
];
