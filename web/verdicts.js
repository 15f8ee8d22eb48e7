// Sends verdicts in batches, in order, and loses none: what is not confirmed is kept in the browser's storage
// and sent again after a lost connection or a reload.

import { post } from "./api.js";

/** The most verdicts in one request. Source: the API's limit. */
const BATCH = 100;
/** How long verdicts are collected before they are sent, in milliseconds. */
const COLLECT = 150;

export class Verdicts {
  /**
   * `settled(row, result)` is called for each verdict that the server answered; `result` is an entry of
   * `results`. `changed(waiting, offline)` is called when the number of unsent verdicts changes.
   */
  constructor(run, settled, changed) {
    this.path = `/runs/${encodeURIComponent(run)}/reviews`;
    this.key = `rowmill-verdicts-${run}`;
    this.settled = settled;
    this.changed = changed;
    this.versions = new Map();
    this.waiting = JSON.parse(localStorage.getItem(this.key) ?? "[]");
    this.sending = 0;
    this.delay = COLLECT;
    this.timer = null;
    this.warn = (event) => this.waiting.length && event.preventDefault();
    addEventListener("beforeunload", this.warn);
    if (this.waiting.length) this.schedule();
  }

  /** The server's version of the review of a row, as last seen. */
  seen(row, version) {
    this.versions.set(row, version);
  }

  /** Adds a verdict: `{row, verdict, value}`. */
  add(verdict) {
    this.waiting.push(verdict);
    this.store();
    this.schedule();
  }

  /** Takes back the newest verdict on a row if it has not been sent. Returns whether it could. */
  takeBack(row) {
    for (let i = this.waiting.length - 1; i >= this.sending; i -= 1) {
      if (this.waiting[i].row !== row) continue;
      this.waiting.splice(i, 1);
      this.store();
      return true;
    }
    return false;
  }

  /** Resolves when everything is sent. */
  async drained() {
    while (this.waiting.length) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  close() {
    removeEventListener("beforeunload", this.warn);
    clearTimeout(this.timer);
    this.closed = true;
    // What waits is sent all the same.
    if (this.waiting.length && !this.sending) this.send();
  }

  store() {
    if (this.waiting.length) localStorage.setItem(this.key, JSON.stringify(this.waiting));
    else localStorage.removeItem(this.key);
    this.changed(this.waiting.length, this.delay > COLLECT);
  }

  schedule() {
    if (this.sending || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.send();
    }, this.delay);
  }

  async send() {
    if (this.sending || !this.waiting.length) return;
    // Two verdicts on one row need two requests: the second one needs the version that the first one makes.
    const rows = new Set();
    const batch = [];
    for (const verdict of this.waiting) {
      if (batch.length === BATCH || rows.has(verdict.row)) break;
      rows.add(verdict.row);
      verdict.version ??= this.versions.get(verdict.row) ?? 0;
      batch.push(verdict);
    }
    this.sending = batch.length;
    try {
      const { results } = await post(this.path, { verdicts: batch });
      this.delay = COLLECT;
      this.waiting.splice(0, batch.length);
      this.sending = 0;
      for (const result of results) {
        const review = result.review ?? result.problem?.review;
        this.versions.set(result.row, review?.version ?? 0);
        this.settled(result.row, result);
      }
    } catch (error) {
      this.sending = 0;
      // A refusal of the whole batch does not change by repetition. A lost connection does.
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        this.waiting.splice(0, batch.length);
        for (const { row } of batch) this.settled(row, { row, review: null, problem: { ...error.body, detail: error.message } });
      } else {
        this.delay = Math.min(this.delay * 2, 10000);
      }
    }
    this.store();
    if (this.waiting.length && !this.closed) this.schedule();
    else if (this.waiting.length && this.delay === COLLECT) this.send();
  }
}
