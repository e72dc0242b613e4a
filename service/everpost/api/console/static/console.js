// The console's script. Pages are whole without it: it keeps them up to date, opens dialogs, and follows keys.

const root = document.body.dataset.root;
const every = Number(document.body.dataset.every) * 1000;
const sheet = document.querySelector("#sheet");

// ---- Regions are replaced by their new form; what did not change stays the same node, with its focus.

export function morph(old, fresh) {
  if (old.isEqualNode(fresh) || old.hasAttribute?.("data-keep")) return;
  if (old.nodeName !== fresh.nodeName || old.nodeType !== Node.ELEMENT_NODE) return old.replaceWith(fresh.cloneNode(true));
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "tabindex") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name === "class" && old.classList.contains("at")) old.className = `${value} at`.trim();
    else if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.matches("input, textarea, select")) return;
  const keyed = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-key");
  if ([...fresh.childNodes].some(keyed) || [...old.childNodes].some(keyed)) return morphKeyed(old, fresh);
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  after.forEach((child, n) => (before[n] ? morph(before[n], child) : old.append(child.cloneNode(true))));
  before.slice(after.length).forEach((child) => child.remove());
}

function morphKeyed(old, fresh) {
  const known = new Map([...old.children].map((child) => [child.dataset.key, child]));
  const wanted = [...fresh.children];
  const kept = new Set(wanted.map((child) => child.dataset.key));
  for (const child of [...old.childNodes]) if (!child.dataset || !kept.has(child.dataset.key)) child.remove();
  wanted.forEach((child, n) => {
    let node = known.get(child.dataset.key);
    if (node) morph(node, child);
    else (node = child.cloneNode(true)).classList.add("new");
    if (old.children[n] !== node) old.insertBefore(node, old.children[n] ?? null);
  });
}

async function pageAt(address, options = {}) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, ...options });
  const text = await answer.text();
  return { answer, page: new DOMParser().parseFromString(text, "text/html") };
}

export async function refresh() {
  const { answer, page } = await pageAt(location.href);
  if (!answer.ok) return;
  for (const region of document.querySelectorAll("main [data-region], nav[data-region], .menu [data-region]")) {
    const fresh = page.querySelector(`[data-region="${CSS.escape(region.dataset.region)}"]`);
    if (!fresh) continue;
    if (region.dataset.gather === undefined) morph(region, fresh);
    else region.dispatchEvent(new CustomEvent("everpost:fresh", { bubbles: true, detail: { fresh, morph } }));
  }
  document.title = page.title;
  document.dispatchEvent(new CustomEvent("everpost:refreshed"));
}

// ---- When to refresh: soon after an event, and every few seconds; never while the page is hidden.

let timer = 0;
let due = Infinity;

function refreshWithin(delay) {
  const at = performance.now() + delay;
  if (at >= due) return;
  due = at;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    due = Infinity;
    if (!document.hidden) await refresh().catch(() => {});
    refreshWithin(every);
  }, delay);
}

// The page's own stream of events. Many events in a short time say no more than "look again": then the stream is left
// alone for a while, and the page is fetched every few seconds. A hidden page has none, because a browser opens only six
// connections to one server.

const TYPES = ["task.accepted", "task.started", "task.progress", "task.ended", "task.changed", "reset"];
const SOON = 600; // what several viewers share may be half a second old
const [MANY, WHILE, REST] = [30, 3000, 30_000];
let source = null;
let heard = 0;

function follow() {
  const events = document.body.dataset.events;
  if (!events || source || document.hidden) return;
  source = new EventSource(new URL(root + events, location.href));
  for (const type of TYPES) source.addEventListener(type, hear);
  source.addEventListener("open", () => (document.body.dataset.live = "yes"));
  source.addEventListener("error", () => source?.readyState === EventSource.CLOSED && leave());
}

function leave() {
  source?.close();
  source = null;
  delete document.body.dataset.live;
}

function hear() {
  heard += 1;
  setTimeout(() => (heard -= 1), WHILE);
  refreshWithin(SOON);
  if (heard < MANY) return;
  leave();
  setTimeout(follow, REST);
}

if (every) {
  refreshWithin(every);
  follow();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return leave();
    refreshWithin(0);
    follow();
  });
}

// ---- A link or a form with data-sheet opens in a dialog what it leads to. Without script it is a page.

