// Numbers and times, as the workbook, the email and the terminal write them.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 12,345 */
export const count = (n) => whole.format(n);

/** "1 row", "12 rows" */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** "0.12 USD", and "less than 0.01 USD" instead of zero. */
export function money(usd) {
  if (usd === null || usd === undefined) return "";
  // Small amounts with the two digits that matter.
  const digits = usd > 0 && usd < 0.1 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return `${usd.toLocaleString("en-US", digits)} USD`;
}

/** "45 s", "12 min", "3.5 h" */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return "less than 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** "4.7 MB" */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} KB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** "29 Nov 2026, 10:25" in the reader's time zone. */
export const time = (text) =>
  new Date(text).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** "93%" */
export const percent = (share) => (share === null || share === undefined ? "" : `${Math.round(share * 100)}%`);

/** A cell as text. */
export const cell = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

const STATES = {
  splitting: ["Reading the workbook", "busy"],
  running: ["Running", "busy"],
  reporting: ["Writing the result", "busy"],
  delivered: ["Done", "ok"],
  delivered_with_errors: ["Done, with errors", "missing"],
  failed: ["Failed", "failed"],
};

/** A state in words, and the color that goes with it. */
export const state = (name) => STATES[name] ?? [name, "rejected"];

/** Whether the run has ended. */
export const ended = (name) => ["delivered", "delivered_with_errors", "failed"].includes(name);

/** "303 of 330 rows done, 27 failed" */
export function verdict(counts) {
  if (!counts) return "";
  const total = counts.records + counts.rejected;
  const rest = [
    counts.failed && `${count(counts.failed)} failed`,
    counts.missing && `${count(counts.missing)} missing`,
    counts.rejected && `${count(counts.rejected)} rejected`,
  ].filter(Boolean);
  return [`${count(counts.ok)} of ${plural(total, "row")} done`, ...rest].join(", ");
}
