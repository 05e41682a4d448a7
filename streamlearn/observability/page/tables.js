// The tables of the page: classes with bars, recent predictions, stages, drift signals, lag, labels and dead letters.
// On a small screen the first two are drawn as grids, and then only roles say that they are tables.

import { NONE, count, duration, element, figure, percent, plural, put } from "./format.js";

const SHOWN = 30; // classes before "show all"
const PARTITIONS = 12;

// Columns of the table of classes: key, head, how a value reads, the colour of its bar, and what its bar is a share of.
const COLUMNS = [
  { key: "label", head: "Class" },
  { key: "memory", head: "Memory", format: count, color: 1 },
  { key: "probe_accuracy", head: "Accuracy", format: percent, color: 3, most: 1 },
  { key: "forgetting", head: "Forgetting", format: percent, color: 2, most: 1 },
  { key: "predictions", head: "Predicted", format: count, color: 8 },
];

function bodyOf(id) {
  return document.querySelector(`#${id} tbody`);
}

function row(...cells) {
  return element("tr", {}, ...cells);
}

function cell(text, name = "") {
  return element("td", name ? { class: name } : {}, text);
}

function head(text) {
  return element("th", { scope: "row" }, text);
}

function bar(share, color) {
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: `fill c${color}` }));
  track.firstChild.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return track;
}

export class Classes {
  constructor() {
    this.labels = [];
    this.order = "forgetting";
    this.all = false;
    this.button = document.getElementById("show-all");
    this.button.addEventListener("click", () => {
      this.all = !this.all;
      this.#render();
    });
    this.heads = COLUMNS.map(({ key, head: text }) => {
      const button = element("button", { type: "button", class: "sort" }, text);
      button.addEventListener("click", () => {
        this.order = key;
        this.#render();
      });
      return element("th", { scope: "col", role: "columnheader" }, button);
    });
    document.querySelector("#classes thead tr").append(...this.heads);
  }

  update(state) {
    this.labels = state.labels;
    this.known = state.now.known_labels;
    this.#render();
  }

  #render() {
    const { order, labels } = this;
    COLUMNS.forEach(({ key }, i) => {
      if (key === order) this.heads[i].setAttribute("aria-sort", key === "label" ? "ascending" : "descending");
      else this.heads[i].removeAttribute("aria-sort");
    });
    const value = (each) => each[order] ?? -1;
    const sorted = [...labels].sort((a, b) =>
      (order === "label" ? 0 : value(b) - value(a)) || (order === "label" ? 0 : b.memory - a.memory) || a.label.localeCompare(b.label));
    const most = Object.fromEntries(COLUMNS.map(({ key, most: top }) =>
      [key, top ?? Math.max(1, ...labels.map((each) => each[key] ?? 0))]));
    const shown = this.all ? sorted : sorted.slice(0, SHOWN);
    bodyOf("classes").replaceChildren(...shown.map((each) => element("tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader", dir: "auto" }, each.label),
      ...COLUMNS.slice(1).map(({ key, format, color }) => element("td", { class: "number", role: "cell" },
        element("span", { class: "value" }, format(each[key])), bar((each[key] ?? 0) / most[key], color))))));
    document.getElementById("classes").hidden = !labels.length;
    this.button.hidden = labels.length <= SHOWN;
    const text = this.all ? `Show ${SHOWN}` : `Show all ${labels.length}`;
    if (this.button.textContent !== text) this.button.textContent = text;
    this.button.setAttribute("aria-expanded", String(this.all));
    const left = this.known - labels.length;
    put("classes-note", labels.length
      ? `${plural(labels.length, "class", "classes")}: samples in the replay memory, share of probes answered right, `
        + `and how far that is below its best.${left > 0 ? ` ${plural(left, "more class", "more classes")} without figures of their own.` : ""}`
      : "No label has come yet.");
  }
}

