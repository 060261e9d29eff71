// Calls of the playground's own methods. A failed call is { failure }, with the kind that the page has a sentence for.

const TOKEN = "shortlist-admin-token";
const JSON_TYPE = { "content-type": "application/json" };

/** Keep the admin token that the address brought, and take it out of the address. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("admin");
  if (token === null) return;
  setToken(token);
  history.replaceState(null, "", location.pathname + location.search);
}

/** Keep a token until the tab is closed; an empty one is forgotten. */
export function setToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? more : { ...more, authorization: `Bearer ${token}` };
}

async function call(path, options) {
  try {
    const answer = await fetch(path, options);
    const type = answer.headers.get("content-type") ?? "";
    if (type.startsWith("application/json")) return await answer.json();
    return { failure: { kind: "internal", details: (await answer.text()).trim() } };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { failure: { kind: "page_unreachable", details: String(error) } };
  }
}

export const get = (path, signal) => call(`/api/${path}`, { headers: headers(), signal });

export const post = (path, value, signal) =>
  call(`/api/${path}`, { method: "POST", headers: headers(JSON_TYPE), body: JSON.stringify(value), signal });
