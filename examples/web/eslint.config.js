// What the type checker cannot see. Names that do not exist are the type checker's matter: it knows the browser.
import js from "@eslint/js";

const noMarkup = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "srcdoc"].map(
  (property) => ({ property, message: "Foreign text goes into text nodes only." }),
);

/** @param {string} folder @param {string[]} strangers */
const knows = (folder, strangers) => ({
  files: [folder],
  rules: { "no-restricted-imports": ["error", { patterns: strangers }] },
});

export default [
  { ignores: ["dist/", "node_modules/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off",
      "array-callback-return": "error",
      eqeqeq: "error",
      "no-duplicate-imports": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": ["error", ...noMarkup],
      "no-template-curly-in-string": "error",
      "no-throw-literal": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "none" }],
      "no-useless-rename": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  // Who may know whom: each folder those before it. The protocol client is for any page; its types alone are a widget's.
  knows("app/cloudchat/**", ["../*"]),
  knows("app/store/**", ["../i18n/*", "../widgets/*", "../main.js"]),
  knows("app/i18n/**", ["../*"]),
  knows("app/widgets/**", ["../cloudchat/*", "../main.js"]),
];
