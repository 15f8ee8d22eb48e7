// All runs, newest first.

import { get, query } from "./api.js";
import { h, show } from "./dom.js";
import { ended, money, state, time, verdict } from "./format.js";

export async function render(view) {
  const rows = h("tbody");
  const more = h("button", { type: "button", hidden: true, onclick: () => page(next) }, "Show more");
  const empty = h("p", { class: "muted", hidden: true }, "There is no run yet. ", h("a", { href: "#/" }, "Start one"));
  const filter = h(
    "select",
    { id: "state", onchange: () => (rows.replaceChildren(), page(null)) },
    h("option", { value: "" }, "All"),
    ["running", "delivered", "delivered_with_errors", "failed"].map((name) => h("option", { value: name }, state(name)[0])),
  );
  let next = null;
  show(
    view,
    h("h1", {}, "Runs"),
    h("div", { class: "field" }, h("label", { for: "state" }, "State"), filter),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" },
      h("table", {}, h("thead", {}, h("tr", {}, ["Workbook", "Pipeline", "State", "Rows", "Cost on AWS", "Started"].map((name) => h("th", { scope: "col" }, name)))), rows),
    ),
    empty,
    h("div", { class: "actions" }, more),
  );
  await page(null);

  async function page(after) {
    const found = await get(query("/runs", { after, limit: 50, state: filter.value }));
    rows.append(...found.runs.map(line));
    next = found.next;
    more.hidden = !next;
    empty.hidden = rows.childElementCount > 0;
  }

  // Progress of the runs that have not ended, while the list is on the screen.
  const timer = setInterval(async () => {
    if (document.hidden) return;
    for (const row of rows.querySelectorAll("tr[data-open]")) {
      const run = await get(`/runs/${encodeURIComponent(row.dataset.run)}`).catch(() => null);
      if (run) row.replaceWith(line(run));
    }
  }, 3000);
  return () => clearInterval(timer);
}

function line(run) {
  const [text, color] = state(run.state);
  return h(
    "tr",
    { "data-run": run.run, "data-open": !ended(run.state) },
    h("td", {}, h("a", { href: `#/runs/${encodeURIComponent(run.run)}` }, run.file)),
    h("td", {}, run.pipeline),
    h("td", { class: `word ${color}` }, run.stopped ? "Stopped" : text),
    h("td", {}, verdict(run.counts)),
    h("td", { class: "number" }, money(run.cost_usd)),
    h("td", {}, time(run.created)),
  );
}
