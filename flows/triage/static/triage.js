// Keys and choosing many at once. Everything works without this file, too: each action is a button of a form.
"use strict";

const rows = [...document.querySelectorAll("[data-row]")];
const form = document.querySelector("form[data-marks]");
const help = document.getElementById("help");
const place = `at ${location.pathname}`;
let at = -1;
let anchor = -1;

document.documentElement.classList.add("script");

function box(row) {
  return row.querySelector("td.tick input");
}

function go(to) {
  if (!rows.length) return;
  if (rows[at]) rows[at].classList.remove("at");
  at = Math.min(Math.max(to, 0), rows.length - 1);
  rows[at].classList.add("at");
  rows[at].scrollIntoView({ block: "nearest" });
  sessionStorage.setItem(place, at);
}

function count() {
  if (!form) return;
  let chosen = 0;
  for (const row of rows) {
    const tick = box(row);
    if (!tick) continue;
    row.classList.toggle("chosen", tick.checked);
    chosen += tick.checked;
  }
  const whole = form.querySelector("[data-whole]");
  const shown = form.querySelector("[data-count]");
  if (shown) shown.textContent = whole && whole.checked ? "all chosen" : chosen ? `${chosen} chosen` : "nothing chosen";
}

function choose(row, on) {
  const tick = row && box(row);
  if (tick) tick.checked = on === undefined ? !tick.checked : on;
  count();
}

function chooseTo() {
  if (at < 0) return;
  const [low, high] = [Math.min(anchor < 0 ? at : anchor, at), Math.max(anchor, at)];
  for (const row of rows.slice(low, high + 1)) choose(row, true);
}

// Where nothing is chosen, the row under the cursor is.
function require() {
  const any = form.querySelector("td.tick input:checked, [data-whole]:checked, input[type=hidden][name=alert]");
  if (!any && rows[at]) choose(rows[at], true);
}

function press(what) {
  if (!form) return;
  require();
  const name = form.querySelector("[data-name]");
  if (what === "attack" && !name.value.trim()) return name.focus();
  form.querySelector(`button[value=${what}]`).click();
}

const keys = {
  j: () => go(at + 1),
  k: () => go(at - 1),
  x: () => { choose(rows[at]); anchor = at; },
  X: chooseTo,
  Enter: () => { const link = rows[at] && rows[at].querySelector("a.open"); if (link) link.click(); },
  a: () => press("attack"),
  b: () => press("benign"),
  u: () => press("unsure"),
  n: () => { const note = form && form.querySelector(".note"); if (note) { require(); note.focus(); } },
  z: () => { const undo = document.querySelector("#undo-last button"); if (undo) undo.click(); },
  "/": () => { const field = document.querySelector("[data-filter]"); if (field) { field.focus(); field.select(); } },
  "?": () => help && help.showModal(),
  1: () => location.assign("/"),
  2: () => location.assign("/marks"),
  3: () => location.assign("/model"),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || (help && help.open)) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") return event.target.blur();
  if (typing || (event.key === "Enter" && event.target !== document.body)) return;
  const act = Object.hasOwn(keys, event.key) && keys[event.key];
  if (act && document.querySelector("nav.top")) {
    event.preventDefault();
    act();
  }
});

if (form) {
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) for (const row of rows) choose(row, event.target.checked);
    count();
  });
}
for (const [number, row] of rows.entries()) row.addEventListener("click", () => { go(number); anchor = number; });
const asked = document.getElementById("show-help");
if (asked) asked.addEventListener("click", () => help.showModal());
if (rows.length && form) go(Number(sessionStorage.getItem(place) || 0));
count();
