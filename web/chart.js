// Charts in plain SVG. Each has its figures in words beside it, so the drawing is hidden from screen readers.

import { h, svg } from "./dom.js";
import { count } from "./format.js";

/** One bar of parts in their colors, with a legend. `parts` is a list of [word, count, color class]. */
export function stacked(parts, total) {
  let from = 0;
  const width = Math.max(total, 1);
  return h(
    "figure",
    { class: "stacked" },
    svg(
      "svg",
      { viewBox: "0 0 1000 16", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "bar-rest", width: 1000, height: 16 }),
      parts.map(([, n, color]) => {
        const x = (1000 * from) / width;
        from += n;
        return svg("rect", { class: `bar-${color}`, x, width: (1000 * n) / width, height: 16 });
      }),
    ),
    h(
      "figcaption",
      {},
      parts.filter(([, n]) => n > 0).map(([word, n, color]) => h("span", { class: `key ${color}` }, `${count(n)} ${word}`)),
    ),
  );
}

/** Horizontal bars from the left, longest first. `rows` is a list of {label, count, note, color}; `text` writes a count. */
export function bars(rows, color, text = count) {
  const longest = Math.max(1, ...rows.map((row) => row.count));
  return h(
    "ul",
    { class: "bars" },
    rows.map((row) =>
      h(
        "li",
        {},
        h("span", { class: "label" }, row.label),
        h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: `fill bar-${row.color ?? color}`, style: { width: `${(100 * row.count) / longest}%` } })),
        h("span", { class: "number" }, text(row.count)),
        row.note && h("span", { class: "muted note" }, row.note),
      ),
    ),
  );
}

/** A line of processed rows over time. `points` is a list of [milliseconds, rows]. */
export function line(points, total) {
  if (points.length < 2) return null;
  const [start] = points[0];
  const span = Math.max(points.at(-1)[0] - start, 1);
  const path = points.map(([at, n], i) => `${i ? "L" : "M"}${((1000 * (at - start)) / span).toFixed(1)} ${(100 - (100 * n) / Math.max(total, 1)).toFixed(1)}`).join("");
  return svg(
    "svg",
    { class: "line", viewBox: "0 -2 1000 104", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "area", d: `${path}L1000 100L0 100Z` }),
    svg("path", { class: "stroke", d: path, "vector-effect": "non-scaling-stroke" }),
  );
}
