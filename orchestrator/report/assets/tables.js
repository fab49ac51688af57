// Tables that sort and filter. Without scripts they are tables all the same.
const FEW = 8; // rows that need no filter
const words = new Intl.Collator("en", {numeric: true});
const shownOnly = new Map(); // table -> what filters it: {text, chosen, apply}

function said(cell) { return cell.textContent.trim(); }

function numberOf(text) { return parseFloat(text.replace(/,/g, "").replace("−", "-")); }

// All rows are taken out, put in order and put back at once: the browser lays the table out a single time.
function sortBy(table, place, direction) {
  const body = table.tBodies[0], head = table.tHead.rows[0].cells[place];
  const asWords = place === 0 || head.classList.contains("text");
  const keyed = [...body.rows].map(row => {
    const text = said(row.cells[place]);
    return {row, text, number: numberOf(text)};
  });
  const missing = each => asWords ? each.text === "" : Number.isNaN(each.number);
  keyed.sort((a, b) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b); // last, whichever way
    return direction * (asWords ? words.compare(a.text, b.text) : a.number - b.number);
  });
  body.remove();
  body.append(...keyed.map(each => each.row));
  table.append(body);
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

function offerSorting(table) {
  [...table.tHead.rows[0].cells].forEach((cell, place) => {
    if (!said(cell)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    button.addEventListener("click", () =>
      sortBy(table, place, cell.getAttribute("aria-sort") === "ascending" ? -1 : 1));
    cell.append(button);
  });
}

function labelled(name, control) {
  const label = document.createElement("label");
  label.append(name, control);
  return label;
}

function selection(values, all) {
  const select = document.createElement("select");
  select.append(new Option(all, ""), ...values.map(value => new Option(value, `=${value}`)));
  return select;
}

function offerFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells];
  const controls = document.createElement("div"), count = document.createElement("output");
  controls.className = "controls";
  const input = Object.assign(document.createElement("input"), {type: "search"});
  controls.append(labelled("Filter rows by text", input));
  const chosen = new Map(); // column -> its select
  heads.forEach((head, place) => {
    if (!("choose" in head.dataset)) return;
    const values = [...new Set(rows.map(row => said(row.cells[place])))].sort(words.compare);
    if (values.length < 2) return;
    chosen.set(place, selection(values, "all"));
    controls.append(labelled(said(head), chosen.get(place)));
  });
  const reset = Object.assign(document.createElement("button"), {type: "button", textContent: "Show all"});
  controls.append(reset, count);
  const texts = rows.map(row => row.textContent.toLowerCase());
  const apply = () => {
    const wanted = input.value.trim().toLowerCase();
    const fixed = [...chosen].filter(([, select]) => select.value);
    let left = 0;
    rows.forEach((row, i) => {
      row.hidden = !texts[i].includes(wanted)
        || fixed.some(([place, select]) => `=${said(row.cells[place])}` !== select.value);
      left += !row.hidden;
    });
    count.textContent = `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  };
  const clear = () => {
    input.value = "";
    for (const select of chosen.values()) select.value = "";
    for (const row of rows) row.classList.remove("marked");
    apply();
  };
  controls.addEventListener("input", apply);
  reset.addEventListener("click", clear);
  table.closest(".wide").before(controls);
  shownOnly.set(table, {chosen, apply, clear});
  apply();
}

// A mean's link leads to the first of its trials: show those of its network, method and sparsity, and mark them.
function showAlike(row) {
  const table = row.closest("table"), filter = shownOnly.get(table);
  const alike = [...table.tHead.rows[0].cells].flatMap((head, i) => head.dataset.choose === "alike" ? [i] : []);
  const same = other => alike.every(i => said(other.cells[i]) === said(row.cells[i]));
  filter?.clear();
  for (const [place, select] of filter?.chosen ?? []) {
    if (alike.includes(place)) select.value = `=${said(row.cells[place])}`;
  }
  filter?.apply();
  for (const each of table.tBodies[0].rows) each.classList.toggle("marked", same(each));
}

function rowOf(link) {
  const place = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  return place?.matches("tbody tr") ? place : null;
}

for (const table of document.querySelectorAll("table")) {
  if (!table.tHead) continue;
  if (table.tBodies[0].rows.length > 1) offerSorting(table);
  if (table.tBodies[0].rows.length > FEW) offerFilter(table);
}
document.addEventListener("click", event => {
  const link = event.target.closest?.('a[href^="#"]');
  const row = link && rowOf(link);
  if (!row) return;
  if (link.classList.contains("alike")) showAlike(row);
  else if (row.hidden) shownOnly.get(row.closest("table")).clear();
});
// an artifact that MLflow shows from memory has no folder beside it
if (location.protocol === "blob:" || location.protocol === "about:") {
  for (const link of document.querySelectorAll("a.folder")) link.removeAttribute("href");
}
