// Uses the page in Chromium as people do. `node page.mjs ROWMILL FOLDER`: the program, and an empty folder
// for pipelines, state and screenshots. Prints what it measured, and ends with 1 at the first failure.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [program, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = join(folder, "screenshots");
const pipelines = join(folder, "pipelines");
mkdirSync(shots, { recursive: true });
mkdirSync(pipelines, { recursive: true });

const CHROMIUM = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
/** Rows under review: enough for 1,000 verdicts. */
const ROWS = 1100;

// -- What people bring

const pipeline = (name, text) => writeFileSync(join(pipelines, `${name}.toml`), text);
pipeline(
  "reviews",
  `description = "Sentiment of reviews"
[input]
required = ["Review"]
[[step]]
kind = "sentiment"
column = "Review"
[[review]]
column = "sa_class"
labels = ["positive", "neutral", "negative"]
`,
);
pipeline(
  "slow",
  `[input]
required = ["ID"]
[[step]]
kind = "command"
program = ["python3", "slow.py"]
outputs = ["out"]
`,
);
writeFileSync(
  join(pipelines, "slow.py"),
  `import sys, json, time
for line in sys.stdin:
    time.sleep(0.2)
    print(json.dumps({"row": json.loads(line)["row"], "outputs": {"out": "x"}}), flush=True)
`,
);
pipeline("flaky", readFileSync(join(pipelines, "slow.toml"), "utf8").replace("slow.py", "flaky.py"));
writeFileSync(
  join(pipelines, "flaky.py"),
  `import sys, json, os
for line in sys.stdin:
    record = json.loads(line)
    broken = int(record["values"]["ID"]) % 10 == 0 and not os.path.exists(${JSON.stringify(join(folder, "repaired"))})
    answer = {"error": "The service is closed"} if broken else {"outputs": {"out": "x"}}
    print(json.dumps({"row": record["row"], **answer}), flush=True)
`,
);
pipeline("topics", `description = "Topics of complaints"
[[step]]
kind = "classify"
column = "message"
model = "topics.model"
`);
{
  const examples = join(dirname(fileURLToPath(import.meta.url)), "../../examples/complaints/labelled.csv");
  const trained = spawnSync(program, ["train", examples, "--text", "message", "--label", "topic", "--out", join(pipelines, "topics.model")], { encoding: "utf8" });
  assert.equal(trained.status, 0, trained.stderr);
}
const workbook = (name, header, rows) => {
  const path = join(folder, name);
  writeFileSync(path, `${[header, ...rows].map((row) => row.map((c) => `"${String(c).replaceAll('"', '""')}"`).join(",")).join("\r\n")}\r\n`);
  return path;
};
const words = ["great", "awful", "fine", "broken", "lovely", "late", "perfect", "useless"];
const reviews = workbook(
  "reviews.csv",
  ["ID", "Review"],
  Array.from({ length: ROWS }, (_, i) => [i + 1, i === 0 ? '<img src=x onerror="document.title=`hacked`"> great' : `It is ${words[i % 8]} and ${words[(i * 3 + 1) % 8]}, order ${i + 1}`]),
);
const ids = (name, n) => workbook(name, ["ID"], Array.from({ length: n }, (_, i) => [i + 1]));
const wrong = workbook("wrong.csv", ["Number", "Words"], [[1, "a"]]);

// -- The server

const server = spawn(program, ["serve", "--port", "0", "--pipelines", pipelines, "--out", join(folder, "out")], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
const url = await new Promise((resolve, reject) => {
  createInterface({ input: server.stdout }).once("line", resolve);
  server.once("exit", (code) => reject(new Error(`serve ended with ${code}`)));
});
const token = /token=(.+)$/.exec(url)[1];
const api = async (path, method = "GET") => {
  const response = await fetch(new URL(path, url), { method, headers: { authorization: `Bearer ${token}` } });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
};

// -- The browser

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const contexts = [];
/** Errors on pages, from any test. */
const errors = [];
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  contexts.push(context);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error.stack));
  page.on("console", (message) => message.type() === "error" && !/Failed to load resource|ERR_INTERNET_DISCONNECTED/.test(message.text()) && errors.push(message.text()));
  await page.goto(url);
  await page.getByRole("heading", { level: 1 }).waitFor();
  return page;
}

