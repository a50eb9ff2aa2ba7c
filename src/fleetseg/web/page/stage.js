// The picture with its classes over it: opacity, before and after, and what lies under the pointer.

const $ = (id) => document.getElementById(id);
const frame = $("frame"), divider = $("divider"), tip = $("tip"), reticle = $("reticle");
const picture = $("picture").getContext("2d");
const overlay = $("overlay").getContext("2d");
/** How visible the other classes stay while one is pointed out in the legend. */
const FAINT = 50;

let classes = [];
let result = null; // {facts, classes, confidence}
let hidden = new Set();
let pointedOut = null;
let point = null; // inspected place, as parts of width and height
let image = null;

export const shown = () => result;

/** A list of {name, colour: "#rrggbb"}; nothing is hidden any more. */
export function setClasses(list) {
  classes = list.map(({ name, colour }) => ({ name, rgb: [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)) }));
  hidden = new Set();
  pointedOut = null;
}

/** Show a picture (bitmap, canvas); its classes come later, or at once for live frames. */
export function show(source, name, answer = null) {
  const { width, height } = source;
  if (picture.canvas.width !== width || picture.canvas.height !== height) {
    picture.canvas.width = width;
    picture.canvas.height = height;
    frame.style.setProperty("--ratio", width / height);
  }
  picture.drawImage(source, 0, 0);
  image = name;
  setResult(answer);
}

export function setResult(answer) {
  result = answer;
  describe();
  paint();
  inspect();
}

export function setHidden(ids) {
  hidden = ids;
  paint();
}

/** Let one class stand out, or none (null). */
export function pointOut(id) {
  pointedOut = id;
  paint();
}

function describe() {
  if (!result) {
    frame.setAttribute("aria-label", image ? `${image}, not labelled yet` : "No picture yet");
    return;
  }
  const parts = Object.entries(result.facts.shares)
    .filter(([, share]) => share >= 0.005)
    .sort((a, b) => b[1] - a[1])
    .map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
  frame.setAttribute("aria-label", `${image}: ${parts.join(", ")}`);
}

function paint() {
  if (!result) {
    overlay.clearRect(0, 0, overlay.canvas.width, overlay.canvas.height);
    return;
  }
  const { width, height, values } = result.classes;
  if (overlay.canvas.width !== width || overlay.canvas.height !== height) {
    overlay.canvas.width = width;
    overlay.canvas.height = height;
  }
  const table = new Uint32Array(256); // little-endian: alpha, blue, green, red
  classes.forEach(({ rgb: [r, g, b] }, id) => {
    const alpha = hidden.has(id) ? 0 : pointedOut === null || pointedOut === id ? 255 : FAINT;
    table[id] = ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
  const pixels = overlay.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = table[values[i]];
  overlay.putImageData(pixels, 0, 0);
}

export function setOpacity(percent) {
  overlay.canvas.style.opacity = percent / 100;
}

/** Left of this part of the width the picture is as it was. */
export function setCompare(percent) {
  overlay.canvas.style.clipPath = `inset(0 0 0 ${percent}%)`;
  divider.style.left = `${percent}%`;
  divider.hidden = percent <= 0 || percent >= 100;
}

/** What is seen now, as a PNG of the picture's size. */
export function composite(opacity, compare) {
  const { width, height } = picture.canvas;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(picture.canvas, 0, 0);
  const left = (width * compare) / 100;
  context.beginPath();
  context.rect(left, 0, width - left, height);
  context.clip();
  context.globalAlpha = opacity / 100;
  context.drawImage(overlay.canvas, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// ---- reading the class of a place ----

function inspect(speak = false) {
  const seen = point && result;
  tip.hidden = !seen;
  reticle.hidden = !seen || !frame.matches(":focus-visible");
  if (!seen) return;
  const { width, height, values } = result.classes;
  const index = Math.min(height - 1, Math.floor(point.y * height)) * width + Math.min(width - 1, Math.floor(point.x * width));
  const found = classes[values[index]];
  const name = found?.name ?? "no class";
  const sure = result.confidence ? `${Math.round((100 * result.confidence.values[index]) / 255)} % sure` : "";
  const [swatch, label, detail] = tip.children;
  swatch.style.background = found ? `rgb(${found.rgb})` : "transparent";
  label.textContent = name;
  detail.textContent = sure;
  for (const mark of [tip, reticle]) {
    mark.style.left = `${100 * point.x}%`;
    mark.style.top = `${100 * point.y}%`;
  }
  tip.classList.toggle("left", point.x > 0.6);
  tip.classList.toggle("below", point.y < 0.2);
  if (speak) $("reading").textContent = sure ? `${name}, ${sure}` : name;
}

export const isInspecting = () => point !== null;

frame.addEventListener("pointermove", (event) => {
  const box = frame.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  point = x >= 0 && y >= 0 && x < 1 && y < 1 ? { x, y } : null;
  inspect();
});
const forget = () => {
  point = null;
  inspect();
};
frame.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && forget());
frame.addEventListener("blur", forget);

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
frame.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return forget();
  const step = STEPS[event.key];
  if (!step) return;
  event.preventDefault();
  const size = event.shiftKey ? 0.1 : 0.02;
  const clamp = (value) => Math.min(0.999, Math.max(0, value));
  point ??= { x: 0.5, y: 0.5 };
  point = { x: clamp(point.x + size * step[0]), y: clamp(point.y + size * step[1]) };
  inspect(true);
});

/** Dragging the divider moves the slider, which stays the one truth. */
export function onDivider(moved) {
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = frame.getBoundingClientRect();
    moved(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  });
}