export function recent(rows) {
  document.getElementById("recent-off").hidden = rows !== null;
  document.getElementById("recent-on").hidden = !rows?.length;
  put("recent-note", rows === null ? "" : rows.length ? "The newest first. Each was predicted before its label was used." : "None yet.");
  const wide = (attributes, ...children) => element("td", { role: "cell", ...attributes }, ...children);
  bodyOf("recent").replaceChildren(...[...(rows ?? [])].reverse().map((each) => element("tr", { role: "row" },
    wide({ class: "text", dir: "auto" }, each.text),
    wide({ "data-name": "Predicted" }, each.predicted ?? NONE,
      ...(each.score === null ? [] : [element("span", { class: "muted score" }, ` ${percent(each.score)}`)])),
    wide({ "data-name": "Label" }, each.label ?? NONE),
    wide({}, element("span", { class: `tag ${each.outcome}` },
      each.outcome === "partly_right" ? `${percent(1 - each.error)} right` : each.outcome)))));
}

export function stages(seconds) {
  const work = Object.entries(seconds).filter(([stage]) => stage !== "wait").sort(([, a], [, b]) => b - a);
  const total = work.reduce((sum, [, each]) => sum + each, 0);
  put("stages-note", total ? `${duration(total)} of work, ${duration(seconds.wait ?? 0)} of waiting for records.` : "No work yet.");
  document.getElementById("stages").hidden = !total;
  bodyOf("stages").replaceChildren(...work.map(([stage, each]) => row(head(stage), cell(duration(each), "number"),
    element("td", { class: "number" }, element("span", { class: "value" }, percent(each / total)), bar(each / total, 1)))));
}

export function drift(readings) {
  const called = readings.reduce((sum, { detections }) => sum + detections, 0);
  document.getElementById("drift").hidden = !readings.length;
  put("drift-note", readings.length ? `Called ${plural(called, "time")} since the start.` : "No signal is watched yet.");
  bodyOf("drift").replaceChildren(...readings.map((each) => row(
    element("th", { scope: "row" }, each.signal.replaceAll("_", " "), element("span", { class: "muted score" }, ` ${each.detector}`)),
    cell(figure(each.statistic), "number"), cell(figure(each.threshold), "number"), cell(count(each.detections), "number"))));
}

export function lag(partitions) {
  const sorted = [...partitions].sort((a, b) => b.records - a.records);
  const total = sorted.reduce((sum, { records }) => sum + records, 0);
  const left = sorted.length - PARTITIONS;
  put("lag-note", !sorted.length ? "No partition is assigned yet." : `${plural(total, "record waits", "records wait")} in ${plural(sorted.length, "partition")}.`
    + (left > 0 ? ` The ${PARTITIONS} longest queues:` : ""));
  document.getElementById("lag").hidden = !sorted.length;
  bodyOf("lag").replaceChildren(...sorted.slice(0, PARTITIONS).map((each) =>
    row(head(`${each.topic} [${each.partition}]`), cell(count(each.records), "number"))));
}

export function outcomes(counts, now) {
  const sorted = Object.entries(counts).filter(([, each]) => each > 0).sort(([, a], [, b]) => b - a);
  const waits = now.pending_events || now.early_labels
    ? `${plural(now.pending_events, "event")} without a label yet, ${plural(now.early_labels, "label")} without an event.` : "";
  put("outcomes-note", waits || (sorted.length ? "" : "No label has come yet."));
  document.getElementById("outcomes").hidden = !sorted.length;
  bodyOf("outcomes").replaceChildren(...sorted.map(([outcome, each]) =>
    row(head(outcome.replaceAll("_", " ")), cell(count(each), "number"))));
}

export function deadLetters(reasons) {
  const sorted = Object.entries(reasons).sort(([, a], [, b]) => b - a);
  put("dead-note", sorted.length ? "" : "None: every event could be taken.");
  document.getElementById("dead").hidden = !sorted.length;
  bodyOf("dead").replaceChildren(...sorted.map(([reason, each]) => row(head(reason), cell(count(each), "number"))));
}
