// Sign-in with OpenID Connect on AWS: the authorization code flow with PKCE. On one machine the address has
// the token.

import { keepToken } from "./api.js";

const VERIFIER = "rowmill-verifier";
const BACK = "rowmill-back";

const base64 = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64(crypto.getRandomValues(new Uint8Array(32)));
const digest = async (text) => base64(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
const home = () => `${location.origin}/`;

/** How people sign in; null on one machine. */
async function issuer() {
  if (location.protocol !== "https:") return null;
  const { sign_in: found } = await fetch("/sign-in").then((response) => response.json());
  if (!found) return null;
  const about = await fetch(`${found.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  return { ...(await about.json()), client: found.client };
}

/** Leaves for the page of the issuer, which comes back with a code. */
export async function signIn() {
  const to = await issuer();
  if (!to) return false;
  const verifier = random();
  sessionStorage.setItem(VERIFIER, verifier);
  sessionStorage.setItem(BACK, location.hash);
  const asked = new URLSearchParams({
    response_type: "code",
    client_id: to.client,
    redirect_uri: home(),
    scope: "openid email",
    // Only this tab knows the verifier, so no other request can have started this sign-in.
    state: await digest(`state ${verifier}`),
    code_challenge: await digest(verifier),
    code_challenge_method: "S256",
  });
  location.assign(`${to.authorization_endpoint}?${asked}`);
  return true;
}

/** Takes the code out of the address and exchanges it for a token. */
export async function takeCode() {
  const found = new URLSearchParams(location.search);
  const verifier = sessionStorage.getItem(VERIFIER);
  if (!found.has("code") || !verifier) return;
  sessionStorage.removeItem(VERIFIER);
  history.replaceState(null, "", `/${sessionStorage.getItem(BACK) || "#/"}`);
  if (found.get("state") !== (await digest(`state ${verifier}`))) return;
  const to = await issuer();
  if (!to) return;
  const answer = await fetch(to.token_endpoint, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: to.client,
      code: found.get("code"),
      redirect_uri: home(),
      code_verifier: verifier,
    }),
  });
  if (answer.ok) keepToken((await answer.json()).id_token);
}
