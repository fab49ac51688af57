// Tables that sort and filter. Without scripts they are tables all the same.
const FEW = 8; // rows that need no filter
const AT_ONCE = 200; // rows shown until more are asked for: a browser takes half a second to lay 1,000 out anew
const words = new Intl.Collator("en", {numeric: true});
const filters = new Map(); // table -> its filter

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
  filters.get(table)?.apply(body);
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
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
  let limit = AT_ONCE;
  const apply = (body = table.tBodies[0]) => {
    const wanted = input.value.trim().toLowerCase();
    const fixed = [...chosen].filter(([, select]) => select.value);
    let left = 0;
    for (const row of body.rows) {
      const fits = texts.get(row).includes(wanted)
        && fixed.every(([place, select]) => `=${said(row.cells[place])}` === select.value);
      left += fits;
      row.hidden = !fits || left > limit;
    }
    const number = value => value.toLocaleString("en");
    count.textContent = `${number(left)} of ${number(rows.length)} rows${left > limit ? `, the first ${limit} shown` : ""}`;
  };
  const clear = () => {
    input.value = "";
    for (const select of chosen.values()) select.value = "";
    for (const row of rows) row.classList.remove("marked");
  };
  const all = () => { clear(); limit = Infinity; apply(); };
  controls.addEventListener("input", () => apply());
  reset.addEventListener("click", all);
  table.closest(".wide").before(controls);
  filters.set(table, {chosen, apply, clear, all});
  apply();
}

// A mean's link leads to the first of its trials: show those of its network, method and sparsity, and mark them.
function showAlike(row) {
  const table = row.closest("table"), filter = filters.get(table);
  const alike = [...table.tHead.rows[0].cells].flatMap((head, i) => head.dataset.choose === "alike" ? [i] : []);
  const same = other => alike.every(i => said(other.cells[i]) === said(row.cells[i]));
  filter?.clear();
  for (const [place, select] of filter?.chosen ?? []) {
    if (alike.includes(place)) select.value = `=${said(row.cells[place])}`;
  }
  filter?.apply();
  for (const each of table.tBodies[0].rows) each.classList.toggle("marked", same(each));
}

function placeAt(hash) { return document.getElementById(decodeURIComponent(hash.slice(1))); }

// Before the browser goes there: it scrolls to no row that is hidden.
function reveal(place) {
  if (place?.hidden) filters.get(place.closest("table")).all();
}

for (const table of document.querySelectorAll("table")) {
  if (!table.tHead) continue;
  if (table.tBodies[0].rows.length > 1) offerSorting(table);
  if (table.tBodies[0].rows.length > FEW) offerFilter(table);
}

// MLflow shows an artifact from memory: such a page has no folder beside it, and may not go to its own fragments.
const adrift = ["blob:", "about:"].includes(location.protocol);
if (adrift) for (const link of document.querySelectorAll("a.folder")) link.removeAttribute("href");

document.addEventListener("click", event => {
  const link = event.target.closest?.('a[href^="#"]');
  const place = link && placeAt(link.hash);
  if (!place) return;
  if (link.classList.contains("alike")) showAlike(place);
  else reveal(place);
  if (adrift) {
    event.preventDefault();
    if (place.matches("tr")) place.classList.add("marked");
    place.scrollIntoView();
  }
});
addEventListener("hashchange", () => {
  const place = placeAt(location.hash);
  if (!place?.hidden) return;
  reveal(place);
  place.scrollIntoView();
});
reveal(placeAt(location.hash));
