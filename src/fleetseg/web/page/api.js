// Calls to the service: the key, problem documents, answers with their maps.

let key = sessionStorage.getItem("fleetseg-key") ?? "";
let askForKey = async () => "";

/** A refusal or failure; its message is the problem document's sentence. */
export class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** `ask(wrong)` shows a dialog and resolves to a key; it is called whenever the service wants one. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** Subprotocols of the stream: browsers cannot set headers there, so the key travels among them. */
export function streamProtocols() {
  const encoded = btoa(String.fromCharCode(...new TextEncoder().encode(key)));
  const safe = encoded.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return key ? ["fleetseg.v1", `fleetseg.key.${safe}`] : ["fleetseg.v1"];
}

async function call(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError("The service does not answer; is it still running?", 0);
    }
    if (response.ok) return response;
    if (response.status !== 401) throw new ServiceError(await sentence(response), response.status);
    key = await askForKey(Boolean(key));
    sessionStorage.setItem("fleetseg-key", key);
  }
}

async function sentence(response) {
  try {
    const { detail } = await response.json();
    return detail.charAt(0).toUpperCase() + detail.slice(1) + ".";
  } catch {
    return `The service answered ${response.status}.`;
  }
}

export const models = async () => (await call("/v1/models")).json();
export const blobOf = async (path) => (await call(path)).blob();

function post(blob, parameters, signal) {
  // The browser's own idea of a type may be anything; the service looks at the bytes.
  const headers = { "Content-Type": "application/octet-stream" };
  return call(`/v1/segment?${new URLSearchParams(parameters)}`, { method: "POST", body: blob, headers, signal });
}

/** The mask of a picture, as an indexed PNG of its full size. */
export const mask = async (blob, choice) => (await post(blob, { ...choice, format: "mask" })).blob();

/** A picture that the browser cannot show itself, as the service decodes it. */
export async function decoded(blob) {
  return (await post(blob, { format: "overlay", opacity: 0, legend: false })).blob();
}

/** Facts, class map and confidence of a picture. */
export async function segment(blob, choice, signal) {
  const facts = await (await post(blob, { ...choice, format: "json", maps: true }, signal)).json();
  const png = (url) => new Blob([Uint8Array.from(atob(url.split(",")[1]), (letter) => letter.charCodeAt(0))]);
  return { facts, classes: await plane(png(facts.mask)), confidence: await plane(png(facts.confidence)) };
}

const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

/** The values of a grey PNG as {width, height, values}. */
export async function plane(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  if (scratch.canvas.width !== width || scratch.canvas.height !== height) {
    scratch.canvas.width = width;
    scratch.canvas.height = height;
  }
  scratch.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = scratch.getImageData(0, 0, width, height);
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = data[4 * i];
  return { width, height, values };
}