let states = 0;
/** Looks at a state of the page: no serious finding of axe in light and dark, nothing wider than the window. */
async function look(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`), fullPage: true });
    // As a page's own script, the strict policy of the page would refuse it.
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    const serious = found.violations.filter((v) => ["serious", "critical"].includes(v.impact));
    assert.deepEqual(serious.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(" ; ")}`), [], `${name}, ${colorScheme}`);
    states += 1;
  }
  await page.emulateMedia({ colorScheme: "light" });
  const [wide, room] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
  assert.ok(wide <= room, `${name}: the page is ${wide} px wide in a window of ${room} px`);
}

async function start(page, file, name) {
  await page.getByRole("link", { name: "New run" }).click();
  await page.getByLabel("Drop a workbook here").setInputFiles(file);
  await page.getByLabel("Pipeline").selectOption(name);
}
const lead = (page, text) => page.locator("p.lead", { hasText: text }).waitFor({ timeout: 120_000 });
const button = (page, name) => page.getByRole("button", { name });
/** Waits until the page keeps no verdict that the server has not confirmed. */
const sent = (page) => page.waitForFunction(() => !Object.keys(localStorage).some((key) => key.startsWith("rowmill-verdicts")), undefined, { timeout: 30_000 });
const runOf = (page) => decodeURIComponent(page.url().split("#/runs/")[1].split("/")[0]);

