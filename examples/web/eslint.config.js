// What the type checker cannot see. Names that do not exist are the type checker's matter: it knows the browser.
import js from "@eslint/js";

const noMarkup = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "srcdoc"].map(
  (property) => ({ property, message: "Foreign text goes into text nodes only." }),
);

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
      "no-promise-executor-return": "error",
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
  {
    // The protocol client is for any page, and for none: it knows nothing of what is built on it.
    files: ["app/cloudchat/**"],
    rules: { "no-restricted-imports": ["error", { patterns: ["../*"] }] },
  },
];
