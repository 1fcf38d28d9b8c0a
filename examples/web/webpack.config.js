/**
 * Builds app/ for a static hosting: few files, with names that change with what is in them, and addresses relative to
 * the page, so that it does not matter where the page lies. webpack reads the HTML and the CSS itself; no plugins.
 *
 * CLOUDCHAT_SERVER is the address of the server that the page talks to, such as https://chat.example.org. Without it
 * the page looks for the server where it itself lies.
 */
import { resolve } from "node:path";

const server = process.env.CLOUDCHAT_SERVER ? new URL(process.env.CLOUDCHAT_SERVER) : null;
if (server && !["http:", "https:"].includes(server.protocol))
  throw new Error(`CLOUDCHAT_SERVER is ${server}, but only http: and https: can be talked to`);

/** Where scripts may connect to: `'self'` is this, WebSockets included, where the page comes from the server. */
const connectable = server ? [server.origin, server.origin.replace("http", "ws")] : ["'self'"];

const unsettled = '<meta name="cloudchat-server" content="">';

/** @param {string} html app/index.html @returns {string} the same for the other place */
function settle(html) {
  if (!html.includes(unsettled)) throw new Error(`${unsettled} is not in the page`);
  return (
    html
      .replace(unsettled, () => unsettled.replace('""', `"${server?.href ?? ""}"`))
      // The bundle is one file: there is nothing to load ahead.
      .replaceAll(/\s*<link rel="modulepreload"[^>]*>|\s*<script type="module" src=".\/language.js"><\/script>/g, "")
  );
}

/** @type {import("webpack").Configuration} */
export default {
  mode: "production",
  target: "browserslist",
  entry: "./app/index.html",
  devtool: "source-map",
  output: {
    path: resolve(import.meta.dirname, "dist"),
    clean: true,
    module: true,
    publicPath: "auto",
    htmlFilename: "[name].html",
    filename: "[name].[contenthash].js",
    cssFilename: "[name].[contenthash].css",
    assetModuleFilename: "[name].[contenthash][ext]",
    html: {
      csp: {
        policy: {
          "default-src": "'self'",
          "connect-src": connectable,
          "base-uri": "'none'",
          "form-action": "'none'",
          "require-trusted-types-for": "'script'",
          "trusted-types": "'none'",
        },
      },
    },
  },
  module: {
    parser: {
      html: { template: settle },
      javascript: { dynamicImportMode: "eager" },
      // An image stays a file of its own, which the policy above and the cache know how to take.
      asset: { dataUrlCondition: { maxSize: 0 } },
    },
  },
  // The page stays readable: who moves it edits the two addresses in it.
  optimization: { minimize: { html: false } },
  performance: { hints: "error", maxEntrypointSize: 250_000 },
};