const tests = {
  async "the page is small and paints soon"() {
    const page = await open();
    const bytes = await page.evaluate(() => performance.getEntries().filter((e) => "transferSize" in e).reduce((sum, e) => sum + e.decodedBodySize, 0));
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
    assert.ok(bytes > 10_000 && bytes < 100_000, `${bytes} bytes`);
    assert.ok(paint < 500, `first paint after ${paint} ms`);
    const foreign = await page.evaluate((origin) => performance.getEntriesByType("resource").filter((e) => !e.name.startsWith(origin)).length, new URL(url).origin);
    assert.equal(foreign, 0, "requests to other hosts");
    assert.ok(!page.url().includes("token"), "the token stays in the address");
    await look(page, "new-run");
    return `${bytes} bytes, first paint ${Math.round(paint)} ms`;
  },

  async "upload to download"() {
    const page = await open();
    await start(page, reviews, "reviews");
    await button(page, `Start: 1,100 rows`).waitFor({ timeout: 60_000 });
    await look(page, "preview");
    await button(page, /^Start/).click();
    await lead(page, "Done");
    await look(page, "done");
    const loading = page.waitForEvent("download");
    await button(page, "Download the workbook").click();
    const file = join(folder, "downloaded.xlsx");
    await (await loading).saveAs(file);
    assert.equal(readFileSync(file).subarray(0, 2).toString(), "PK");
    assert.equal(page.context().pages()[0], page);
    await page.getByRole("link", { name: "Runs", exact: true }).first().click();
    await page.getByRole("link", { name: "reviews.csv" }).waitFor();
    await look(page, "runs");
  },

  async "keyboard review: 1,000 verdicts in 60 s with 200 ms of latency"() {
    const page = await open();
    const { runs } = await api("/runs");
    const run = runs.find((r) => r.pipeline === "reviews").run;
    await page.evaluate((id) => (location.hash = `#/runs/${encodeURIComponent(id)}/review`), run);
    await page.locator("[role=option][aria-selected=true]").waitFor();
    await look(page, "review");
    assert.equal(await page.title(), "Review · Rowmill", "text of a workbook became markup");
    const network = await page.context().newCDPSession(page);
    await network.send("Network.emulateNetworkConditions", { offline: false, latency: 200, downloadThroughput: -1, uploadThroughput: -1 });
    // From the key to the frame that follows the change.
    await page.evaluate(() => {
      globalThis.painted = [];
      addEventListener("keydown", (event) => {
        const pressed = event.timeStamp;
        const before = document.querySelector("[aria-selected=true]")?.id;
        requestAnimationFrame(() => setTimeout(() => globalThis.painted.push([performance.now() - pressed, document.querySelector("[aria-selected=true]")?.id !== before])));
      }, true);
    });
    const began = Date.now();
    for (let i = 0; i < 1000; i += 1) {
      await page.keyboard.press(i % 4 === 3 ? "2" : "a");
      await page.evaluate((n) => new Promise((resolve) => { const ask = () => (globalThis.painted.length > n ? resolve() : setTimeout(ask, 1)); ask(); }), i);
    }
    const pressed = (Date.now() - began) / 1000;
    await page.getByText("All saved").waitFor({ timeout: 60_000 });
    const seconds = (Date.now() - began) / 1000;
    const painted = await page.evaluate(() => globalThis.painted);
    const times = painted.map(([ms]) => ms).sort((a, b) => a - b);
    assert.ok(painted.every(([, moved]) => moved), `${painted.filter(([, moved]) => !moved).length} keys did not show the next row`);
    const p99 = times[Math.floor(times.length * 0.99)];
    const summary = await api(`/runs/${encodeURIComponent(run)}`);
    assert.equal(summary.reviews.approved + summary.reviews.overridden, 1000);
    assert.ok(seconds < 60, `${seconds} s`);
    assert.ok(p99 < 50, `the next row was painted after ${p99} ms (p99)`);
    await look(page, "reviewed");
    return `1,000 verdicts in ${seconds.toFixed(1)} s (${pressed.toFixed(1)} s of keys), painted after ${times[500].toFixed(0)} ms (median), ${p99.toFixed(0)} ms (p99)`;
  },

  async "undo, labels and a reload lose nothing"() {
    const page = await open();
    const { runs } = await api("/runs");
    const run = runs.find((r) => r.pipeline === "reviews").run;
    const open_rows = async () => (await api(`/runs/${encodeURIComponent(run)}`)).reviews.open;
    const before = await open_rows();
    await page.evaluate((id) => (location.hash = `#/runs/${encodeURIComponent(id)}/review`), run);
    await page.locator("[role=option][aria-selected=true]").waitFor();
    await page.keyboard.press("1");
    await page.getByText("All saved").waitFor();
    assert.equal(await open_rows(), before - 1);
    await page.keyboard.press("z");
    await sent(page);
    assert.equal(await open_rows(), before);
    // Offline, then a reload: the verdicts are sent afterwards.
    await page.context().setOffline(true);
    for (const key of ["a", "3", "a"]) await page.keyboard.press(key);
    page.on("dialog", (dialog) => dialog.accept());
    await page.context().setOffline(false);
    await page.reload();
    await page.getByText("All saved").waitFor({ timeout: 30_000 });
    await sent(page);
    assert.equal(await open_rows(), before - 3);
  },

  async "two reviewers: the second one sees the verdict of the first"() {
    const { runs } = await api("/runs");
    const run = runs.find((r) => r.pipeline === "reviews").run;
    const pages = [await open(), await open()];
    for (const page of pages) {
      await page.evaluate((id) => (location.hash = `#/runs/${encodeURIComponent(id)}/review`), run);
      await page.locator("[role=option][aria-selected=true]").waitFor();
    }
    await pages[0].keyboard.press("1");
    await pages[0].getByText("All saved").waitFor();
    await pages[1].keyboard.press("3");
    await pages[1].locator("#notice", { hasText: "already reviewed by" }).waitFor();
    await look(pages[1], "conflict");
  },

  async "a failed run says why"() {
    const page = await open();
    await start(page, wrong, "reviews");
    await page.locator(".box.failed").waitFor({ timeout: 60_000 });
    assert.match(await page.locator(".box.failed").innerText(), /Review/);
    await look(page, "refused");
  },

  async "cancel a run"() {
    const page = await open();
    await start(page, ids("many.csv", 600), "slow");
    await button(page, /^Start/).click({ timeout: 60_000 });
    await button(page, "Cancel the run").waitFor({ timeout: 60_000 });
    await look(page, "running");
    await button(page, "Cancel the run").click();
    await look(page, "confirm");
    await page.locator("dialog").getByRole("button", { name: "Cancel the run" }).click();
    await lead(page, "Stopped");
    const { counts } = await api(`/runs/${encodeURIComponent(runOf(page))}`);
    assert.ok(counts.missing > 0, JSON.stringify(counts));
    assert.equal(counts.ok + counts.failed + counts.missing, 600);
    await look(page, "cancelled");
  },

  async "retry the failed rows"() {
    const page = await open();
    await start(page, ids("some.csv", 50), "flaky");
    await button(page, /^Start/).click({ timeout: 60_000 });
    await lead(page, "5 failed");
    await page.getByText("The service is closed").first().waitFor();
    await look(page, "with-errors");
    writeFileSync(join(folder, "repaired"), "");
    await button(page, "Retry 5 rows").click();
    await lead(page, "50 of 50 rows done");
  },

  async "a text is labeled, approved and changed"() {
    const page = await open();
    await page.getByRole("link", { name: "Predict" }).click();
    await page.getByLabel("Pipeline").selectOption("topics");
    await page.getByLabel("Text").fill("The courier never came and nobody answers the phone");
    await button(page, "Predict").click();
    await page.locator("p.lead", { hasText: "delivery" }).waitFor();
    const said = async () => (await api("/feedback?pipeline=topics")).feedback.map((one) => [one.verdict, one.final]);
    await button(page, "Approve").click();
    await page.getByText("Saved: delivery").waitFor();
    assert.deepEqual(await said(), [["approved", "delivery"]]);
    await button(page, "product").click();
    await page.getByText("Saved: product").waitFor();
    assert.deepEqual(await said(), [["overridden", "product"]]);
    await look(page, "predicted");
    await page.setViewportSize({ width: 390, height: 800 });
    await look(page, "phone-predicted");
  },

  async "a run is deleted after a question"() {
    const page = await open();
    await start(page, ids("few.csv", 3), "flaky");
    await button(page, /^Start/).click({ timeout: 60_000 });
    await lead(page, "Done");
    const run = runOf(page);
    await button(page, "Delete").click();
    await look(page, "confirm-delete");
    await page.locator("dialog").getByRole("button", { name: "Cancel" }).click();
    assert.ok(await api(`/runs/${run}`));
    await button(page, "Delete").click();
    await page.locator("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("heading", { name: "Runs" }).waitFor();
    assert.equal(await page.getByRole("link", { name: "few.csv" }).count(), 0);
    assert.ok(!(await api("/runs")).runs.some((one) => one.run === run));
  },

  async "phone width, and two tabs"() {
    const page = await open({ viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true });
    await look(page, "phone-new-run");
    const { runs } = await api("/runs");
    const run = runs.find((r) => r.pipeline === "reviews").run;
    for (const view of ["#/runs", `#/runs/${encodeURIComponent(run)}`, `#/runs/${encodeURIComponent(run)}/review`, "#/predict"]) {
      await page.evaluate((hash) => (location.hash = hash), view);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.waitForLoadState("networkidle");
      await look(page, `phone-${view.replace(/.*\//, "").slice(-12)}`);
    }
    const tab = await page.context().newPage();
    await tab.goto(url);
    await tab.getByRole("heading", { name: "New run" }).waitFor();
  },

  async "the API has a page without the token"() {
    const page = await (await browser.newContext({ viewport: { width: 1200, height: 900 } })).newPage();
    await page.goto(new URL("/docs", url).href);
    await page.getByRole("heading", { name: "DELETE /runs/{run}", exact: true }).waitFor();
    await look(page, "docs");
    await page.setViewportSize({ width: 390, height: 800 });
    await look(page, "phone-docs");
    await page.context().close();
  },

  async "without the token there is nothing to see"() {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(new URL("/", url).href);
    await page.getByRole("heading", { name: "You are not signed in" }).waitFor();
    await look(page, "not-signed-in");
  },
};

const wanted = process.argv.slice(4);
let failures = 0;
for (const [name, test] of Object.entries(tests)) {
  if (wanted.length && !wanted.some((part) => name.includes(part))) continue;
  const began = Date.now();
  try {
    const measured = await test();
    assert.deepEqual(errors.splice(0), [], "errors on the page");
    console.log(`ok: ${name}${measured ? `: ${measured}` : ""} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED: ${name}: ${error.stack}`);
    const page = contexts.at(-1)?.pages()[0];
    await page?.screenshot({ path: join(shots, "failed.png"), fullPage: true }).catch(() => {});
    if (page) console.log((await page.locator("body").innerText().catch(() => "")).slice(0, 1500));
  }
  for (const context of contexts.splice(0)) await context.close();
}
console.log(`${states} states of the page looked at, screenshots in ${shots}`);
await browser.close();
server.kill("SIGINT");
process.exit(failures ? 1 : 0);
