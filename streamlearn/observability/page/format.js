// Numbers, times and elements: text always goes in as text, never as markup.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const NONE = "–";

export function percent(value) {
  if (value === null || value === undefined) return NONE;
  return value === 1 ? "100 %" : `${(100 * value).toFixed(1)} %`;
}

export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

export function figure(value) {
  if (value === null || value === undefined) return NONE;
  return Math.abs(value) >= 10000 ? short.format(value) : small.format(value);
}

export function duration(seconds) {
  if (seconds < 1) return `${(1000 * seconds).toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [size, unit] = parts[first];
  const rest = parts[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}` + (more ? ` ${more} ${rest[1]}` : "");
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// The time of day, with the date where the whole spans more than a day.
export function moment(seconds, span) {
  const date = new Date(1000 * seconds);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (span > 4 * 86400) return day.slice(5);
  if (span > 86400) return `${day.slice(5)} ${clock}`;
  return span > 600 ? clock : `${clock}:${two(date.getSeconds())}`;
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function put(id, text) {
  const found = document.getElementById(id);
  if (found.textContent !== text) found.textContent = text;
}
