// Training curves: unpacked and drawn once the reader opens them.
const MOST = 60; // lines that a plot still tells apart, and draws at once
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A00", "#777777"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

function plain(text) { return text.replace(/&/g, "&amp;").replace(/</g, "&lt;"); } // plotly takes tags for tags

// A colour a method and a dash a sparsity; the legend says each once, not all pairs of them.
function figureOf(trials, metric, name) {
  const methods = [...new Set(trials.map(trial => trial.method))];
  const sparsities = [...new Set(trials.map(trial => trial.sparsity))].filter(each => each !== "0 %");
  const colour = method => COLOURS[methods.indexOf(method) % COLOURS.length];
  const dash = sparsity => DASHES[Math.max(0, sparsities.indexOf(sparsity)) % DASHES.length];
  const data = trials.map(trial => ({
    name: plain(trial.short), legendgroup: trial.method, x: trial.epochs, y: trial.values[metric], mode: "lines",
    line: {color: colour(trial.method), dash: dash(trial.sparsity)}, showlegend: false,
    hovertemplate: `%{y:.4g} after epoch %{x}, ${trial.sparsity}, seed ${trial.seed}`,
  }));
  const sign = (name, legendgroup, line) => ({name, legendgroup, line, x: [null], y: [null], mode: "lines"});
  const shortOf = method => trials.find(trial => trial.method === method).short;
  data.push(...methods.map(method => sign(plain(shortOf(method)), method, {color: colour(method)})));
  if (sparsities.length > 1) {
    data.push(...sparsities.map(each => sign(`${each} removed`, `${each} removed`, {color: "#888888", dash: dash(each)})));
  }
  return {data, layout: {
    xaxis: {title: {text: "epochs trained"}}, yaxis: {title: {text: plain(name)}}, height: 460,
    margin: {l: 60, r: 20, t: 20, b: 60}, legend: {orientation: "h", yref: "container", y: 0, yanchor: "bottom"},
  }};
}

// What the lines say, as a table: an epoch's values by the hundred would help nobody.
function summaryOf(trials, metric, name) {
  const table = document.createElement("table");
  table.createCaption().textContent = `${name} of the trials drawn`;
  const head = table.createTHead().insertRow();
  for (const title of ["trial", "epochs", "last", "lowest", "highest"]) {
    head.append(Object.assign(document.createElement("th"), {scope: "col", textContent: title}));
  }
  const body = table.createTBody();
  for (const trial of trials) {
    const values = trial.values[metric].filter(value => value !== null);
    const row = body.insertRow(), link = document.createElement("a");
    Object.assign(link, {href: `#${encodeURIComponent(trial.anchor)}`, textContent: trial.trial});
    const first = Object.assign(document.createElement("th"), {scope: "row", className: "long"});
    first.append(link);
    row.append(first);
    const numbers = values.length ? [values.at(-1), Math.min(...values), Math.max(...values)] : ["", "", ""];
    for (const value of [values.length, ...numbers]) row.insertCell().textContent = value;
  }
  return table;
}

async function openCurves(place) {
  const packed = JSON.parse(await unpacked(place.querySelector("script")));
  const controls = place.querySelector(".controls"), plot = place.querySelector(".plot");
  const metric = document.createElement("select");
  metric.append(...packed.metrics.map((name, i) => new Option(name, i)));
  controls.append(labelled("Show", metric));
  const chosen = new Map();
  for (const name of ["network", "method", "sparsity"]) {
    const values = [...new Set(packed.trials.map(trial => trial[name]))];
    if (values.length < 2) continue;
    chosen.set(name, selection(values, "all"));
    controls.append(labelled(name, chosen.get(name)));
  }
  const count = document.createElement("output");
  controls.append(count);
  const draw = async () => {
    const own = packed.trials.filter(trial => trial.values[metric.value]
      && [...chosen].every(([name, select]) => !select.value || select.value === `=${trial[name]}`));
    const trials = own.slice().sort((a, b) => a.seed - b.seed).slice(0, MOST);
    count.textContent = trials.length < own.length
      ? `${trials.length} of ${own.length} trials drawn, the lowest seeds first: choose fewer to see all`
      : `${own.length} trials drawn`;
    const name = packed.metrics[metric.value];
    plot.setAttribute("aria-label", `${name} after each epoch of training, ${trials.length} trials`);
    place.querySelector(".values").replaceChildren(summaryOf(trials, metric.value, name));
    await drawn(plot.firstElementChild, figureOf(trials, metric.value, name));
  };
  controls.addEventListener("input", draw);
  document.addEventListener("theme", draw);
  await draw();
}

for (const place of document.querySelectorAll("details.curves")) {
  place.addEventListener("toggle", () => openCurves(place), {once: true});
}
