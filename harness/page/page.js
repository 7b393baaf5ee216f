"use strict";
// Draws the report from the JSON in the page. Nothing is fetched; all statistics were made by harness/analysis.py.
(() => {
  const DATA = JSON.parse(document.getElementById("results").textContent);
  const NAMES = DATA.implementations;
  const LINES = DATA.lines.implementation.map((_, index) => ({
    ...Object.fromEntries(Object.entries(DATA.lines).map(([name, values]) => [name, values[index]])), index }));
  const AXES = { n_samples: "samples", n_features: "features", n_clusters: "clusters" };
  const state = { baseline: DATA.baseline, sort: "", descending: false, hidden: new Set(), axis: "n_samples",
    metric: "ratio", open: new Set() };
  const byId = (id) => document.getElementById(id);

  // Elements.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }
  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const distinct = (values) => [...new Set(values)];
  const ascending = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));

  // Figures as text.
  const known = (value) => value !== null && value !== undefined;
  const precise = (value) => (value >= 999.5 ? String(Math.round(value)) : value.toPrecision(3));
  function seconds(value) {
    if (!known(value)) return "–";
    if (value >= 1) return `${precise(value)} s`;
    return value >= 1e-3 ? `${precise(value * 1e3)} ms` : `${precise(value * 1e6)} µs`;
  }
  function bytes(value) {
    if (!known(value)) return "–";
    const mebibytes = value / 2 ** 20;
    return mebibytes < 1024 ? `${mebibytes < 10 ? mebibytes.toFixed(1) : Math.round(mebibytes)} MiB`
      : `${(mebibytes / 1024).toFixed(1)} GiB`;
  }
  const times = (value) => (known(value) ? `${value < 10 ? value.toFixed(2) : precise(value)}×` : "–");
  function span(low, high, text) {
    if (!known(low)) return "–";
    const [first, last] = [text(low), text(high)];
    const unit = (figure) => figure.replace(/^[\d.,]+/, "");
    return unit(first) === unit(last) ? `${first.slice(0, first.length - unit(first).length)}–${last}` : `${first} – ${last}`;
  }
  function percent(value) {
    if (!known(value)) return "–";
    const hundredths = value * 100;
    // Less than the rounding that the referee allows is no difference.
    if (Math.abs(value) < 1e-9) return "0 %";
    return `${hundredths > 0 ? "+" : "−"}${Math.abs(hundredths) >= 0.01 ? Math.abs(hundredths).toFixed(2)
      : Math.abs(hundredths).toExponential(0)} %`;
  }
  // Of few repeats the ends of an interval are no more than the range seen.
  function ends(low, high, text, repeats) {
    return span(low, high, text) + (known(low) && repeats < DATA.min_repeats ? " (range)" : "");
  }
  const share = (value) => (known(value) ? `${precise(value * 100)} %` : "–");
  function count(value) {
    const power = Math.round(Math.log10(value));
    return value >= 1000 && value === 10 ** power ? `1e${power}` : value.toLocaleString("en");
  }

  const ratio = (line) => DATA.ratios[state.baseline].ratio[line.index];
  const ratioLow = (line) => DATA.ratios[state.baseline].ratio_low[line.index];
  const pairs = (line) => DATA.ratios[state.baseline].n_pairs[line.index];
  const ratioHigh = (line) => DATA.ratios[state.baseline].ratio_high[line.index];
  const look = (name) => {
    const place = NAMES.indexOf(name);
    // The first colour is of the first alone; the others take turns, told apart by dashes and marks.
    return { color: `var(--c${place && 1 + ((place - 1) % 7)})`, dash: ["", "5 3", "1.5 2.5"][Math.floor((place - 1) / 7) % 3] ?? "",
      mark: place % 5 };
  };

  // What the controls leave.
  const chosen = (id) => byId(id).value;
  function shown(controls = ["run", "track", "dtype", "data"]) {
    return LINES.filter((line) => controls.every((id) =>
      !chosen(id) || line[id === "run" ? "run_id" : id] === chosen(id)));
  }
  function options(id, values, all, start) {
    const select = byId(id);
    if (all) select.append(make("option", { value: "" }, all));
    for (const value of values) select.append(make("option", { value }, value));
    select.value = start;
    select.addEventListener("change", () => {
      if (id === "baseline") state.baseline = select.value;
      render();
    });
  }

  // Verdict and losses.
  function renderVerdict() {
    const [[claim, detail], ...more] = DATA.verdicts[state.baseline];
    byId("claim").textContent = claim;
    byId("detail").textContent = detail;
    byId("more-verdicts").replaceChildren(...more.map(([other, rest]) => make("p", {}, `${other} `, make("span", {}, rest))));
  }
  function lostNote(lost) {
    const worse = `more than ${DATA.margin * 100} % above the objective of ${state.baseline}`;
    const partly = lost.filter((cell) => known(cell.seconds) && cell.status !== "ok").length;
    if (!shown(["run"]).some((line) => line.implementation === DATA.ours)) return `Nothing of ${DATA.ours} was measured.`;
    if (!lost.length) {
      return `In no cell is ${DATA.ours} slower than ${state.baseline} or the fastest exact peer, without an answer, or ${worse}.`;
    }
    return `${lost.length} ${lost.length === 1 ? "cell is" : "cells are"} lost: ${DATA.ours} is slower than ${state.baseline} or the `
      + `fastest exact peer (its ratio, repeat by repeat, is below 1), a repeat of it has no answer`
      + `${partly ? ` (in ${partly} others have one)` : ""}, or it ends ${worse}. Where the interval holds 1, it may be noise.`;
  }
  function renderLost() {
    // Both tracks and types, whichever are chosen above: no loss is out of sight.
    const lost = DATA.lost[state.baseline].filter((cell) => !chosen("run") || cell.run_id === chosen("run"));
    byId("lost-note").textContent = lostNote(lost);
    if (!lost.length) return byId("lost").replaceChildren();
    const head = ["cell", "track", DATA.ours, "fastest other", `speed of ${DATA.ours} over it`, "95 % interval", "objective"];
    const body = lost.map((cell) => make("tr", {},
      make("th", { scope: "row", class: "first" }, cell.scenario), make("td", {}, cell.track),
      make("td", { class: "number" }, [...(known(cell.seconds) ? [seconds(cell.seconds)] : []),
        ...(cell.status === "ok" ? [] : [cell.status])].join(", ")),
      make("td", {}, cell.ahead ?? "–"),
      make("td", { class: cell.ratio < 1 ? "number slower" : "number" }, times(cell.ratio)),
      make("td", { class: "number range" }, ends(cell.ratio_low, cell.ratio_high, times, cell.n_pairs)),
      make("td", { class: "number" }, percent(cell.objective_gap))));
    byId("lost").replaceChildren(make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((text, place) =>
        make("th", { scope: "col", class: place === 2 || place > 3 ? "number" : false }, text)))),
      make("tbody", {}, ...body)));
  }

  // The table.
  const COLUMNS = [
    { id: "implementation", text: "implementation", value: (line) => line.implementation },
    { id: "data", text: "data", value: (line) => line.data },
    { id: "n_samples", text: "n", value: (line) => line.n_samples, show: (line) => count(line.n_samples) },
    { id: "n_features", text: "d", value: (line) => line.n_features, show: (line) => count(line.n_features) },
    { id: "n_clusters", text: "k", value: (line) => line.n_clusters, show: (line) => count(line.n_clusters) },
    { id: "dtype", text: "type", value: (line) => line.dtype },
    { id: "track", text: "track", value: (line) => line.track },
    { id: "fit_seconds", text: "median", value: (line) => line.fit_seconds, show: (line) => seconds(line.fit_seconds) },
    { id: "interval", text: "95 % interval", value: (line) => line.fit_low, range: true,
      show: (line) => ends(line.fit_low, line.fit_high, seconds, line.n) },
    { id: "ratio", text: "ratio", value: ratio, show: (line) => times(ratio(line)),
      mark: (line) => (known(ratio(line)) && ratio(line) < 1 ? "slower" : "") },
    { id: "ratio_interval", text: "95 % interval", value: ratioLow, range: true,
      show: (line) => ends(ratioLow(line), ratioHigh(line), times, pairs(line)) },
    { id: "objective_gap", text: "objective", value: (line) => line.objective_gap,
      show: (line) => percent(line.objective_gap) },
    { id: "peak_rss_bytes", text: "peak memory", value: (line) => line.peak_rss_bytes,
      show: (line) => bytes(line.peak_rss_bytes) },
    ...(DATA.lines.limit_share ? [{ id: "limit_share", text: "of limit", value: (line) => line.limit_share,
      show: (line) => share(line.limit_share) }] : []),
    { id: "n", text: "repeats", value: (line) => line.n, show: (line) => String(line.n) },
    { id: "status", text: "status", value: (line) => line.status, mark: (line) => (line.n === line.n_rows ? "" : "bad") },
    { id: "instability", text: "care", value: (line) => line.instability, mark: () => "dim" },
  ];
  const words = (line) => [line.implementation, line.data, line.scenario, line.dtype, line.track, line.status, line.reason,
    line.semantics, line.instability, `n=${count(line.n_samples)}`, `n=${line.n_samples}`, `d=${line.n_features}`,
    `k=${line.n_clusters}`, line.run_id].map((word) => String(word).toLowerCase());
  function tableLines() {
    const wanted = chosen("filter").toLowerCase().split(/\s+/).filter(Boolean);
    const status = chosen("status");
    const kept = shown().filter((line) => (!status || (line.n === line.n_rows) === (status === "ok"))
      && wanted.every((word) => words(line).some((own) => (/^[ndk]=/.test(word) ? own === word : own.includes(word)))));
    const column = COLUMNS.find((one) => one.id === state.sort);
    if (column) {
      kept.sort((a, b) => {
        const [first, second] = [column.value(a), column.value(b)];
        // What has no figure stands last either way.
        if (!known(first) || !known(second)) return known(second) - known(first) || a.index - b.index;
        return (state.descending ? -1 : 1) * ascending(first, second) || a.index - b.index;
      });
    }
    return kept;
  }
  const numeric = (column) => Boolean(column.show);
  // What is the same in all lines stands in the controls above and needs no column.
  const columns = () => COLUMNS.filter((column) => !["data", "dtype", "track"].includes(column.id)
    || distinct(shown().map((line) => line[column.id])).length > 1);
  function renderTable() {
    const lines = tableLines();
    const visible = columns();
    byId("count").textContent = `${lines.length} of ${LINES.length} lines; ratio to ${state.baseline}`;
    const heads = visible.map((column) => make("th", { scope: "col",
      class: [numeric(column) ? "number" : "", column.id === "implementation" ? "first" : ""].join(" ").trim() || false,
      "aria-sort": state.sort === column.id ? (state.descending ? "descending" : "ascending") : false },
      make("button", { type: "button", "data-sort": column.id, onclick: () => sortBy(column.id) }, column.text)));
    const body = [];
    for (const line of lines) {
      const open = state.open.has(line.index);
      const cells = visible.slice(1).map((column) => make("td",
        { class: [numeric(column) ? "number" : "", column.range ? "range" : "", column.mark?.(line) ?? ""].join(" ").trim() || false },
        String((column.show ?? column.value)(line) ?? "–")));
      const name = make("button", { type: "button", class: "unfold", "aria-expanded": String(open),
        onclick: () => unfold(line.index) }, line.implementation);
      body.push(make("tr", { class: line.implementation === DATA.ours ? "ours" : false },
        make("th", { scope: "row", class: "first" }, name), ...cells));
      if (open) body.push(details(line));
    }
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
    byId("table").replaceChildren(table);
  }
  const command = (line) => (line.implementation === state.baseline ? line.command : `${line.command},${state.baseline}`);
  function details(line) {
    const facts = [line.library_version && `version ${line.library_version}`, `mathematics: ${line.semantics}`,
      `${line.n_threads} threads`, known(line.n_iter) && `${line.n_iter} iterations`,
      `run ${line.run_id}`, `${line.n} of ${line.n_rows} rows ok`, line.reason].filter(Boolean).join(" · ");
    return make("tr", { class: "details" }, make("td", { colspan: columns().length },
      make("p", {}, line.scenario), make("p", {}, facts), make("p", {}, make("code", {}, command(line)))));
  }
  function sortBy(id) {
    state.descending = state.sort === id ? !state.descending : false;
    state.sort = id;
    renderTable();
    byId("table").querySelector(`[data-sort="${id}"]`).focus();
  }
  function unfold(index) {
    if (!state.open.delete(index)) state.open.add(index);
    const place = tableLines().findIndex((line) => line.index === index);
    renderTable();
    byId("table").querySelectorAll(".unfold")[place].focus();
  }

  // Downloads.
  function save(name, text, type) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
  const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  function tableAsCsv() {
    const names = [...Object.keys(DATA.lines), "baseline", "ratio", "ratio_low", "ratio_high"];
    const rows = tableLines().map((line) => {
      const all = { ...line, baseline: state.baseline, ratio: ratio(line), ratio_low: ratioLow(line), ratio_high: ratioHigh(line) };
      return names.map((name) => quoted(String(all[name] ?? ""))).join(",");
    });
    return `${names.join(",")}\n${rows.map((row) => `${row}\n`).join("")}`;
  }

  // Charts.
  const ticks = (low, high) => {
    const found = [];
    for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power += 1) found.push(10 ** power);
    return found;
  };
  const timeTick = (value) => (value >= 1 ? `${value} s` : value >= 1e-3 ? `${Math.round(value * 1e3)} ms` : `${Number((value * 1e6).toPrecision(1))} µs`);
  function mark(kind, x, y, color, size = 3) {
    const shapes = [
      () => draw("circle", { cx: x, cy: y, r: size }),
      () => draw("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size }),
      () => draw("path", { d: `M${x} ${y - 1.3 * size}L${x + 1.2 * size} ${y + size}H${x - 1.2 * size}Z` }),
      () => draw("path", { d: `M${x} ${y - 1.4 * size}L${x + 1.4 * size} ${y}L${x} ${y + 1.4 * size}L${x - 1.4 * size} ${y}Z` }),
      () => draw("path", { d: `M${x} ${y + 1.3 * size}L${x + 1.2 * size} ${y - size}H${x - 1.2 * size}Z` }),
    ];
    const shape = shapes[kind]();
    shape.style.fill = color;
    return shape;
  }
  const titled = (element, text) => { element.append(draw("title", {}, text)); return element; };

  function renderLegend() {
    const lines = shown();
    const names = NAMES.filter((name) => lines.some((line) => line.implementation === name && known(line.fit_seconds)));
    byId("legend").replaceChildren(...names.map((name) => {
      const { color, dash, mark: kind } = look(name);
      const stroke = draw("path", { d: "M1 6H23", "stroke-width": 2, "stroke-dasharray": dash });
      stroke.style.stroke = color;
      const sample = draw("svg", { width: 24, height: 12, viewBox: "0 0 24 12", "aria-hidden": "true" }, stroke, mark(kind, 12, 6, color));
      sample.style.width = "24px";
      return make("button", { type: "button", "aria-pressed": String(!state.hidden.has(name)), "data-name": name,
        onclick: () => {
          if (!state.hidden.delete(name)) state.hidden.add(name);
          renderGrowth();
          byId("legend").querySelector(`[data-name="${CSS.escape(name)}"]`).focus();
        } }, sample, name);
    }));
  }
  function renderGrowth() {
    renderLegend();
    const axis = state.axis;
    const others = Object.keys(AXES).filter((name) => name !== axis);
    const lines = shown().filter((line) => known(line.fit_seconds) && !state.hidden.has(line.implementation));
    const panels = new Map();
    for (const line of lines) {
      const parts = [line.data, line.track, line.dtype, line.run_id, ...others.map((name) => line[name])];
      const key = JSON.stringify(parts);
      if (!panels.has(key)) panels.set(key, []);
      panels.get(key).push(line);
    }
    const drawn = [...panels.values()].filter((members) => distinct(members.map((line) => line[axis])).length > 1);
    renderExponents();
    if (!drawn.length) {
      return byId("growth").replaceChildren(make("p", { class: "note" },
        `These results have but one number of ${AXES[axis]}, or nothing is chosen above.`));
    }
    const all = drawn.flat();
    const bounds = {
      x: [Math.min(...all.map((line) => line[axis])), Math.max(...all.map((line) => line[axis]))],
      y: [Math.min(...all.map((line) => line.fit_low ?? line.fit_seconds)), Math.max(...all.map((line) => line.fit_high ?? line.fit_seconds))],
    };
    const several = (name) => distinct(all.map((line) => line[name])).length > 1;
    byId("growth").replaceChildren(...drawn.map((members) => {
      const first = members[0];
      const title = [several("data") && first.data, ...others.map((name) => `${count(first[name])} ${AXES[name]}`),
        several("track") && first.track, several("dtype") && first.dtype, several("run_id") && first.run_id].filter(Boolean).join(", ");
      return make("figure", {}, make("figcaption", {}, title), growthPanel(members, axis, bounds, title));
    }));
  }
  function growthPanel(members, axis, bounds, title) {
    const [width, height, left, right, top, bottom] = [280, 200, 40, 6, 6, 24];
    const scale = ([low, high], start, end) => (value) =>
      start + ((Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low) || 1)) * (end - start);
    const x = scale(bounds.x, left + 6, width - right);
    const y = scale(bounds.y, height - bottom - 4, top + 4);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Time of the fit against ${AXES[axis]}, ${title}; the figures stand in the table` });
    for (const value of ticks(...bounds.y)) {
      svg.append(draw("line", { class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      svg.append(draw("text", { x: left - 4, y: y(value) + 3, "text-anchor": "end" }, timeTick(value)));
    }
    svg.append(draw("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
    const values = distinct(members.map((line) => line[axis])).sort(ascending);
    let last = -Infinity;
    for (const value of values) {
      svg.append(draw("line", { class: "axis", x1: x(value), x2: x(value), y1: height - bottom, y2: height - bottom + 3 }));
      if (x(value) - last < 26) continue;
      last = x(value);
      svg.append(draw("text", { x: x(value), y: height - bottom + 14, "text-anchor": "middle" }, count(value)));
    }
    // Ours is drawn last, hence on top.
    for (const name of [...NAMES].reverse()) {
      const own = members.filter((line) => line.implementation === name).sort((a, b) => a[axis] - b[axis]);
      if (!own.length) continue;
      const { color, dash, mark: kind } = look(name);
      const banded = own.filter((line) => known(line.fit_low));
      if (banded.length > 1) {
        const edge = [...banded.map((line) => [x(line[axis]), y(line.fit_high)]), ...banded.reverse().map((line) => [x(line[axis]), y(line.fit_low)])];
        const band = draw("path", { d: `M${edge.map((point) => point.map((v) => v.toFixed(1)).join(" ")).join("L")}Z`, "fill-opacity": 0.18 });
        band.style.fill = color;
        svg.append(band);
      }
      const path = draw("path", { d: `M${own.map((line) => `${x(line[axis]).toFixed(1)} ${y(line.fit_seconds).toFixed(1)}`).join("L")}`,
        fill: "none", "stroke-width": name === DATA.ours ? 2.4 : 1.3, "stroke-dasharray": dash });
      path.style.stroke = color;
      svg.append(path);
      for (const line of own) {
        svg.append(titled(mark(kind, x(line[axis]), y(line.fit_seconds), color, name === DATA.ours ? 3 : 2.3),
          `${name}, ${count(line[axis])} ${AXES[axis]}: ${seconds(line.fit_seconds)} (${span(line.fit_low, line.fit_high, seconds)})`));
      }
    }
    return svg;
  }
  function renderExponents() {
    const kept = DATA.complexity.filter((one) => (!chosen("run") || one.run_id === chosen("run"))
      && (!chosen("track") || one.track === chosen("track")) && (!chosen("dtype") || one.dtype === chosen("dtype")));
    if (!kept.length) return byId("exponents").replaceChildren();
    const axes = Object.keys(AXES).filter((axis) => kept.some((one) => one.axis === axis));
    const rows = new Map();
    for (const one of kept) {
      const key = JSON.stringify([one.implementation, one.track, one.dtype, one.run_id]);
      if (!rows.has(key)) rows.set(key, {});
      rows.get(key)[one.axis] = one;
    }
    const several = distinct(kept.map((one) => one.run_id)).length > 1;
    const exponent = (value) => value.toFixed(2).replace("-", "−");
    const cell = (one) => (one ? `${exponent(one.exponent)}${known(one.low) ? ` (${exponent(one.low)} to ${exponent(one.high)})` : ""}` : "–");
    const order = [...rows].sort(([a], [b]) => NAMES.indexOf(JSON.parse(a)[0]) - NAMES.indexOf(JSON.parse(b)[0]));
    byId("exponents").replaceChildren(make("table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "exponent of time (95 % interval)"), make("th", { scope: "col" }, "track"),
        make("th", { scope: "col" }, "type"), ...axes.map((axis) => make("th", { scope: "col", class: "number" }, `in ${AXES[axis]}`)))),
      make("tbody", {}, ...order.map(([key, found]) => {
        const [name, track, dtype, run] = JSON.parse(key);
        return make("tr", { class: name === DATA.ours ? "ours" : false },
          make("th", { scope: "row", class: "first" }, several ? `${name} (${run})` : name), make("td", {}, track), make("td", {}, dtype),
          ...axes.map((axis) => make("td", { class: "number" }, cell(found[axis]))));
      }))));
  }

  // Maps over the grid.
  const METRICS = {
    ratio: { text: "ratio to the baseline", value: ratio, show: times },
    fit_seconds: { text: "time", value: (line) => line.fit_seconds, show: seconds },
    peak_rss_bytes: { text: "peak memory", value: (line) => line.peak_rss_bytes, show: bytes },
    fit_rss_bytes: { text: "memory of the fit", value: (line) => line.fit_rss_bytes, show: bytes },
    ...(DATA.lines.limit_share ? { limit_share: { text: "share of the machine’s limit", value: (line) => line.limit_share, show: share } } : {}),
  };
  function radios(id, entries, key) {
    for (const [value, text] of entries) {
      const input = make("input", { type: "radio", name: id, value, checked: state[key] === value,
        onchange: () => { state[key] = value; render(); } });
      byId(id).append(make("label", {}, input, text));
    }
  }
  function renderGrids() {
    const metric = METRICS[state.metric];
    const lines = shown().filter((line) => known(metric.value(line)));
    byId("grid-note").textContent = {
      ratio: `How many times as fast as ${state.baseline}. Blue is faster than it, orange slower.`,
      fit_seconds: "Median time of the fit. Darker is slower.",
      peak_rss_bytes: "Peak resident memory of the process tree during the fit, data included. Darker is more.",
      fit_rss_bytes: "What the fit added to the memory that held the loaded data. Darker is more.",
      limit_share: "Time an iteration needs at least, all distances computed or all samples read, over the time it took: above "
        + "100 % distances were skipped or the data stayed in the cache.",
    }[state.metric];
    const logs = lines.map((line) => Math.log(Math.max(metric.value(line), 1e-12)));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    const depth = (value) => 6 + 54 * ((Math.log(Math.max(value, 1e-12)) - low) / (high - low || 1));
    const furthest = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const shade = (value) => (state.metric === "ratio"
      ? [value < 1 ? "--lost" : "--shade", (60 * Math.abs(Math.log(value))) / furthest] : ["--shade", depth(value)]);
    byId("grids").replaceChildren(...NAMES.filter((name) => lines.some((line) => line.implementation === name)).map((name) => {
      const own = lines.filter((line) => line.implementation === name);
      const columns = distinct(own.map((line) => line.n_samples)).sort(ascending);
      const keys = distinct(own.map((line) => JSON.stringify([line.data, line.n_features, line.n_clusters, line.track, line.dtype, line.run_id])));
      const several = ["data", "track", "dtype", "run_id"].map((field) => distinct(lines.map((line) => line[field])).length > 1);
      const rows = keys.map((key) => JSON.parse(key)).map(([data, d, k, track, dtype, run]) => {
        const title = [several[0] && data, `d ${count(d)}, k ${count(k)}`, several[1] && track, several[2] && dtype, several[3] && run].filter(Boolean).join(" ");
        return make("tr", {}, make("th", { scope: "row" }, title), ...columns.map((n) => {
          const line = own.find((one) => one.n_samples === n && one.data === data && one.n_features === d
            && one.n_clusters === k && one.track === track && one.dtype === dtype && one.run_id === run);
          if (!line) return make("td", {}, "");
          const value = metric.value(line);
          const cell = make("td", {}, metric.show(value));
          const [color, strength] = shade(value);
          cell.style.background = `color-mix(in srgb, var(${color}) ${strength.toFixed(0)}%, var(--panel))`;
          return cell;
        }));
      });
      return make("figure", {}, make("figcaption", {}, name), make("table", {},
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "n"), ...columns.map((n) => make("th", { scope: "col" }, count(n))))),
        make("tbody", {}, ...rows)));
    }));
  }

  // One cell.
  const cellKey = (line) => JSON.stringify([line.run_id, line.scenario, line.track]);
  function renderCells() {
    const select = byId("cell");
    const before = select.value;
    const cells = new Map();
    // Both tracks, whichever is chosen above: objectives differ on the default track alone.
    for (const line of shown(["run", "dtype", "data"])) if (known(line.fit_seconds)) cells.set(cellKey(line), line);
    const several = distinct([...cells.values()].map((line) => line.run_id)).length > 1;
    select.replaceChildren(...[...cells].map(([key, line]) =>
      make("option", { value: key }, `${line.scenario}, ${line.track} track${several ? `, run ${line.run_id}` : ""}`)));
    const work = (line) => line.n_samples * line.n_features * line.n_clusters;
    // The largest cell of the default track says most; a choice of the reader's stays.
    const largest = [...cells.values()].sort((a, b) => (a.track === "default" ? 0 : 1) - (b.track === "default" ? 0 : 1) || work(b) - work(a))[0];
    if (cells.has(before)) select.value = before;
    else if (largest) select.value = cellKey(largest);
    renderCell();
  }
  function renderCell() {
    const members = LINES.filter((line) => cellKey(line) === chosen("cell") && known(line.fit_seconds));
    byId("frontier").replaceChildren(members.some((line) => known(line.objective_gap)) ? frontier(members) : make("p", { class: "note" }, "No figures."));
    byId("phases").replaceChildren(...(members.length ? phases(members) : [make("p", { class: "note" }, "No figures.")]));
  }
  function frontier(members) {
    const points = members.filter((line) => known(line.objective_gap)).sort((a, b) => a.fit_seconds - b.fit_seconds);
    const [width, height, left, right, top, bottom] = [440, 280, 52, 16, 30, 36];
    const lows = points.map((line) => line.fit_low ?? line.fit_seconds);
    const highs = points.map((line) => line.fit_high ?? line.fit_seconds);
    const [first, last] = [Math.log(Math.min(...lows)), Math.log(Math.max(...highs))];
    const room = (last - first || 1) * 0.06;
    const x = (value) => left + ((Math.log(value) - first + room) / (last - first + 2 * room || 1)) * (width - left - right);
    const gaps = points.map((line) => line.objective_gap);
    const floor = Math.min(...gaps, 0);
    // Gaps of rounding alone are no differences: the scale never goes below a hundredth of a percent.
    const reach = Math.max(Math.max(...gaps) - floor, 1e-4) * 1.12;
    const y = (value) => height - bottom - ((value - floor) / reach) * (height - top - bottom) - 6;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": "Time of the fit against the objective; the figures stand in the table" });
    for (let step = 0; step <= 4; step += 1) {
      const value = floor + (reach * step) / 4;
      svg.append(draw("line", { class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      svg.append(draw("text", { x: left - 5, y: y(value) + 3, "text-anchor": "end" }, `${(value * 100).toFixed(reach < 1e-2 ? 3 : 1)} %`));
    }
    for (const value of ticks(Math.exp(first - room), Math.exp(last + room))) {
      svg.append(draw("line", { class: "gridline", x1: x(value), x2: x(value), y1: top, y2: height - bottom }));
      svg.append(draw("text", { x: x(value), y: height - bottom + 13, "text-anchor": "middle" }, timeTick(value)));
    }
    svg.append(draw("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "time of the fit; objective above the best exact one, in percent, upward"));
    const ahead = points.filter((line) => line.on_frontier);
    let path = "";
    ahead.forEach((line, place) => {
      const here = `${x(line.fit_seconds).toFixed(1)}`;
      path += place ? `H${here}V${y(line.objective_gap).toFixed(1)}` : `M${here} ${y(line.objective_gap).toFixed(1)}`;
    });
    if (ahead.length) svg.append(draw("path", { d: `${path}H${width - right}`, fill: "none", class: "axis", "stroke-dasharray": "3 3" }));
    const labels = [];
    for (const line of [...points].reverse()) {
      const { color, mark: kind } = look(line.implementation);
      const [px, py] = [x(line.fit_seconds), y(line.objective_gap)];
      if (known(line.fit_low)) {
        const whisker = draw("path", { d: `M${x(line.fit_low)} ${py}H${x(line.fit_high)}`, "stroke-width": 1.2 });
        whisker.style.stroke = color;
        svg.append(whisker);
      }
      svg.append(titled(mark(kind, px, py, color, line.implementation === DATA.ours ? 4.5 : 3.5),
        `${line.implementation}: ${seconds(line.fit_seconds)}, ${percent(line.objective_gap)}`));
      // Names step upward until they are clear of those already there.
      const half = line.implementation.length * 2.7;
      const center = Math.min(Math.max(px, left + half), width - right - half);
      let level = py - 8;
      while (labels.some(([middle, reachX, at]) => Math.abs(center - middle) < half + reachX + 3 && Math.abs(at - level) < 11)) level -= 11;
      labels.push([center, half, level]);
      const label = draw("text", { class: "name", x: center, y: level, "text-anchor": "middle" }, line.implementation);
      label.style.fill = color;
      svg.append(label);
    }
    return svg;
  }
  const PHASES = ["prepare", "seeding", "iteration", "predict"];
  function phases(members) {
    const key = make("p", { class: "note" }, ...PHASES.flatMap((name, place) => [make("span", { class: `key p${place}` }), name === "iteration" ? "iterations" : name]));
    const bars = [...members].sort((a, b) => a.fit_seconds - b.fit_seconds).map((line) => {
      const parts = PHASES.map((name) => line[name] ?? 0);
      const total = parts.reduce((sum, part) => sum + part, 0) || 1;
      const bar = make("div", { class: "track", "aria-hidden": "true" });
      parts.forEach((part, place) => {
        const piece = make("span", { class: `p${place}` });
        piece.style.width = `${(100 * part) / total}%`;
        bar.append(piece);
      });
      const text = PHASES.filter((name) => known(line[name])).map((name) => `${name === "iteration" ? "iterations" : name} ${seconds(line[name])}`).join(" · ");
      return make("div", { class: "phase" }, make("span", { class: line.implementation === DATA.ours ? "ours" : false }, line.implementation), bar, make("span", { class: "sizes" }, text));
    });
    return [key, ...bars];
  }

  // Machine and versions.
  function renderFacts() {
    byId("facts").replaceChildren(...DATA.runs.map((run) => make("div", {}, make("h3", {}, `Run ${run.run_id}`),
      make("p", { class: "note" }, `begun ${run.started_at}; the whole run: `, make("code", {}, run.command)),
      make("dl", {}, ...Object.entries(run.facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])))));
  }

  // Colours: those of the system, until the reader chooses.
  const THEMES = ["system", "light", "dark"];
  function nextTheme() {
    const current = document.documentElement.dataset.theme ?? "system";
    const next = THEMES[(THEMES.indexOf(current) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    byId("theme").textContent = `Colours: ${next}`;
    byId("theme").setAttribute("aria-label", `Colours: ${next === "system" ? "as the system" : next}`);
  }

  function render() {
    renderVerdict();
    renderLost();
    renderTable();
    renderGrowth();
    renderGrids();
    renderCells();
  }

  const values = (name) => distinct(LINES.map((line) => line[name])).sort(ascending);
  options("baseline", NAMES, "", DATA.baseline);
  options("run", values("run_id"), DATA.runs.length > 1 ? "all" : "", DATA.runs.length > 1 ? "" : DATA.runs[0].run_id);
  byId("run-label").hidden = DATA.runs.length === 1;
  const tracks = values("track").reverse();
  options("track", tracks, tracks.length > 1 ? "both" : "", tracks.length > 1 && tracks.includes("matched") ? "matched" : tracks[0]);
  // One type at first: the other doubles every figure and says much the same.
  options("dtype", values("dtype"), values("dtype").length > 1 ? "both" : "", values("dtype")[0]);
  options("data", values("data"), values("data").length > 1 ? "all" : "", values("data").length > 1 ? "" : values("data")[0]);
  radios("axis", Object.entries(AXES), "axis");
  radios("metric", Object.entries(METRICS).map(([id, metric]) => [id, metric.text]), "metric");
  byId("filter").addEventListener("input", renderTable);
  byId("status").addEventListener("change", renderTable);
  byId("cell").addEventListener("change", renderCell);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("theme").addEventListener("click", nextTheme);
  byId("save-table").addEventListener("click", () => save("table.csv", tableAsCsv(), "text/csv"));
  byId("save-rows").addEventListener("click", () => save("rows.csv", DATA.rows, "text/csv"));
  byId("save-json").addEventListener("click", () => save("report.json", JSON.stringify(DATA, null, 1), "application/json"));
  renderFacts();
  render();
})();
