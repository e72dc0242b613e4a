// Lists of tasks: rows that gather, and rows that are selected. The console's own script refreshes the page.

// ---- A region with data-gather keeps its rows: known ones change where they are, new ones wait behind a button.

document.addEventListener("everpost:fresh", (event) => gather(event.target, event.detail.fresh, event.detail.morph));

function gather(region, fresh, morph) {
  const known = new Map([...region.children].map((row) => [row.dataset.key, row]));
  const arrived = [];
  for (const row of fresh.children) {
    const old = known.get(row.dataset.key);
    if (!old) arrived.push(row);
    else if (!old.querySelector("input:checked")) morph(old, row);
  }
  const button = document.querySelector(`[data-gathered="${region.dataset.region}"]`);
  if (!button) return;
  button.hidden = !arrived.length;
  button.textContent = arrived.length === 1 ? button.dataset.one : button.dataset.other.replace("#", arrived.length);
  button.onclick = () => {
    const checked = new Set([...region.querySelectorAll("input:checked")].map((box) => box.value));
    morph(region, fresh);
    for (const box of region.querySelectorAll("input[type=checkbox]")) box.checked = checked.has(box.value);
    button.hidden = true;
    region.closest("table")?.scrollIntoView({ block: "nearest" });
  };
}

// ---- Selecting rows.

function countSelected() {
  const shown = document.querySelector("[data-selected-count]");
  if (!shown) return;
  const count = document.querySelectorAll("main [data-row] input[type=checkbox]:checked").length;
  shown.textContent = count ? count.toLocaleString() : "";
}

document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-select-all]");
  if (all) for (const box of document.querySelectorAll("main [data-row] input[type=checkbox]")) box.checked = all.checked;
  if (event.target.matches("[data-row] input[type=checkbox], [data-select-all]")) {
    const selected = document.querySelector("input[name=which][value=selected]");
    if (selected) selected.checked = true;
    countSelected();
  }
});
document.addEventListener("everpost:refreshed", countSelected);
countSelected();
