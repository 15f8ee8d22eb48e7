// One run: progress while it runs, verdict, reasons and what to do next.

import { download, get, post, request, send } from "./api.js";
import { bars, line, stacked } from "./chart.js";
import { confirm, h, notify, show } from "./dom.js";
import { count, duration, ended, money, percent, plural, state, time, verdict } from "./format.js";

export async function render(view, id) {
  const path = `/runs/${encodeURIComponent(id)}`;
  const points = [];
  let etag = null;
  let timer = null;
  let left = false;
  let last = null;

  async function refresh() {
    const response = await send("GET", path, undefined, etag ? { "if-none-match": etag } : {});
    if (response.status === 304 || left) return;
    etag = response.headers.get("etag");
    last = await response.json();
    points.push([Date.now(), last.processed ?? 0]);
    draw(last);
  }

  async function poll() {
    if (left) return;
    if (!document.hidden) {
      try {
        await refresh();
      } catch (error) {
        if (error.status === 404 || error.status === 401) return notify(error.message, "error");
        notify("The server does not answer. Trying again.", "error");
      }
    }
    if (!left && !(last && ended(last.state))) timer = setTimeout(poll, 1000);
  }

  // Parts are replaced one by one, so that the focus stays on a button while figures change.
  const head = h("div");
  const figures = h("section", { "aria-label": "Progress" });
  const actions = h("div", { class: "actions" });
  const details = h("div");
  show(view, head, figures, actions, details);

  function draw(run) {
    const [text, color] = state(run.state);
    document.title = `${run.file} · Rowmill`;
    show(
      head,
      h("p", { class: "crumbs" }, h("a", { href: "#/runs" }, "Runs"), ` / ${run.pipeline}`),
      h("h1", {}, run.file),
      h("p", { class: `lead word ${run.stopped ? "missing" : color}` }, run.stopped && ended(run.state) ? "Stopped" : text, run.counts && ended(run.state) ? `. ${verdict(run.counts)}` : ""),
    );
    show(figures, progress(run), run.failure && failure(run.failure));
    const names = buttons(run);
    const key = names.map(([name]) => name).join();
    if (actions.dataset.key !== key) {
      actions.dataset.key = key;
      show(actions, names.map(([name, act, kind]) => h("button", { type: "button", class: kind, onclick: act }, name)));
    }
    show(details, reasons(run), accuracy(run), facts(run));
  }

  function progress(run) {
    const counts = run.counts;
    if (!counts) return h("p", { class: "muted" }, "Reading the workbook");
    const parts = [
      ["ok", counts.ok, "ok"],
      ["failed", counts.failed, "failed"],
      ["missing", counts.missing, "missing"],
      ["rejected", counts.rejected, "rejected"],
    ];
    const total = counts.records + counts.rejected;
    if (ended(run.state)) return stacked(parts, total);
    const done = Math.max(run.processed ?? 0, counts.ok + counts.failed);
    return [
      stacked(counts.ok + counts.failed > 0 || done === 0 ? parts : [["processed", done, "ok"]], total),
      h(
        "p",
        { role: "status" },
        `${count(done)} of ${plural(counts.records, "row")}`,
        run.rate_per_second ? `, ${count(run.rate_per_second)} per second` : "",
        run.seconds_left ? `, ${duration(run.seconds_left)} left` : "",
      ),
      line(points, counts.records),
    ];
  }

  const failure = (why) => h("div", { class: "box failed" }, h("strong", {}, why.what), h("p", {}, why.advice));

  function buttons(run) {
    const over = ended(run.state);
    const open = (run.counts?.failed ?? 0) + (run.counts?.missing ?? 0);
    return [
      over && run.workbook && ["Download the workbook", () => download(`${path}/workbook`, "result.xlsx"), "primary"],
      over && run.review && ["Review", () => (location.hash = `#/runs/${encodeURIComponent(id)}/review`), ""],
      over && open > 0 && [`Retry ${plural(open, "row")}`, retry, ""],
      !over && !run.stopped && ["Cancel the run", cancel, ""],
      over && ["Delete", remove, "danger"],
    ].filter(Boolean);
  }

  async function cancel() {
    const sure = await confirm("Cancel the run?", "Rows that are done are delivered. The others come back as missing and can be retried.", "Cancel the run");
    if (!sure) return;
    await post(`${path}/cancel`);
    notify("The run stops.");
    await refresh();
  }

  async function remove() {
    const sure = await confirm("Delete the run?", "The workbook, the result, all rows and all reviews of this run are removed. This cannot be undone.", "Delete");
    if (!sure) return;
    await request("DELETE", path);
    left = true;
    notify("The run is deleted.");
    location.hash = "#/runs";
  }

  async function retry() {
    const { run } = await post(`${path}/retry`, { rows: "unfinished" });
    notify("The retry starts.");
    // The run exists as soon as the request is handled.
    for (let attempt = 0; attempt < 60; attempt += 1) {
      const found = await get(`/runs/${encodeURIComponent(run)}`).catch((error) => error);
      if (found.status !== 404) break;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    location.hash = `#/runs/${encodeURIComponent(run)}`;
  }

  await refresh();
  if (!ended(last.state)) timer = setTimeout(poll, 500);
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function reasons(run) {
  if (!run.reasons?.length) return null;
  return h(
    "section",
    { "aria-labelledby": "reasons" },
    h("h2", { id: "reasons" }, "Why rows have no result"),
    bars(
      run.reasons.map((r) => ({ label: r.reason, count: r.count, color: r.status, note: [r.status, r.example_row && `for example row ${count(r.example_row)}`].filter(Boolean).join(", ") })),
      "failed",
    ),
  );
}

function accuracy(run) {
  const reviewed = (run.accuracy ?? []).filter((a) => a.reviewed > 0);
  if (!reviewed.length) return null;
  return h(
    "section",
    { "aria-labelledby": "accuracy" },
    h("h2", { id: "accuracy" }, "How often the model is right"),
    bars(
      reviewed.map((a) => ({ label: a.label, count: a.reviewed, note: `${percent(a.right / a.reviewed)} right (${count(a.right)} of ${count(a.reviewed)} reviewed)` })),
      "ok",
    ),
  );
}

function facts(run) {
  const rows = [
    ["Started", time(run.created)],
    ["Last change", time(run.updated)],
    ["Cost at AWS list prices", money(run.cost_usd)],
    ["Cost per 10,000 rows", run.cost?.usd_per_record && money(run.cost.usd_per_record * 10000)],
    ["Planned cost", run.cost?.planned && `${money(run.cost.planned.cost)}, with a container for each row ${money(run.cost.planned.cost_one_per_child)}`],
    ["Compute", run.cost && `${plural(run.cost.tasks, "container")}, ${count(Math.round(run.cost.vcpu_seconds))} vCPU seconds, ${count(Math.round(run.cost.gib_seconds))} GiB seconds`],
    ["Jobs", run.jobs && `${count(run.jobs.ended)} of ${count(run.jobs.total)} ended`],
    ["Reviewed", run.reviews && run.review && `${count(run.reviews.approved + run.reviews.overridden)} of ${count(run.reviews.total)}`],
    ["Run", run.run],
  ].filter(([, value]) => value);
  return h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}
