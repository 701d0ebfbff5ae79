"use strict";
// Keeps the page as the workbench is: without it everything can be read as well, by loading the page again.

const again = { first: 1000, longest: 15000, outputs: 1000, runs: 3000 };

function follow(root) {
  let source = null;
  let pause = again.first;
  const lost = document.getElementById("lost");

  function open() {
    source = new EventSource(root.dataset.live);
    source.addEventListener("open", () => {
      pause = again.first;
      lost.hidden = true;
    });
    source.addEventListener("parts", (message) => show(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      lost.hidden = false;
      if (source && source.readyState === EventSource.CLOSED) reopen();
    });
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  function reopen() {
    close();
    setTimeout(() => document.hidden || source || open(), pause);
    pause = Math.min(pause * 2, again.longest);
  }

  // A browser has few connections to one place, so a hidden page closes its own.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : source || open()));
  if (!document.hidden) open();
}

function show(parts) {
  const said = textsToSay();
  for (const [id, html] of Object.entries(parts)) morphInto(document.getElementById(id), html);
  const news = textsToSay().filter((each) => !said.includes(each));
  if (news.length) document.getElementById("said").textContent = news.join(". ");
  refreshOutputs();
  keepTime();
}

function textsToSay() {
  return [...document.querySelectorAll("[data-said]")].map((each) => each.dataset.said);
}

// Seconds that go on: each element says how many it had when the server wrote it.
const clocks = new Map();

function keepTime() {
  for (const element of document.querySelectorAll("[data-running]")) {
    const known = clocks.get(element);
    if (!known || known.text !== element.dataset.running) {
      const began = performance.now() - Number(element.dataset.running) * 1000;
      clocks.set(element, { text: element.dataset.running, began });
    }
  }
  for (const [element, { began }] of clocks) {
    if (!element.isConnected || !element.dataset.running) clocks.delete(element);
    else element.textContent = duration((performance.now() - began) / 1000);
  }
}

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
}

// Outputs of unfolded stages: the notebook is saved every second or so, and read from its own page.
const outputs = new WeakMap();

function refreshOutputs() {
  for (const fold of document.querySelectorAll("details[data-outputs][open]")) {
    const state = outputs.get(fold) || { at: 0, seen: "", waiting: false };
    outputs.set(fold, state);
    const now = [...fold.querySelectorAll(".cell")].map((each) => each.id + each.className).join();
    if (state.waiting || now === state.seen) continue;
    state.waiting = true;
    const pause = Math.max(0, state.at + again.outputs - performance.now());
    setTimeout(() => loadOutputs(fold, state).catch(() => loadAgain(state)), pause);
  }
}

async function loadOutputs(fold, state) {
  const cells = [...fold.querySelectorAll(".cell")];
  const seen = cells.map((each) => each.id + each.className).join();
  const answer = await fetch(`${fold.dataset.outputs}?attempt=${fold.dataset.attempt}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  let complete = answer.ok;
  for (const cell of cells) {
    const slot = cell.querySelector("[data-cell]");
    const shown = page.querySelector(`#cell-${slot.dataset.cell}`);
    if (shown) await fill(slot, shown.querySelector(".shown").innerHTML);
    const saved = shown && shown.classList.contains(cell.classList[1]);
    complete = complete && Boolean(saved);
  }
  const final = complete || !fold.closest(".stage").classList.contains("running");
  Object.assign(state, { at: performance.now(), waiting: false, seen: final ? seen : "" });
  if (!final) setTimeout(refreshOutputs, again.outputs);
}

function loadAgain(state) {
  Object.assign(state, { at: performance.now(), waiting: false });
  setTimeout(refreshOutputs, again.outputs);
}

const filled = new WeakMap();

async function fill(slot, html) {
  if (filled.get(slot) === html) return;
  filled.set(slot, html);
  slot.innerHTML = html;
  await drawFigures(slot);
}

async function refreshRuns(list) {
  if (!document.hidden) {
    const answer = await fetch(location.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("runs");
    if (answer.ok && fresh) morphInto(list, fresh.innerHTML);
  }
}

function repeatedly(task, pause) {
  setTimeout(() => task().catch(() => null).finally(() => repeatedly(task, pause)), pause);
}

document.addEventListener("click", (click) => {
  const summary = click.target.closest("summary");
  if (summary) summary.parentElement.setAttribute("data-touched", "");
});
document.addEventListener("toggle", refreshOutputs, true);
// A page that comes back as it was left would send its form's old key, which names the run it has started.
addEventListener("pageshow", (shown) => shown.persisted && location.reload());
for (const root of document.querySelectorAll("[data-live]")) follow(root);
for (const list of document.querySelectorAll("[data-refresh]")) repeatedly(() => refreshRuns(list), again.runs);
keepTime();
setInterval(keepTime, 500);
refreshOutputs();
