// Lint rules for the page's scripts. The most important one requires declared names: in a browser
// an undeclared name may silently refer to an element's id or to a property of the window.

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
