// The page: reads the address and shows the view that belongs to it.

import { get, takeToken } from "./api.js";
import { h, show } from "./dom.js";
import { signIn, takeCode } from "./sign-in.js";

const VIEWS = [
  [/^#\/$/, "New run", () => import("./upload.js")],
  [/^#\/runs$/, "Runs", () => import("./runs.js")],
  [/^#\/runs\/([^/]+)$/, "Run", () => import("./run.js")],
  [/^#\/runs\/([^/]+)\/review$/, "Review", () => import("./review.js")],
  [/^#\/predict$/, "Predict", () => import("./predict.js")],
];

const main = document.getElementById("main");
let leave = null;
let shown = 0;

async function route() {
  const address = location.hash || "#/";
  const found = VIEWS.find(([pattern]) => pattern.test(address));
  shown += 1;
  const turn = shown;
  leave?.();
  leave = null;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href");
    const current = here === address || (here === "#/runs" && address.startsWith("#/runs/"));
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!found) return show(main, h("h1", {}, "Page not found"), h("p", {}, h("a", { href: "#/" }, "Start a new run")));
  const [pattern, title, load] = found;
  document.title = `${title} · Rowmill`;
  const view = h("div", { class: "view" });
  show(main, view);
  try {
    const { render } = await load();
    const [, argument] = pattern.exec(address);
    const left = await render(view, argument && decodeURIComponent(argument));
    // The reader went on while this view was loading.
    if (turn !== shown) left?.();
    else leave = left;
  } catch (error) {
    if (turn === shown) failed(error, view);
  }
}

async function failed(error, view) {
  if (error.status === 401) {
    if (await signIn().catch(() => false)) return null;
    return show(
      view,
      h("h1", {}, "You are not signed in"),
      h("p", {}, "Open the address that ", h("code", {}, "rowmill serve"), " printed. It contains the token of this session. After a restart the address is a new one."),
    );
  }
  return show(
    view,
    h("h1", {}, error.status === 404 ? "Not found" : "Something went wrong"),
    h("p", { role: "alert" }, error.message),
    h("p", {}, h("button", { type: "button", onclick: route }, "Try again")),
  );
}

addEventListener("hashchange", () => {
  route();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

takeToken();
await takeCode().catch(() => {});
route();
get("/session").then(
  (session) => {
    document.getElementById("who").textContent = session.local ? "On this machine" : session.name;
  },
  () => {},
);
