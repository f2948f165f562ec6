// SPDX-License-Identifier: Apache-2.0
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const COLORS = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];

/** An element: attributes by name, "on..." as listeners, children as nodes or text. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "line", "text", "path", "title", "defs", "marker"].includes(name);
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") node.style.cssText = value;
    else if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const count = (number) => number.toLocaleString("en-US");
// As share() in tracetw/sink/human.py: only nothing is 0 and all is 100.
const part = (some, whole) => {
  const percent = whole ? (100 * some) / whole : 0;
  if (some <= 0 || some >= whole) return some > 0 ? "100%" : "0%";
  return percent < 0.1 ? "<0.1%" : percent > 99.9 ? ">99.9%" : `${percent.toFixed(1)}%`;
};

/** A time of the document as it is shown: the zone is that of the sentences. */
function clock(text, digits = 0) {
  if (!text) return "-";
  const shifted = new Date(Date.parse(text) + data.shown.offset_min * 60000).toISOString();
  const time = shifted.slice(11, digits ? 20 + digits : 19);
  return data.shown.dated ? `${shifted.slice(0, 10)} ${time}` : time;
}

const abnormal = new Set(data.verdicts.filter((row) => row.abnormal).map((row) => row.verdict));
const colorOf = new Map();
for (const row of data.verdicts) {
  const next = [...colorOf.keys()].filter((code) => abnormal.has(code)).length;
  if (!abnormal.has(row.verdict)) colorOf.set(row.verdict, "--c-orderly");
  else colorOf.set(row.verdict, next < COLORS.length ? COLORS[next] : "--c8");
}
const color = (code) => `var(${colorOf.get(code) || "--c8"})`;

function badge(code) {
  return make("span", { class: "badge" },
    make("i", { class: "swatch", style: `background:${color(code)}` }), code);
}

/** Round numbers below a maximum: at most four of them. */
function ticks(most) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) || 1;
  const found = [];
  for (let value = step; value <= most; value += step) found.push(value);
  return found;
}

/** Stacked bars: closes by verdict in time, of the verdicts in `shown`. */
function timeline(shown) {
  const [width, height, left, bottom, top] = [1120, 240, 52, 28, 8];
  const line = data.timeline;
  const codes = Object.keys(line.verdicts).filter((code) => shown.has(code)).reverse();
  const bins = Object.values(line.verdicts)[0]?.length || 1;
  const sums = Array.from({ length: bins }, (_, at) =>
    codes.reduce((sum, code) => sum + line.verdicts[code][at], 0));
  const most = Math.max(...sums, 1);
  const begin = Date.parse(line.begin);
  const x = (bin) => left + (bin * (width - left)) / bins;
  const y = (value) => height - bottom - (value * (height - bottom - top)) / most;
  const label = `Closes in time: at most ${count(most)} in ${line.width_ms / 1000} s. ` +
    codes.map((code) => `${code} ${count(line.verdicts[code].reduce((a, b) => a + b, 0))}`).join(", ");
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const incident of data.incidents) {
    const at = (text) => x((Date.parse(text) - begin) / line.width_ms);
    const [from, to] = [at(incident.began), at(incident.ended)];
    svg.append(make("rect", { class: "mark", x: from, y: top, width: Math.max(to - from, 2),
      height: height - bottom - top }, make("title", {}, `incident ${incident.number}: ${incident.title}`)));
  }
  for (const value of ticks(most)) {
    svg.append(make("line", { class: "grid", x1: left, x2: width, y1: y(value), y2: y(value) }),
      make("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, count(value)));
  }
  for (let at = 0; at < bins; at += 1) {
    let below = 0;
    for (const code of codes) {
      const value = line.verdicts[code][at];
      if (!value) continue;
      const time = clock(new Date(begin + at * line.width_ms).toISOString());
      svg.append(make("rect", { x: x(at), width: Math.max((width - left) / bins - 0.6, 0.8),
        y: y(below + value), height: Math.max(y(below) - y(below + value), 0.8),
        style: `fill:${color(code)}` }, make("title", {}, `${time}: ${count(value)} ${code}`)));
      below += value;
    }
  }
  svg.append(make("line", { class: "grid", x1: left, x2: width, y1: y(0), y2: y(0) }));
  const labels = data.shown.dated ? 4 : 8;
  for (let part = 0; part < labels; part += 1) {
    const bin = Math.floor((part * bins) / labels);
    svg.append(make("text", { x: x(bin), y: height - 8 },
      clock(new Date(begin + bin * line.width_ms).toISOString())));
  }
  return svg;
}

const place = (end) => (end.addr === null ? "unknown"
  : end.addr.includes(":") ? `[${end.addr}]:${end.port}` : `${end.addr}:${end.port}`);

const began = (close) => {
  const last = [...close.states].reverse().find((entry) => entry.at_ms !== null);
  return Date.parse(close.time) - (last ? last.at_ms : 0);
};

/** The segments of a story between two lifelines; time goes down, not to scale. */
function ladder(story) {
  const [width, left, right, row, top] = [620, 150, 490, 36, 52];
  const close = story.close;
  const height = top + story.ladder.length * row + 24;
  const label = `${close.verdict}: ` + story.ladder.map((step) => step.label).join(", ");
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label,
    class: "ladder" });
  svg.append(make("defs", {}, ...["soft", "accent", "bad"].map((name) =>
    make("marker", { id: `to-${name}`, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 8,
      markerHeight: 8, orient: "auto-start-reverse", markerUnits: "userSpaceOnUse" },
    make("path", { d: "M0 0 L8 4 L0 8 z", style: `fill:var(--${name});stroke:none` })))));
  const head = (at, first, second) => svg.append(
    make("text", { x: at, y: 16, class: "ink", "text-anchor": "middle" }, first),
    make("text", { x: at, y: 32, "text-anchor": "middle" }, second));
  const owner = (one) => (one.comm ? `${one.comm}${one.pid ? ` (${one.pid})` : ""}` : one.host);
  head(left, story.other ? `${close.host} ${owner(close)}` : owner(close), place(close.local));
  head(right, story.other ? `${story.other.host} ${owner(story.other)}` : "peer", place(close.remote));
  for (const at of [left, right]) {
    svg.append(make("line", { class: "life", x1: at, x2: at, y1: 40, y2: height - 8 }));
  }
  const between = ["reset-from-between", "reset-not-sent"].includes(story.kind);
  story.ladder.forEach((step, number) => svg.append(rung(step, top + number * row + 18, left, right,
    between && step.kind === "rst" ? story.kind : null)));
  if (story.other) {
    const start = began(close);
    const offset = began(story.other) - start;
    let lowest = 0;
    for (const entry of story.other.states) {
      const when = entry.at_ms === null ? null : entry.at_ms + offset;
      let at = story.ladder.findIndex((step) => step.at_ms !== null && when !== null && step.at_ms >= when);
      at = Math.max(at < 0 ? story.ladder.length - 1 : at, lowest);
      lowest = Math.min(at + 1, story.ladder.length - 1);
      svg.append(make("text", { class: "state", x: right + 8, y: top + at * row + 22 },
        `${entry.state}`));
    }
    svg.append(make("text", { class: "ink state", x: right + 8, y: height - 10 }, story.other.verdict));
  }
  return svg;
}

