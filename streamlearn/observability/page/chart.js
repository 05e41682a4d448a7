// Line charts over time, drawn with SVG: axes with units, a legend with the latest values, and a cursor that the
// pointer or the arrow keys move.

import { NONE, element, moment } from "./format.js";

const HEIGHT = 210;
const MARGIN = { top: 12, right: 12, bottom: 24, left: 46 };
const SVG = "http://www.w3.org/2000/svg";
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800,
  432000, 864000, 2592000, 7776000, 31536000];

function svg(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// A round number at or above `value`, and the step of about `n` ticks below it.
function scale(value, n = 4) {
  const raw = Math.max(value, 1e-9) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw * 0.999);
  return { top: step * Math.ceil(value / step - 1e-9) || step, step };
}

// options: title, axis (what the vertical axis has, with its unit), format (of a value), tick (of a tick; else format),
// top (the axis ends there; else at the greatest value), atLeast (the axis goes at least so far), cut (never further),
// limit {value, text} (a line across), area (fill below the first line)
export class Chart {
  constructor(parent, options) {
    this.options = options;
    this.data = { time: [], lines: [], marks: [] };
    this.cursor = null; // index of a point
    this.legend = element("ul", { class: "legend" });
    this.plot = element("div", { class: "plot", role: "img", tabindex: "0", "aria-label": `${options.title}: no data yet` });
    this.tip = element("div", { class: "tip", "aria-hidden": "true", hidden: "" });
    parent.append(element("figure", { class: "card chart" },
      element("figcaption", {}, element("h3", {}, options.title), element("p", { class: "muted" }, options.axis)),
      this.legend, this.plot, this.tip));
    this.plot.addEventListener("pointermove", (event) => this.#point(event.clientX));
    this.plot.addEventListener("pointerdown", (event) => this.#point(event.clientX));
    this.plot.addEventListener("pointerleave", () => this.#move(null));
    this.plot.addEventListener("blur", () => this.#move(null));
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#render()).observe(this.plot);
  }

  // data: time (seconds), lines [{name, values, color}] (color: 1 to 8), marks [{time, text}]
  draw(data) {
    const at = this.cursor === null ? null : this.data.time[this.cursor];
    this.data = data;
    if (at !== null) {
      const found = data.time.findIndex((each) => each >= at);
      this.cursor = found < 0 ? null : found;
    }
    this.#render();
  }

  #render() {
    const { time, lines, marks } = this.data;
    const { options } = this;
    const width = Math.max(this.plot.clientWidth, 120);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const picture = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    const some = time.length > 0 && lines.some(({ values }) => values.some((value) => value !== null));
    if (!some) {
      this.plot.replaceChildren(picture);
      picture.append(svg("text", { x: width / 2, y: HEIGHT / 2, class: "none" }, "No data yet"));
      this.legend.replaceChildren(...lines.map((line) => this.#entry(line)));
      return;
    }
    const most = Math.max(options.atLeast ?? 0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
    const { top, step } = scale(options.top ?? Math.min(most, options.cut ?? Infinity));
    const [first, last] = [time[0], time[time.length - 1]];
    const span = Math.max(last - first, 1);
    this.x = (moment) => MARGIN.left + (inner.width * (moment - first)) / span;
    this.y = (value) => MARGIN.top + inner.height * (1 - Math.min(value, top) / top);

    for (let value = 0; value <= top * 1.0001; value += step) {
      const y = this.y(value).toFixed(1);
      picture.append(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y, class: value ? "grid" : "base" }));
      const cut = most > top && value + step > top * 1.0001 ? "+" : "";
      picture.append(svg("text", { x: MARGIN.left - 8, y, class: "tick y" }, (options.tick ?? options.format)(value) + cut));
    }
    const timeStep = TIME_STEPS.find((each) => span / each <= inner.width / 84) ?? TIME_STEPS[TIME_STEPS.length - 1];
    const zone = 60 * new Date(1000 * first).getTimezoneOffset();
    for (let at = Math.ceil((first - zone) / timeStep) * timeStep + zone; at <= last; at += timeStep) {
      const x = this.x(at);
      picture.append(svg("line", { x1: x, x2: x, y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4, class: "base" }));
      const anchor = x > width - 36 ? "end" : x < MARGIN.left + 14 ? "start" : "middle";
      picture.append(svg("text", { x, y: HEIGHT - 6, class: "tick", "text-anchor": anchor }, moment(at, span)));
    }
    if (options.limit) {
      const y = this.y(options.limit.value);
      picture.append(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y, class: "limit" }));
    }
    for (const mark of marks) {
      if (mark.time < first || mark.time > last) continue;
      const x = this.x(mark.time).toFixed(1);
      picture.append(svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "called" }));
      picture.append(svg("path", { d: `M${x} ${MARGIN.top + 6} l-5 -8 h10 z`, class: "called-head" }));
    }
    lines.forEach(({ values, color }, number) => {
      const line = this.#path(values);
      if (options.area && number === 0) {
        picture.append(svg("path", { d: this.#area(values), class: `area c${color}` }));
      }
      picture.append(svg("path", { d: line, class: `line c${color}` }));
    });
    if (options.limit) {
      picture.append(svg("text", { x: width - MARGIN.right, y: this.y(options.limit.value) - 5, class: "limit-text" }, options.limit.text));
    }
    this.cross = svg("g");
    picture.append(this.cross);
    this.plot.replaceChildren(picture);
    this.legend.replaceChildren(...lines.map((line) => this.#entry(line)));
    const latest = lines.map(({ name, values }) => `${name} ${this.#shown(values[values.length - 1])}`);
    const called = marks.length ? ` Drift was called ${marks.length} times, last at ${moment(marks[marks.length - 1].time, 0)}.` : "";
    this.plot.setAttribute("aria-label",
      `${options.title} from ${moment(first, 0)} to ${moment(last, 0)}. Latest: ${latest.join(", ")}.${called}`);
    this.#move(this.cursor);
  }

  // A point without neighbours is a line of no length, which a round cap makes a dot.
  #path(values) {
    let path = "";
    let pen = false;
    values.forEach((value, i) => {
      if (value !== null) {
        const place = `${this.x(this.data.time[i]).toFixed(1)} ${this.y(value).toFixed(1)}`;
        path += pen ? `L${place}` : `M${place}h0`;
      }
      pen = value !== null;
    });
    return path;
  }

  #area(values) {
    const known = values.map((value, i) => [value, i]).filter(([value]) => value !== null);
    if (known.length < 2) return "";
    const x = (i) => this.x(this.data.time[i]).toFixed(1);
    const base = this.y(0).toFixed(1);
    const top = known.map(([value, i]) => `L${x(i)} ${this.y(value).toFixed(1)}`).join("");
    return `M${x(known[0][1])} ${base}${top}L${x(known[known.length - 1][1])} ${base}Z`;
  }

  #shown(value) {
    return value === null || value === undefined ? NONE : this.options.format(value);
  }

  #entry({ name, values, color }) {
    const latest = values.length ? values[values.length - 1] : null;
    return element("li", {}, element("span", { class: `key c${color}`, "aria-hidden": "true" }), `${name} `,
      element("strong", {}, this.#shown(latest)));
  }

  #point(clientX) {
    const { time } = this.data;
    if (!time.length || !this.x) return;
    const x = clientX - this.plot.getBoundingClientRect().left;
    let nearest = 0;
    time.forEach((each, i) => {
      if (Math.abs(this.x(each) - x) < Math.abs(this.x(time[nearest]) - x)) nearest = i;
    });
    this.#move(nearest);
  }

  #key(event) {
    const last = this.data.time.length - 1;
    const from = this.cursor ?? last;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.#move(to === null ? null : Math.min(Math.max(to, 0), last));
  }

  #move(index) {
    this.cursor = index;
    const { time, lines, marks } = this.data;
    if (this.cross) this.cross.replaceChildren();
    this.tip.hidden = index === null || !time.length || !this.cross;
    if (this.tip.hidden) return;
    const x = this.x(time[index]);
    this.cross.append(svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "cursor" }));
    for (const { values, color } of lines) {
      if (values[index] !== null) this.cross.append(svg("circle", { cx: x, cy: this.y(values[index]), r: 4, class: `dot-at c${color}` }));
    }
    const rows = lines.map(({ name, values, color }) =>
      element("span", { class: "tip-row" }, element("span", { class: `key c${color}` }), element("span", {}, name),
        element("strong", {}, this.#shown(values[index]))));
    const near = marks.filter((mark) => Math.abs(this.x(mark.time) - x) <= 6).slice(-3);
    this.tip.replaceChildren(element("span", { class: "tip-time" }, moment(time[index], 0)), ...rows,
      ...near.map((mark) => element("span", { class: "tip-mark" }, mark.text)));
    const left = this.plot.offsetLeft + x + 12;
    const room = this.plot.offsetLeft + this.plot.clientWidth;
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${left + wide > room ? Math.max(this.plot.offsetLeft, left - wide - 24) : left}px`;
    this.tip.style.top = `${this.plot.offsetTop + 8}px`;
  }
}
