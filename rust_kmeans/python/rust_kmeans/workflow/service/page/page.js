"use strict";

const byId = (id) => document.getElementById(id);
let token = null;
let features = [];

/** Ask the service; return its JSON, or throw with its reason. */
async function ask(path, body) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  const request = { headers };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    request.method = "POST";
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Error("The service does not answer.");
  }
  const answer = await response.json();
  if (!response.ok) {
    throw Object.assign(new Error(answer.error), { status: response.status });
  }
  return answer;
}

function show(problem) {
  byId("problem").textContent = problem === null ? "" : problem.message;
  byId("problem").hidden = problem === null;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

/** Return a number, or null for what is missing. */
function numberOf(text, what) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const number = Number(trimmed);
  if (!Number.isFinite(number)) throw new Error(`${what} is '${trimmed}': it must be a number.`);
  return number;
}

/** Return the row that was pasted: an array, or an object by name. */
function rowOf(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("[") || trimmed.startsWith("{")) {
    let row;
    try {
      row = JSON.parse(trimmed);
    } catch {
      throw new Error("The row begins like JSON and is none.");
    }
    return Object.hasOwn(row, "features") && !features.some((feature) => feature.name === "features") ? row.features : row;
  }
  // Tabs and commas at the ends stand for missing values.
  const line = text.replace(/^\n+|\s*\n\s*$/g, "");
  if (line.includes("\n")) throw new Error("There is more than one line: paste one row.");
  const separator = ["\t", ";", ","].find((mark) => line.includes(mark));
  const parts = separator === undefined ? trimmed.split(/\s+/) : line.split(separator);
  return parts.map((part, place) => numberOf(part, `Value ${place + 1}`));
}

function rowOfFields() {
  const row = {};
  for (const { name } of features) row[name] = numberOf(fieldOf(name).value, name);
  return row;
}

const fieldOf = (name) => byId("fields").querySelector(`[data-name="${CSS.escape(name)}"]`);

/** Put what was pasted into the fields, as far as it fits, so that one value can be changed. */
function fillFields(row) {
  features.forEach(({ name }, place) => {
    fieldOf(name).value = (Array.isArray(row) ? row[place] : row[name]) ?? "";
  });
}

const readable = (number) => number.toLocaleString("en", { maximumSignificantDigits: 5 });

function showAnswer(answer) {
  const { cluster_label: label, distances_to_centroids: distances, margin } = answer;
  byId("cluster").textContent = `Cluster ${label}`;
  byId("margin").textContent =
    margin === null
      ? "It is the only cluster."
      : `Margin ${readable(margin)}: so much farther is the second nearest center. Near 0 the row lies between clusters.`;
  const farthest = Math.max(...distances);
  byId("distances").replaceChildren(
    ...distances.map((distance, cluster) => {
      const line = element("tr", undefined, cluster === label ? "nearest" : "");
      const bar = element("div", undefined, "bar");
      bar.style.width = `${farthest > 0 ? (100 * distance) / farthest : 0}%`;
      const cell = element("td");
      cell.append(bar);
      line.append(element("th", `cluster ${cluster}`), cell, element("td", readable(distance)));
      line.firstChild.scope = "row";
      return line;
    }),
  );
  byId("answer").hidden = false;
}

/** The last thing the reader has touched is what is asked about. */
let pasted = true;

async function predict(event) {
  event.preventDefault();
  byId("ask").disabled = true;
  try {
    const row = pasted ? rowOf(byId("row").value) : rowOfFields();
    const answer = await ask("predict_cluster", { features: row });
    if (Array.isArray(answer.cluster_label)) throw new Error("There is more than one row: paste one.");
    if (pasted) fillFields(row);
    show(null);
    showAnswer(answer);
  } catch (problem) {
    byId("answer").hidden = true;
    show(problem);
  } finally {
    byId("ask").disabled = false;
  }
}

function showModel(model) {
  features = model.features;
  byId("name").textContent = `Which cluster of ${model.name} is a row in?`;
  byId("about").textContent =
    `${model.n_clusters} clusters of ${model.features.length} features, found in ` +
    `${model.n_samples.toLocaleString("en")} rows. Model ${model.model_id}.`;
  byId("row").placeholder = features.map((feature) => feature.name).join(", ");
  byId("fields").replaceChildren(
    ...features.map(({ name, may_miss: mayMiss }) => {
      const label = element("label", mayMiss ? name : `${name} (needed)`);
      const field = element("input");
      field.inputMode = "decimal";
      field.dataset.name = name;
      field.autocomplete = "off";
      label.append(field);
      return label;
    }),
  );
  byId("row-form").hidden = false;
}

/** List the routes, each with what it takes. */
function showRoutes({ paths, components }) {
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
  );
  byId("routes").replaceChildren(
    ...routes.map(({ path, method, operation }) => {
      const details = element("details");
      const summary = element("summary");
      summary.append(element("code", `${method.toUpperCase()} ${path}`), ` ${operation.summary}`);
      details.append(summary);
      for (const [what, described] of [["takes", operation.requestBody], ["returns", operation.responses["200"]]]) {
        for (const [type, { schema }] of Object.entries(described?.content ?? {})) {
          const named = (schema.anyOf ?? [schema]).map(({ $ref: reference }) =>
            reference === undefined ? schema : components.schemas[reference.split("/").pop()],
          );
          details.append(element("p", `${what} ${type}`, "soft"));
          details.append(...named.map((part) => element("pre", JSON.stringify(part, null, 2))));
        }
      }
      return details;
    }),
  );
}

async function start() {
  try {
    showModel(await ask("model"));
    byId("token-form").hidden = true;
    showRoutes(await ask("openapi.json"));
    show(null);
  } catch (problem) {
    byId("token-form").hidden = problem.status !== 401;
    // Without a token nothing has gone wrong yet.
    show(problem.status === 401 && token === null ? null : problem);
  }
}

byId("row-form").addEventListener("submit", predict);
byId("row").addEventListener("input", () => { pasted = true; });
byId("fields").addEventListener("input", () => { pasted = false; });
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  start();
});
start();
