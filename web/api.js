// Requests to the API: the token, problem details, and repetition after a lost connection.

const KEY = "rowmill-token";

/** Takes the token out of the fragment of the address, so that it is neither visible nor bookmarked. */
export function takeToken() {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(KEY, decodeURIComponent(found[1]));
  history.replaceState(null, "", `${location.pathname}${location.search}#/`);
}

/** Keeps a token for this tab. */
export const keepToken = (token) => sessionStorage.setItem(KEY, token);

/** What went wrong with a request: the problem details of the API, or a lost connection. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.body = body;
  }
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Sends a request and returns the response. A write carries an idempotency key, so that repeating it
 * after a lost connection has no second effect.
 */
export async function send(method, path, body, headers = {}) {
  const token = sessionStorage.getItem(KEY);
  const options = { method, headers: { ...headers }, cache: "no-store" };
  if (token) options.headers.authorization = `Bearer ${token}`;
  if (method !== "GET") options.headers["idempotency-key"] = crypto.randomUUID();
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  for (let attempt = 0; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (attempt === 4) throw new Problem(0, { title: "The server does not answer. Check that it is still running and that you are online." });
      await wait(200 * 2 ** attempt);
      continue;
    }
    if ((response.status === 429 || response.status === 503) && attempt < 4) {
      await wait(1000 * Number(response.headers.get("retry-after") || 2 ** attempt / 2));
      continue;
    }
    if (response.ok || response.status === 304) return response;
    throw new Problem(response.status, await response.json().catch(() => ({})));
  }
}

/** The JSON of a response. */
export async function request(method, path, body) {
  const response = await send(method, path, body);
  return response.status === 204 ? null : response.json();
}

export const get = (path) => request("GET", path);
export const post = (path, body = {}) => request("POST", path, body);

/** Adds parameters that have a value to a path. */
export function query(path, parameters) {
  const text = new URLSearchParams(
    Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== ""),
  ).toString();
  return text ? `${path}?${text}` : path;
}

/**
 * Uploads a file by the form that `POST /uploads` answered. `progress` gets the share that is sent.
 * A form of S3 takes no token.
 */
export function upload(target, file, progress) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(target.fields)) form.append(name, value);
    form.append("file", file, file.name);
    const call = new XMLHttpRequest();
    call.open("POST", target.url);
    if (new URL(target.url, location.href).origin === location.origin) {
      call.setRequestHeader("authorization", `Bearer ${sessionStorage.getItem(KEY)}`);
    }
    call.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) return resolve();
      let problem = {};
      try {
        problem = JSON.parse(call.responseText);
      } catch {
        // S3 answers XML, which says nothing to the reader of this page.
      }
      return reject(new Problem(call.status, problem));
    };
    call.onerror = () => reject(new Problem(0, { title: "The upload was interrupted. Try again." }));
    call.send(form);
  });
}

/** Downloads a file that needs the token, under the name that the server gives it. */
export async function download(path, name) {
  let response = await send("GET", path, undefined, { accept: "application/json, */*" });
  // On AWS, a large export is built first.
  while (response.status === 202) {
    await wait(1000 * Number(response.headers.get("retry-after") || 2));
    response = await send("GET", response.headers.get("location"), undefined, { accept: "application/json, */*" });
  }
  if (/^application\/json(;|$)/.test(response.headers.get("content-type"))) {
    // On AWS the file is in S3, at an address that works for some minutes.
    location.assign((await response.json()).url);
    return;
  }
  const given = /filename="?([^";]+)/.exec(response.headers.get("content-disposition") || "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = given ? given[1] : name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
