// Lint rules for the scripts of the page. The most important one requires declared names: in a
// browser, an undeclared name may refer to the id of an element or to a property of the window.

import js from "@eslint/js";
import globals from "globals";

const rulesFor = (files, known) => ({
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
  rulesFor(["api/src/page/assets/*.js"], globals.browser),
  rulesFor(["tests/page/*.mjs"], { ...globals.node, ...globals.browser }),
];