async function showInSheet(address, options) {
  const { answer, page } = await pageAt(address, options);
  const there = new URL(answer.url);
  if (answer.redirected && options) {
    if (there.pathname !== sheet.dataset.path) return void location.assign(answer.url);
    refresh().catch(() => {});
  }
  const content = page.querySelector("main");
  if (!content) return void location.assign(answer.url);
  sheet.replaceChildren(...document.importNode(content, true).childNodes);
  // Addresses in it are relative to where it comes from.
  for (const [selector, name] of [["a[href]", "href"], ["form[action]", "action"]]) {
    for (const node of sheet.querySelectorAll(selector)) node.setAttribute(name, new URL(node.getAttribute(name), answer.url).href);
  }
  for (const form of sheet.querySelectorAll("form[method=post]")) form.dataset.sheet = "";
  if (!options) sheet.dataset.path = there.pathname;
  if (!sheet.open) sheet.showModal();
}

document.addEventListener("click", (event) => {
  const target = event.target;
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = target.closest("a[data-sheet]");
  if (link) {
    event.preventDefault();
    showInSheet(link.href).catch(() => location.assign(link.href));
  } else if (target.closest("[data-close]") && sheet.open) {
    event.preventDefault();
    sheet.close();
  } else if (target.closest("[data-keys]")) {
    event.preventDefault();
    document.querySelector("#keys").showModal();
  } else if (target.closest("[data-copy]")) {
    copy(target.closest("[data-copy]"));
  } else if (target instanceof HTMLDialogElement) {
    target.close(); // the ground beside the dialog
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ask && !form.dataset.sure) {
    event.preventDefault();
    return ask(form, event.submitter);
  }
  if (form.dataset.sheet === undefined || form.method !== "post") return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const buttons = [...form.querySelectorAll("button:enabled")];
  for (const button of buttons) button.disabled = true;
  const address = event.submitter?.getAttribute("formaction") ? event.submitter.formAction : form.action;
  showInSheet(address, { method: "POST", body })
    .then(() => form.isConnected && buttons.forEach((button) => (button.disabled = false)))
    .catch(() => form.submit());
});

// A question before a change that cannot be undone.
function ask(form, button) {
  const question = document.createElement("h2");
  question.textContent = form.dataset.ask;
  const [yes, no] = [button.cloneNode(true), document.createElement("button")];
  no.className = "button";
  no.dataset.close = "";
  no.textContent = document.body.dataset.cancel;
  yes.addEventListener("click", () => {
    form.dataset.sure = "yes";
    sheet.close();
    form.requestSubmit(button);
  });
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  buttons.append(yes, no);
  sheet.replaceChildren(question, buttons);
  sheet.showModal();
}

async function copy(button) {
  const text = button.dataset.copy || button.parentElement.querySelector("code, pre").textContent;
  await navigator.clipboard.writeText(text);
  say(button.dataset.copied ?? "✓");
}

export function say(text) {
  document.querySelector("[data-say]").textContent = text;
}

// ---- Keys: / ? j k x r, and Enter.

let at = null; // the key of the row one is at

const rows = () => [...document.querySelectorAll("main [data-row]")];
const current = () => rows().find((row) => row.dataset.key === at);

function goTo(row) {
  current()?.classList.remove("at");
  at = row.dataset.key;
  row.classList.add("at");
  row.tabIndex = -1;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = rows();
  if (!all.length) return;
  const now = all.indexOf(current());
  goTo(all[Math.max(0, Math.min(all.length - 1, now < 0 ? (by > 0 ? 0 : all.length - 1) : now + by))]);
}

const selected = () => document.querySelector("main [data-row] input[type=checkbox]:checked");

const KEYS = {
  "/": () => {
    if (menu) menu.open = true;
    document.querySelector("[data-search]")?.focus();
  },
  "?": () => document.querySelector("#keys").showModal(),
  j: () => step(1),
  k: () => step(-1),
  x: () => current()?.querySelector("input[type=checkbox]")?.click(),
  r: () => {
    const many = document.querySelector("main [data-action=retry-selected]");
    const one = (many ? current() : current() ?? document.querySelector("main"))?.querySelector("[data-action=retry]");
    (selected() ? many : one)?.click();
  },
  Enter: () => current()?.querySelector("a[href]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target;
  const typing = target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (event.key === "Escape" && typing) return target.blur();
  if (typing || document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && target !== current()) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// The menu is open beside wide pages, and folded on phones.
const wide = matchMedia("(min-width: 821px)");
const menu = document.querySelector(".menu");
const fit = () => menu && (menu.open = wide.matches);
wide.addEventListener("change", fit);
fit();

// A told result is told once, also when the page is loaded again or its address is sent on.
const address = new URL(location.href);
if (address.searchParams.has("done")) {
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}
