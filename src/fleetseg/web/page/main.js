// The page: what is chosen, what is shown, and what goes wrong.

import * as api from "./api.js";
import { Camera } from "./camera.js";
import * as legend from "./legend.js";
import * as pictures from "./pictures.js";
import * as saving from "./saving.js";
import * as stage from "./stage.js";

const $ = (id) => document.getElementById(id);
/** How often the list of engines is asked for while something may still be compiling. */
const LOOK_AGAIN_MS = 4000;
const LOOK_AGAIN_TIMES = 60;

let known = { models: [], samples: [], limits: {} };
let current = null; // the picture that is shown
let camera = null;
let request = null; // its AbortController

const model = () => known.models.find(({ name }) => name === $("model").value) ?? known.models[0];
const choice = () => ({ model: $("model").value, engine: $("engine").value });

// ---- sentences ----

function complain(sentence) {
  $("alert-text").textContent = sentence;
  $("alert").hidden = false;
}
const calm = () => ($("alert").hidden = true);
$("alert-close").addEventListener("click", calm);
const say = (sentence) => ($("status").textContent = sentence);

// ---- numbers ----

function showNumbers({ facts }, { round, fps }) {
  $("network-ms").textContent = `${facts.latency_ms.toFixed(1)} ms`;
  $("round-ms").textContent = `${round.toFixed(0)} ms`;
  $("fps").textContent = fps ? fps.toFixed(1) : "–";
  $("used-engine").textContent = facts.engine;
  $("seen").textContent = facts.network_size.join(" × ");
}

// ---- still pictures ----

function showBusy(on) {
  $("busy").hidden = !on;
  $("frame").setAttribute("aria-busy", String(on));
}

/** Do `work(signal)` and give up what was done before; resolves to null if something newer came, whatever happened. */
async function instead(work) {
  request?.abort();
  const mine = (request = new AbortController());
  showBusy(true);
  try {
    const found = await work(mine.signal);
    return mine.signal.aborted ? null : found;
  } catch (error) {
    if (mine.signal.aborted) return null;
    throw error;
  } finally {
    if (request === mine) showBusy(false);
  }
}

async function look(blob, name, button) {
  stopCamera();
  calm();
  pictures.mark(button ?? null);
  try {
    return await instead(async (signal) => {
      const picture = await pictures.prepare(blob, name);
      if (signal.aborted) return null;
      current = picture;
      stage.show(picture.bitmap, name);
      saving.allow(false);
      await label(signal);
      return picture;
    });
  } catch (error) {
    complain(`${name}: ${error.message.replace(/^The image: /, "")}`); // which has no name for the service
    return null;
  }
}

/** Label the current picture by the chosen model and engine. */
async function label(signal) {
  const { preview, name } = current;
  const started = performance.now();
  const answer = await api.segment(preview, choice(), signal);
  if (signal.aborted) return;
  stage.setResult(answer);
  legend.setShares(answer.facts.shares, true);
  showNumbers(answer, { round: performance.now() - started, fps: 0 });
  saving.allow(true);
  say(`${name} is labelled.`);
}

async function take(files) {
  const images = files.filter(({ type, name }) => type.startsWith("image/") || /\.tiff?$/i.test(name) || !type);
  if (!images.length) return complain(`${files[0].name} is no picture.`);
  for (const file of images.toReversed()) {
    const picture = await look(file, file.name);
    if (!picture) continue;
    const button = pictures.offer(file.name, pictures.thumbnail(picture), (b) => look(file, file.name, b), true);
    pictures.mark(button);
  }
}

async function again() {
  if (camera || !current) return;
  calm();
  await instead(label).catch((error) => complain(error.message));
}

// ---- camera ----

async function startCamera() {
  calm();
  request?.abort();
  request = null;
  pictures.mark(null);
  camera = new Camera({
    choice: () => ({ ...choice(), confidence: stage.isInspecting() }),
    onFrame(frame, answer, numbers, blob) {
      if (answer.facts.model !== model().name) return; // chosen before; its classes are others
      showBusy(false);
      stage.show(frame, "Camera", answer);
      current = { blob, preview: blob, name: "camera", bitmap: frame };
      legend.setShares(answer.facts.shares, false);
      showNumbers(answer, numbers);
      saving.allow(true);
    },
    onError: complain,
    onEnd() {
      camera = null;
      showCamera(false);
    },
  });
  showCamera(true);
  showBusy(true);
  try {
    await camera.start();
    say("The camera is labelled live.");
  } catch (error) {
    camera?.stop();
    complain(error.message);
  }
}

function stopCamera() {
  camera?.stop();
}

function showCamera(on) {
  $("camera").textContent = on ? "Stop camera" : "Start camera";
  $("camera").setAttribute("aria-pressed", String(on));
  $("live-badge").hidden = !on;
  if (!on) showBusy(false);
}

$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));

// ---- sliders and files ----

function slider(id, apply) {
  const input = $(id);
  const output = input.parentElement.querySelector("output");
  const changed = () => {
    output.textContent = `${input.value} %`;
    apply(Number(input.value));
  };
  input.addEventListener("input", changed);
  changed();
  return changed;
}
slider("opacity", stage.setOpacity);
const compared = slider("compare", stage.setCompare);
stage.onDivider((percent) => {
  $("compare").value = percent;
  compared();
});

saving.onSave({
  current: () => current,
  mask: (blob) => api.mask(blob, choice()),
  overlay: () => stage.composite(Number($("opacity").value), Number($("compare").value)),
  complain,
});

// ---- models and engines ----

function fill(select, values, texts = values) {
  const before = select.value;
  select.replaceChildren(...values.map((value, i) => new Option(texts[i], value)));
  if (values.includes(before)) select.value = before;
}

function showEngines() {
  const engines = model().engines;
  fill($("engine"), ["auto", ...engines], [`Auto (${engines[0]})`, ...engines]);
}

function showModel() {
  legend.setClasses(model().classes);
  stage.setClasses(model().classes);
  showEngines();
  $("licence").textContent = model().licence;
}
$("model").addEventListener("change", () => {
  showModel();
  stage.setResult(null);
  legend.setShares(null);
  again();
});
$("engine").addEventListener("change", again);

async function lookAgain(times) {
  if (times === 0 || known.models.every(({ engines }) => engines.includes("native"))) return;
  await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  try {
    if (!document.hidden) {
      known = await api.models();
      showEngines();
    }
    lookAgain(document.hidden ? times : times - 1);
  } catch {
    return; // the service went away; the next picture will say so
  }
}

function askForKey(wrong) {
  const dialog = $("key-dialog");
  $("key-wrong").hidden = !wrong;
  $("key").value = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve($("key").value), { once: true }));
}

async function begin() {
  api.onKeyNeeded(askForKey);
  pictures.onFiles(take);
  known = await api.models();
  fill($("model"), known.models.map(({ name }) => name));
  $("model").value = known.default;
  showModel();
  lookAgain(LOOK_AGAIN_TIMES);
  for await (const { blob, name, url } of pictures.samples(known.samples)) {
    const button = pictures.offer(name, url, (b) => look(blob, name, b));
    if (!current && !request && !camera) look(blob, name, button);
  }
}

begin().catch((error) => complain(error.message));
