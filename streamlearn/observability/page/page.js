// The status page: asks /api/state every two seconds and shows what it says; less often while nobody answers.

import { Chart } from "./chart.js";
import { count, duration, element, figure, moment, percent, plural, put } from "./format.js";
import * as tables from "./tables.js";

const EVERY = 2; // seconds between two questions
const SLOWEST = 30; // while the service is away
const PATIENCE = 10; // seconds an answer may take
const STATUS = {
  starting: "starting", recovering: "recovering", "warming up": "warming up", live: "live", stalled: "stalled", stopping: "stopping",
  away: "away",
};

const charts = document.getElementById("charts");
const quality = new Chart(charts, {
  title: "Accuracy and forgetting", axis: "share of events, of probes (%)", format: percent, tick: (v) => `${Math.round(100 * v)} %`, top: 1,
});
const throughput = new Chart(charts, { title: "Throughput", axis: "per second", format: figure, area: true });
const drift = new Chart(charts, {
  title: "Drift", axis: "reading / threshold of each signal (ratio)", format: figure, atLeast: 1.25, cut: 3,
  limit: { value: 1, text: "drift is called above" },
});
const dead = new Chart(charts, { title: "Dead letters", axis: "events since the start", format: count, atLeast: 4, area: true });
const classes = new tables.Classes();
const tiles = new Map();
let shown = null; // the status that is shown
let failures = 0;
let lastAnswer = null;
let colors = new Map(); // of drift signals, so that each keeps its own

function status(now) {
  if (now === shown) return;
  const pill = document.getElementById("status");
  pill.dataset.status = now;
  put("status-text", STATUS[now]);
  const said = { away: "The service does not answer.", live: "The service is live.", stalled: "The service makes no progress." };
  if (shown !== null || now !== "live") put("live", said[now] ?? `The service is ${now}.`);
  shown = now;
}

function tile(name, value, note, tone = "") {
  if (!tiles.has(name)) {
    const made = { value: element("dd", { class: "value" }), note: element("dd", { class: "muted" }) };
    made.box = element("div", { class: "card figure" }, element("dt", {}, name), made.value, made.note);
    document.getElementById("figures").append(made.box);
    tiles.set(name, made);
  }
  const found = tiles.get(name);
  if (found.value.textContent !== value) found.value.textContent = value;
  if (found.note.textContent !== note) found.note.textContent = note;
  found.box.dataset.tone = tone;
}

function figures(state) {
  const now = state.now;
  tile("Accuracy", percent(now.accuracy), now.labelled
    ? `of the last ${plural(Math.min(now.labelled, now.window), "label")}` + (now.kappa === null ? "" : `, kappa ${now.kappa.toFixed(2)}`)
    : "waits for the first label");
  if (now.coverage !== null && now.coverage !== undefined && now.coverage < 1) {
    tile("Answered", percent(now.coverage), now.answered_accuracy === null
      ? "all scores are below serving.abstain_below" : `${percent(now.answered_accuracy)} of these are right`);
  }
  tile("Forgetting", percent(now.forgetting), now.forgetting === null
    ? `${plural(now.probes, "probe")} so far, too few to tell`
    : `below each class's best, ${plural(now.probes, "probe")}`);
  tile("Events per second", figure(now.events_per_second), `${plural(now.events, "event")}, ${figure(now.labels_per_second)} labels/s`);
  tile("Lag", count(now.lag), `${now.lag === 1 ? "record waits" : "records wait"} in ${plural(state.lag.length, "partition")}`);
  if (state.topics.labels) {
    tile("Waiting for a label", count(now.pending_events), now.label_delay_seconds === null
      ? `${plural(now.early_labels, "label")} came before ${now.early_labels === 1 ? "its" : "their"} event`
      : `labels come ${duration(now.label_delay_seconds)} later`);
  }
  tile("Labels known", count(now.known_labels), `memory ${count(now.memory_samples)} of ${count(now.memory_capacity)}`);
  const highest = state.drift.filter(({ ratio }) => ratio !== null).sort((a, b) => b.ratio - a.ratio)[0];
  const called = state.drift.reduce((sum, { detections }) => sum + detections, 0);
  const last = state.detections[state.detections.length - 1];
  const fresh = last !== undefined && state.time - last.time < 60;
  tile("Drift", fresh ? "now" : called ? count(called) : highest ? "none" : "–",
    last ? `${fresh ? "in" : "called; last:"} ${last.signal.replaceAll("_", " ")} at ${moment(last.time, 0)}`
      : highest ? `nearest: ${highest.signal.replaceAll("_", " ")}, ${percent(highest.ratio)}` : "no signal has a reading",
    fresh ? "warn" : "");
}

