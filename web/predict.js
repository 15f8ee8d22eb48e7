// Predict: what the model says about one text, and whether that is right.

import { get, post } from "./api.js";
import { bars } from "./chart.js";
import { h, notify, show } from "./dom.js";
import { percent } from "./format.js";

export async function render(view) {
  const { pipelines } = await get("/pipelines");
  const able = pipelines.filter((p) => p.predict);
  if (!able.length) {
    show(view, h("h1", {}, "Predict"), h("p", {}, "No pipeline has a step that classifies text."));
    return null;
  }
  const pipeline = h("select", { id: "model" }, able.map((p) => h("option", { value: p.name }, p.name)));
  const text = h("textarea", { id: "text", rows: "5", required: true, maxlength: "20000" });
  const result = h("section", { "aria-live": "polite", "aria-label": "Prediction" });
  const go = h("button", { class: "primary" }, "Predict");
  show(
    view,
    h("h1", {}, "Predict"),
    h(
      "form",
      { onsubmit: predict },
      h("div", { class: "field" }, h("label", { for: "model" }, "Pipeline"), pipeline),
      h("div", { class: "field" }, h("label", { for: "text" }, "Text"), text),
      h("div", { class: "actions" }, go),
    ),
    result,
  );

  async function predict(event) {
    event.preventDefault();
    go.disabled = true;
    try {
      const asked = { pipeline: pipeline.value, text: text.value };
      const answer = await post("/predict", asked);
      show(
        result,
        h("p", { class: "lead" }, answer.label, h("span", { class: "muted" }, ` ${percent(answer.probabilities[answer.label])} certain`)),
        feedback(asked, answer),
        chances(answer),
        words(answer),
      );
    } catch (error) {
      show(result, h("p", { class: "box failed", role: "alert" }, error.message));
    } finally {
      go.disabled = false;
    }
  }
  return null;
}

/** Approve or override. A second choice replaces the first one. */
function feedback(asked, answer) {
  const said = h("p", { class: "muted", role: "status" }, "Your answer is exported with the reviews, as data for the next model.");
  const choose = async (verdict, value) => {
    const stored = await post("/feedback", { ...asked, prediction: answer.label, verdict, value });
    said.textContent = `Saved: ${stored.final}`;
    for (const button of buttons.querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.label === stored.final);
    notify(verdict === "approve" ? "Approved" : `Changed to ${stored.final}`);
  };
  const others = Object.keys(answer.probabilities).filter((label) => label !== answer.label);
  const buttons = h(
    "div",
    { class: "actions", role: "group", "aria-label": "Is this right?" },
    h("button", { type: "button", class: "primary", "data-label": answer.label, onclick: () => choose("approve", null) }, "Approve"),
    others.map((label) => h("button", { type: "button", "data-label": label, onclick: () => choose("override", label) }, label)),
  );
  return [h("h2", {}, "Is this right?"), buttons, said];
}

function chances(answer) {
  const rows = Object.entries(answer.probabilities).sort(([, a], [, b]) => b - a);
  return bars(rows.map(([label, p]) => ({ label, count: p })), "accent", percent);
}

function words(answer) {
  if (!answer.words?.length) return null;
  return [
    h("h2", {}, "Words that decided"),
    h("p", { class: "words" }, answer.words.map(({ word, weight }) => h("span", { class: weight >= 0 ? "for" : "against" }, `${weight >= 0 ? "+" : "−"} ${word} `))),
  ];
}
