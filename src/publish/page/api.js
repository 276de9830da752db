// Asks the API. Addresses are relative, so that the page works behind a prefix; a problem document becomes an
// error that says what it says.

const BASE = "api/v1/";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function read(response) {
  if (response.ok) return response.json();
  let detail = `${response.status} ${response.statusText}`;
  try {
    detail = (await response.json()).detail || detail;
  } catch {
    // Something in between answered, not laghound.
  }
  throw new Problem(response.status, detail);
}

const query = (params) => {
  const given = Object.entries(params || {}).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

/** The document at a path. */
export const get = async (path, params, signal) =>
  read(await fetch(BASE + path + query(params), {signal, headers: {accept: "application/json"}}));

/** Sends two files to be compared. */
export async function compareFiles(baseline, spiked, signal) {
  const form = new FormData();
  form.append("baseline", baseline, baseline.name);
  form.append("spiked", spiked, spiked.name);
  return read(await fetch(`${BASE}compare`, {method: "POST", body: form, signal}));
}

export const EVENTS = `${BASE}events`;