function rung(step, y, left, right, between) {
  const group = make("g", { class: step.kind });
  const time = step.at_ms === null ? "" : step.at_ms >= 10000
    ? `${(step.at_ms / 1000).toFixed(1)} s` : `${step.at_ms.toFixed(1)} ms`;
  if (time) group.append(make("text", { x: 62, y: y + 4, "text-anchor": "end" }, time));
  if (step.state) {
    group.append(make("text", { class: "state", x: left - 6, y: y + 4, "text-anchor": "end" }, step.state));
  }
  const middle = (left + right) / 2;
  if (step.from === null) {
    const wide = step.label.length * 7 + 24;
    if (step.kind === "end") group.append(make("rect", { x: middle - wide / 2, y: y - 12, width: wide, height: 22, rx: 4 }));
    group.append(make("text", { class: "label", x: middle, y: y + 4 }, step.label));
    return group;
  }
  if (between) {
    const arrow = (to) => make("line", { x1: middle, x2: to, y1: y, y2: y, "marker-end": "url(#to-bad)" });
    group.append(arrow(left + 2), make("text", { class: "label", x: middle, y: y - 6 },
      `${step.label}: from between`), make("text", { class: "between", x: middle, y: y + 4, "text-anchor": "middle" }, "\u25c6"));
    if (between === "reset-from-between") group.append(arrow(right - 2));
    return group;
  }
  const lost = step.kind === "lost";
  const [from, to] = step.from === "local" ? [left + 2, right - 2] : [right - 2, left + 2];
  const end = lost ? from + (to - from) * 0.72 : to;
  const tone = step.kind === "fin" ? "accent" : step.kind === "rst" || lost ? "bad" : "soft";
  group.append(make("line", { x1: from, x2: end, y1: y, y2: y,
    "marker-end": lost ? null : `url(#to-${tone})` }));
  if (lost) group.append(make("text", { class: "label", x: end + 8, y: y + 4 }, "\u2715"));
  group.append(make("text", { class: "label", x: middle, y: y - 6 }, step.label));
  return group;
}
