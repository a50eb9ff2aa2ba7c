// The classes: colour, name, share, a switch each; pointing at one makes it stand out.

import { pointOut, setHidden } from "./stage.js";

const list = document.getElementById("legend");
const all = document.getElementById("toggle-all");
const percent = (share) => (share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : share > 0 ? "< 0.1 %" : "–");

let rows = [];

export function setClasses(classes) {
  rows = classes.map(({ name, colour }, id) => row(name, colour, id));
  list.replaceChildren(...rows.map(({ item }) => item));
  apply();
}

function row(name, colour, id) {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
  const swatch = Object.assign(document.createElement("i"), { className: "swatch" });
  const text = Object.assign(document.createElement("span"), { className: "name", textContent: name });
  const share = Object.assign(document.createElement("span"), { className: "share", textContent: "–" });
  const bar = Object.assign(document.createElement("span"), { className: "share-bar" });
  swatch.style.background = colour;
  bar.style.background = colour;
  bar.setAttribute("aria-hidden", "true");
  box.addEventListener("change", apply);
  for (const event of ["pointerenter", "focusin"]) item.addEventListener(event, () => pointOut(id));
  for (const event of ["pointerleave", "focusout"]) item.addEventListener(event, () => pointOut(null));
  label.append(box, swatch, text, share);
  item.append(label, bar);
  item.dataset.name = name;
  return { item, box, share, bar, name, id };
}

/** Shares by name; of still pictures the largest come first, live ones would only jump about. */
export function setShares(shares, sorted) {
  for (const { item, share, bar, name } of rows) {
    const value = shares?.[name] ?? 0;
    share.textContent = shares ? percent(value) : "–";
    bar.style.inlineSize = `${100 * value}%`;
    item.classList.toggle("absent", Boolean(shares) && value === 0);
  }
  const order = [...rows];
  if (sorted && shares) order.sort((a, b) => shares[b.name] - shares[a.name]);
  const changed = order.some(({ item }, place) => list.children[place] !== item);
  if (changed && !list.contains(document.activeElement)) list.replaceChildren(...order.map(({ item }) => item));
}

function apply() {
  const hidden = new Set(rows.filter(({ box }) => !box.checked).map(({ id }) => id));
  all.textContent = hidden.size ? "Show all" : "Hide all";
  setHidden(hidden);
}

all.addEventListener("click", () => {
  const checked = rows.some(({ box }) => !box.checked);
  for (const { box } of rows) box.checked = checked;
  apply();
});
