// Shows openapi.json as a page.

import { blobOf, onKeyNeeded } from "./api.js";

const operations = document.getElementById("operations");

function element(name, text = "", ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

/** Text in which `code` stands between backticks. */
function prose(name, text) {
  const parts = text.split("`").map((part, place) => (place % 2 ? element("code", part) : part));
  return element(name, "", ...parts);
}

function table(heading, rows) {
  if (!rows.length) return [];
  const body = element("tbody");
  for (const cells of rows) body.append(element("tr", "", ...cells.map((cell) => element("td", cell))));
  return [element("h3", heading), element("table", "", body)];
}

function kind(schema) {
  const options = schema.enum ?? schema.anyOf?.map(({ type }) => type).filter((type) => type !== "null");
  const text = options ? options.join(", ") : schema.type;
  return schema.default === undefined || schema.default === null ? text : `${text}; default ${schema.default}`;
}

function section(path, method, { summary, description, parameters = [], responses }) {
  const heading = element("h2", "", element("b", method.toUpperCase()), path);
  const made = element("section", "", heading, prose("p", description ?? summary));
  made.className = "operation";
  made.append(
    ...table("Parameters", parameters.map(({ name, schema, description: text }) => [name, kind(schema), text ?? ""])),
    ...table("Answers", Object.entries(responses).map(([status, { description: text }]) => [status, text])),
  );
  return made;
}

onKeyNeeded(async (wrong) => prompt(wrong ? "That key was not accepted. API key:" : "API key:") ?? "");
try {
  const { paths } = JSON.parse(await (await blobOf("/openapi.json")).text());
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) operations.append(section(path, method, operation));
  }
} catch (error) {
  const trouble = document.getElementById("trouble");
  trouble.textContent = error.message;
  trouble.hidden = false;
}
