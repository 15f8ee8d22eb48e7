// New run: choose a workbook and a pipeline, see the preview and the price, start.

import { get, post, upload } from "./api.js";
import { h, show } from "./dom.js";
import { cell, count, duration, money, plural, size } from "./format.js";

const ACCEPTED = ".xlsx,.xlsm,.xlsb,.xls,.ods,.fods,.csv,.tsv";

export async function render(view) {
  const { pipelines } = await get("/pipelines");
  let file = null;
  let turn = 0;

  const input = h("input", { type: "file", id: "file", accept: ACCEPTED, onchange: () => choose(input.files[0]) });
  const chosen = h("p", { class: "muted", id: "chosen" }, "Excel, OpenDocument or CSV");
  const zone = h(
    "div",
    {
      class: "drop",
      ondragover: (event) => (event.preventDefault(), zone.classList.add("over")),
      ondragleave: () => zone.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        zone.classList.remove("over");
        choose(event.dataTransfer.files[0]);
      },
    },
    h("label", { for: "file" }, "Drop a workbook here, or choose one"),
    input,
    chosen,
  );
  const pipeline = h(
    "select",
    { id: "pipeline", onchange: preview },
    h("option", { value: "" }, "Choose a pipeline"),
    pipelines.map((p) => h("option", { value: p.name }, p.description ? `${p.name}: ${p.description}` : p.name)),
  );
  if (pipelines.length === 1) pipeline.value = pipelines[0].name;
  const result = h("section", { "aria-live": "polite", "aria-label": "Preview" });

  show(
    view,
    h("h1", {}, "New run"),
    pipelines.length === 0 &&
      h("p", { class: "box missing" }, "There is no pipeline yet. Write one with ", h("code", {}, "rowmill new WORKBOOK"), ", then reload this page."),
    zone,
    h("div", { class: "field" }, h("label", { for: "pipeline" }, "Pipeline"), pipeline),
    result,
  );

  function choose(next) {
    if (!next) return;
    file = next;
    chosen.textContent = `${file.name}, ${size(file.size)}`;
    const folder = pipelines.find((p) => p.name === file.name.replace(/\.[^.]*$/, ""));
    if (folder && !pipeline.value) pipeline.value = folder.name;
    preview();
  }

  async function preview() {
    if (!file || !pipeline.value) return;
    turn += 1;
    const mine = turn;
    const name = pipeline.value;
    const bar = h("progress", { max: "1", value: "0", "aria-label": "Upload" });
    show(result, h("p", {}, "Uploading ", file.name), bar);
    try {
      const target = await post("/uploads", { file: file.name, pipeline: name, size: file.size });
      await upload(target, file, (share) => (bar.value = share));
      if (mine !== turn) return;
      show(result, h("p", {}, "Trying the first rows"), h("progress", { "aria-label": "Preview" }));
      const tried = await post("/preview", { upload: target.upload, pipeline: name, limit: 5 });
      if (mine === turn) show(result, previewed(tried, target.upload, name));
    } catch (error) {
      if (mine !== turn) return;
      show(result, h("div", { class: "box failed", role: "alert" }, h("strong", {}, error.body?.title ?? "The preview failed"), h("p", {}, error.message)));
    }
  }

  function previewed(tried, uploaded, name) {
    if (tried.problem) {
      return h("div", { class: "box failed", role: "alert" }, h("strong", {}, tried.problem.title), h("p", {}, tried.problem.detail));
    }
    const start = h("button", { type: "button", class: "primary", onclick: begin }, `Start: ${plural(tried.records, "row")}`);
    async function begin() {
      start.disabled = true;
      try {
        const { run } = await post("/runs", { upload: uploaded, pipeline: name });
        location.hash = `#/runs/${encodeURIComponent(run)}`;
      } catch (error) {
        start.disabled = false;
        throw error;
      }
    }
    return [
      tried.plan && h("p", { class: "lead" }, price(tried.plan)),
      tried.rejected > 0 && h("p", { class: "box rejected" }, `${plural(tried.rejected, "row")} will be rejected. They come back on a sheet of their own, each with its reason.`),
      h("div", { class: "actions" }, start),
      h("h2", {}, "The first rows"),
      table(tried),
    ];
  }
  return null;
}

function price(plan) {
  return [
    `About ${duration(plan.makespan_seconds)}, ${money(plan.cost_usd)}`,
    h("span", { class: "muted" }, ` in ${plural(plan.children, "child", "children")}. Limited by: ${plan.bottleneck}.`),
  ];
}

const MARKS = { ok: "✓ ok", failed: "✗ failed", rejected: "– rejected", unfinished: "… not finished" };

function table(tried) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows of the preview" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["Row", "Status", ...tried.columns, "Error"].map((name) => h("th", { scope: "col" }, name)))),
      h(
        "tbody",
        {},
        tried.rows.map((row) =>
          h(
            "tr",
            {},
            h("td", { class: "number" }, count(row.row)),
            h("td", { class: `word ${row.status}` }, MARKS[row.status] ?? row.status),
            tried.columns.map((name) => h("td", { class: typeof row.values[name] === "number" ? "number" : "" }, cell(row.values[name]))),
            h("td", {}, row.error ?? ""),
          ),
        ),
      ),
    ),
  );
}

