// Where pictures come from: files, drops, the clipboard, the samples; and the strip that offers them again.

import { blobOf, decoded } from "./api.js";

/** Longer side of what is sent for looking at; the network sees less, and phones send twelve megapixels. */
const LONGEST = 1600;

const strip = document.getElementById("strip");

/** A picture to look at: `blob` as it came, `preview` what is shown and sent. */
export async function prepare(blob, name) {
  let bitmap;
  let source = blob;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    source = await decoded(blob); // such as TIFF; a broken file's sentence comes from the service, too
    bitmap = await createImageBitmap(source);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  if (scale === 1) return { blob, name, bitmap, preview: blob };
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const preview = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return { blob, name, bitmap: canvas, preview };
}

/** Add a picture to the strip; `choose(button)` is called when it is wanted. */
export function offer(name, url, choose, first = false) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", title: name });
  const image = Object.assign(document.createElement("img"), { src: url, alt: name, loading: "lazy" });
  button.append(image);
  button.addEventListener("click", () => choose(button));
  item.append(button);
  strip[first ? "prepend" : "append"](item);
  return button;
}

export function mark(button) {
  for (const other of strip.querySelectorAll("button")) other.setAttribute("aria-current", String(other === button));
  button?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** The samples as blobs with addresses, loaded one after the other so that they do not crowd the queue. */
export async function* samples(paths) {
  for (const [number, path] of paths.entries()) {
    const blob = await blobOf(path);
    yield { blob, name: `Sample street ${number + 1}`, url: URL.createObjectURL(blob) };
  }
}

/** A small picture for the strip, from what is shown. */
export function thumbnail({ bitmap }) {
  const canvas = document.createElement("canvas");
  const scale = 160 / Math.max(bitmap.width, bitmap.height);
  canvas.width = Math.max(1, bitmap.width * scale);
  canvas.height = Math.max(1, bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}

/** Calls `take(files)` for files that are dropped anywhere, pasted or chosen. */
export function onFiles(take) {
  const input = document.getElementById("file");
  document.getElementById("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData?.files.length) take([...clipboardData.files]);
  });
  let depth = 0; // enter and leave come for every element on the way
  const dragging = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dragging", depth > 0);
  };
  document.addEventListener("dragenter", () => dragging(1));
  document.addEventListener("dragleave", () => dragging(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(-depth);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}
