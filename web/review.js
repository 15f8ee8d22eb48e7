// Review: approve or override what the model predicted, by keyboard, least certain rows first.

import { download, get, post, query, request } from "./api.js";
import { confirm, h, notify, show } from "./dom.js";
import { cell, count, percent, plural } from "./format.js";
import { Verdicts } from "./verdicts.js";

/** Rows per request, and how many stay loaded ahead of the reader. */
const PAGE = 100;
const AHEAD = 60;

export async function render(view, id) {
  const path = `/runs/${encodeURIComponent(id)}`;
  const run = await get(path);
  if (!run.review) {
    show(view, h("h1", {}, "Nothing to review"), h("p", {}, "The pipeline of this run names no column to review. Add a ", h("code", {}, "[[review]]"), " section to it."));
    return null;
  }
  const labels = run.review.labels;
  let items = [];
  let at = 0;
  let next = null;
  let loading = null;
  let turn = 0;
  let done = [];
  let total = 0;
  let bulk = null;

  const verdicts = new Verdicts(id, settled, (waiting, offline) => {
    saved.textContent = waiting === 0 ? "All saved" : offline ? `Offline: ${plural(waiting, "verdict")} kept here` : `Saving ${plural(waiting, "verdict")}`;
  });

  const saved = h("span", { class: "muted", role: "status" }, "All saved");
  const said = h("p", { class: "hidden", "aria-live": "polite" });
  const text = h("input", { type: "search", id: "text", placeholder: "Text", "aria-label": "Rows that contain this text", onchange: reload });
  const label = h("select", { id: "label", "aria-label": "Label", onchange: reload });
  const verdict = h(
    "select",
    { id: "verdict", "aria-label": "Verdict", onchange: reload },
    [["open", "Not reviewed"], ["approved", "Approved"], ["overridden", "Overridden"], ["", "All"]].map(([value, word]) => h("option", { value }, word)),
  );
  const certain = h(
    "select",
    { id: "certain", "aria-label": "Certainty", onchange: reload },
    [["", "Any certainty"], ["0.5", "Below 50%"], ["0.7", "Below 70%"], ["0.9", "Below 90%"]].map(([value, word]) => h("option", { value }, word)),
  );
  const list = h("ol", { class: "rows", role: "listbox", "aria-label": "Rows", tabindex: "0" });
  const detail = h("section", { class: "detail", "aria-label": "Row" });
  const found = h("p", { class: "muted", role: "status" });
  const all = h("button", { type: "button", onclick: approveAll }, "Approve all");
  const undoAll = h("button", { type: "button", hidden: true, onclick: undoBulk }, "Undo");
  const kind = h(
    "select",
    { "aria-label": "Format and rows of the export" },
    ["csv", "xlsx", "jsonl"].flatMap((format) =>
      [["rows=verified", "reviewed rows"], ["rows=verified&feedback=true", "reviewed rows and feedback"], ["rows=all", "all rows"]].map(([rows, words]) =>
        h("option", { value: `${format}?${rows}` }, `${{ csv: "CSV", xlsx: "Excel", jsonl: "JSON Lines" }[format]}, ${words}`),
      ),
    ),
  );
  const choices = h(
    "div",
    { class: "choices" },
    h("button", { type: "button", class: "primary", onclick: () => decide("approve") }, h("kbd", {}, "a"), " Approve"),
    labels.map((name, i) => h("button", { type: "button", "data-label": name, onclick: () => decide("override", name) }, i < 9 && h("kbd", {}, i + 1), ` ${name}`)),
    h("button", { type: "button", class: "quiet", onclick: undo }, h("kbd", {}, "z"), " Undo"),
  );

  show(
    view,
    h("p", { class: "crumbs" }, h("a", { href: "#/runs" }, "Runs"), " / ", h("a", { href: `#${path}` }, run.file)),
    h("div", { class: "title" }, h("h1", {}, `Review ${run.review.column}`), saved),
    h("div", { class: "filters" }, text, label, verdict, certain, all, undoAll),
    found,
    h("div", { class: "review" }, list, h("div", { class: "side" }, detail, choices)),
    said,
    h(
      "div",
      { class: "actions" },
      kind,
      h("button", { type: "button", onclick: async () => (await verdicts.drained(), download(`${path}/export.${kind.value}`, `reviews.${kind.value.split("?")[0]}`)) }, "Export"),
    ),
    h("p", { class: "muted keys" }, [["j", "next"], ["k", "previous"], ["a", "approve"], ["1 to 9", "label"], ["z", "undo"], ["/", "search"]].map(([key, what]) => [h("kbd", {}, key), ` ${what} `])),
  );

  const filter = () => ({ text: text.value, label: label.value, verdict: verdict.value, max_probability: certain.value });

  async function reload() {
    turn += 1;
    const mine = turn;
    const page = await get(query(`${path}/rows`, { ...filter(), limit: PAGE, facets: "true" }));
    if (mine !== turn) return;
    items = [];
    at = 0;
    loading = null;
    list.replaceChildren();
    take(page);
    total = page.total;
    const chosen = label.value;
    show(label, h("option", { value: "" }, "All labels"), labels.map((name) => h("option", { value: name }, `${name} (${count(page.facets?.label?.[name] ?? 0)})`)));
    label.value = chosen;
    select(0);
  }

  function take(page) {
    next = page.next;
    for (const item of page.rows) {
      verdicts.seen(item.row, item.review?.version ?? 0);
      item.line = entry(item);
      item.at = items.length;
      items.push(item);
      list.append(item.line);
    }
  }

  function ahead() {
    if (loading || !next || items.length - at > AHEAD) return;
    const mine = turn;
    loading = get(query(`${path}/rows`, { ...filter(), limit: PAGE, after: next }))
      .then((page) => {
        if (mine !== turn) return;
        loading = null;
        take(page);
        ahead();
        // The reader was faster than the network.
        if (at >= items.length - page.rows.length) select(at);
      })
      .catch((error) => {
        if (mine === turn) loading = null;
        notify(error.message, "error");
      });
  }

  function entry(item) {
    const line = h("li", { role: "option", id: `row-${item.row}`, "aria-selected": "false", onclick: () => select(item.at) });
    item.line = line;
    mark(item);
    return line;
  }

  function mark(item) {
    const review = item.review;
    const sign = !review ? "○" : review.verdict === "approved" ? "✓" : "✎";
    show(
      item.line,
      h("span", { class: "number muted" }, count(item.row)),
      h("span", { class: `word ${review ? "ok" : "rejected"}` }, `${sign} ${review ? review.final : cell(item.prediction)}`),
      h("span", { class: "cut" }, longest(item)),
    );
  }

  const columns = (item) => Object.entries(item.values).filter(([name, value]) => name !== run.review.column && value !== null && value !== "");
  const longest = (item) => columns(item).map(([, value]) => cell(value)).reduce((a, b) => (b.length > a.length ? b : a), "");

  function select(index) {
    items[at]?.line.setAttribute("aria-selected", "false");
    at = Math.max(0, Math.min(index, items.length));
    const item = items[at];
    found.textContent = `${plural(total, "row")} match. ${at < items.length ? `Number ${count(at + 1)}.` : ""}`;
    all.hidden = total === 0 || verdict.value !== "open";
    all.textContent = `Approve all ${count(total)}`;
    if (!item) {
      list.removeAttribute("aria-activedescendant");
      show(detail, h("p", { class: "lead" }, next ? "Loading more rows" : items.length ? "You reached the end." : "No row matches."));
      ahead();
      return;
    }
    item.line.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", item.line.id);
    const [top, height] = [item.line.offsetTop - list.offsetTop, item.line.offsetHeight];
    if (top < list.scrollTop + height || top > list.scrollTop + list.clientHeight - 3 * height) list.scrollTop = top - list.clientHeight / 3;
    describe(item);
    ahead();
  }

  function describe(item) {
    const review = item.review;
    show(
      detail,
      h("p", { class: "big" }, longest(item)),
      h(
        "p",
        { class: "predicted" },
        h("strong", {}, cell(item.prediction)),
        item.probability !== null && ` predicted, ${percent(item.probability)} certain`,
        review && h("span", { class: "word ok" }, ` ${review.verdict === "approved" ? "✓ approved" : `✎ ${review.final}`} by ${review.reviewer}`),
      ),
      h("details", {}, h("summary", {}, `Row ${count(item.row)}: all columns`), h("dl", { class: "facts" }, columns(item).map(([name, value]) => [h("dt", {}, name), h("dd", {}, cell(value))]))),
    );
    for (const button of choices.querySelectorAll("[data-label]")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === (review ? review.final : item.prediction)));
    }
  }

  function decide(what, value) {
    const item = items[at];
    if (!item) return;
    if (item.status !== "ok") return notify(`Row ${item.row} is ${item.status} and has nothing to review.`, "error");
    const final = what === "approve" ? item.prediction : value;
    const kindOf = what === "approve" || final === item.prediction ? "approve" : "override";
    done.push({ item, before: item.review });
    item.review = { verdict: kindOf === "approve" ? "approved" : "overridden", final, reviewer: "you" };
    verdicts.add(kindOf === "approve" ? { row: item.row, verdict: "approve" } : { row: item.row, verdict: "override", value: final });
    mark(item);
    said.textContent = `Row ${item.row}: ${final}`;
    select(at + 1);
  }

  function undo() {
    const last = done.pop();
    if (!last) return notify("There is nothing to undo.");
    last.item.review = last.before;
    if (!verdicts.takeBack(last.item.row)) verdicts.add({ row: last.item.row, verdict: "undo" });
    mark(last.item);
    said.textContent = `Row ${last.item.row}: undone`;
    select(last.item.at);
  }

  function settled(row, result) {
    const item = items.find((i) => i.row === row);
    if (result.problem) {
      const other = result.problem.review;
      notify(other ? `Row ${row} was already reviewed by ${other.reviewer}: ${other.final}.` : `Row ${row}: ${result.problem.detail ?? result.problem.title}`, "error");
      if (item) item.review = other ?? null;
    } else if (item && result.review && item.review) {
      item.review = result.review;
    }
    if (!item) return;
    mark(item);
    if (items[at] === item) describe(item);
  }

  async function approveAll() {
    await verdicts.drained();
    const sure = await confirm(`Approve all ${plural(total, "row")}?`, "The prediction of every row that matches the filter becomes its final value. One click undoes it.", "Approve all");
    if (!sure) return;
    const { count: n, filter_verdict: key } = await post(`${path}/reviews/filter`, { filter: clean(filter()), verdict: "approve" });
    bulk = key;
    undoAll.hidden = false;
    undoAll.textContent = `Undo approving ${plural(n, "row")}`;
    notify(`${plural(n, "row")} approved.`);
    await reload();
  }

  async function undoBulk() {
    await request("DELETE", `${path}/reviews/filter/${encodeURIComponent(bulk)}`);
    undoAll.hidden = true;
    notify("Undone.");
    await reload();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") list.focus();
      return;
    }
    const key = event.key;
    if (key === "j" || key === "ArrowDown") select(Math.min(at + 1, Math.max(items.length - 1, 0)));
    else if (key === "k" || key === "ArrowUp") select(at - 1);
    else if (key === "a") decide("approve");
    else if (key === "z") undo();
    else if (key === "/") text.focus();
    else if (/^[1-9]$/.test(key) && labels[key - 1] !== undefined) decide("override", labels[key - 1]);
    else return;
    event.preventDefault();
  }

  addEventListener("keydown", keys);
  await reload();
  list.focus({ preventScroll: true });
  return () => {
    removeEventListener("keydown", keys);
    verdicts.close();
  };
}

function clean(parameters) {
  const kept = Object.entries(parameters).filter(([, value]) => value !== "");
  return Object.fromEntries(kept.map(([name, value]) => [name, name.endsWith("probability") ? Number(value) : value]));
}