function series(state) {
  const empty = { time: [], accuracy: [], forgetting: [], events_per_second: [], labels_per_second: [], dead_letters: [], drift: [] };
  const found = state.series ?? empty;
  const { time } = found;
  quality.draw({ time, marks: [], lines: [
    { name: "accuracy", values: found.accuracy, color: 1 }, { name: "forgetting", values: found.forgetting, color: 2 }] });
  throughput.draw({ time, marks: [], lines: [
    { name: "events/s", values: found.events_per_second, color: 1 }, { name: "labels/s", values: found.labels_per_second, color: 3 }] });
  for (const { detector, signal } of found.drift) {
    const key = `${detector} ${signal}`;
    if (!colors.has(key)) colors.set(key, 1 + (colors.size % 8));
  }
  drift.draw({ time,
    lines: found.drift.map(({ detector, signal, ratio }) => ({
      name: signal.replaceAll("_", " "), values: ratio, color: colors.get(`${detector} ${signal}`) })),
    marks: state.detections.map((each) => ({ time: each.time,
      text: `drift in ${each.signal.replaceAll("_", " ")}: ${figure(each.statistic)} > ${figure(each.threshold)} (${each.detector})` })) });
  dead.draw({ time, marks: [], lines: [{ name: "dead letters", values: found.dead_letters, color: 2 }] });
}

// What the service does before it takes events, and how far it is.
function beginning({ status: now, progress }) {
  document.getElementById("begins").hidden = !["starting", "recovering", "warming up"].includes(now);
  const far = progress.batches_in_all
    ? ` ${count(progress.batches_applied_again)} of ${plural(progress.batches_in_all, "batch", "batches")} of the past learned again.`
    : progress.warm_start_rows
      ? ` ${count(progress.warm_start_rows_learned)} of ${plural(progress.warm_start_rows, "row")} of the warm start learned.` : "";
  put("begins-text", `No event is taken before the service is live.${far}`);
}

function show(state) {
  document.title = `${state.name} – streamlearn`;
  put("name", state.name);
  const { model } = state;
  put("model", [model.name, model.task, model.strategy, model.device, `step ${count(model.step)}`].join(" · "));
  put("uptime", `up ${duration(state.uptime_seconds)}`);
  put("version", `streamlearn ${state.version}`);
  beginning(state);
  document.getElementById("empty").hidden = state.status !== "live" || state.now.events > 0;
  put("empty-topic", state.topics.events);
  put("empty-try", `streamlearn produce events.jsonl --topic ${state.topics.events}`);
  figures(state);
  series(state);
  classes.update(state);
  tables.recent(state.recent);
  tables.stages(state.stage_seconds);
  tables.drift(state.drift);
  tables.lag(state.lag);
  tables.outcomes(state.outcomes, state.now);
  tables.deadLetters(state.dead_letters);
  status(state.status);
}

async function ask() {
  let wait = EVERY;
  try {
    const answer = await fetch("/api/state", { cache: "no-store", signal: AbortSignal.timeout(1000 * PATIENCE) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const state = await answer.json();
    failures = 0;
    lastAnswer = new Date();
    document.getElementById("away").hidden = true;
    document.body.classList.remove("old");
    show(state);
  } catch {
    failures += 1;
    wait = Math.min(EVERY * 2 ** (failures - 1), SLOWEST);
    document.getElementById("away").hidden = false;
    document.body.classList.add("old");
    const since = lastAnswer ? `What you see is from ${moment(lastAnswer / 1000, 0)}. ` : "";
    put("away-text", `${since}The next try is in ${plural(wait, "second")}.`);
    status("away");
  }
  setTimeout(next, 1000 * wait);
}

// A page in the background asks nothing until it is looked at again.
function next() {
  if (!document.hidden) ask();
  else document.addEventListener("visibilitychange", next, { once: true });
}

function theme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    const chosen = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = chosen;
    try {
      localStorage.setItem("streamlearn-theme", chosen);
    } catch {
      // Storage may be forbidden: the choice then lasts as long as the page.
    }
    name();
  });
  system.addEventListener("change", name);
  name();
}

theme();
ask();
