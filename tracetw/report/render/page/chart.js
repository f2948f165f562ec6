// SPDX-License-Identifier: Apache-2.0

const LEFT = 46;
const CHARACTER = 7.2; // of a text of 12 px, at most on average

/** Round numbers up to a maximum: the last one is not below it, and at most five. */
function ticks(most) {
  const rough = Math.max(most, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) || 1;
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, number) => number * step);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
  172800, 604800, 1209600, 2592000, 7776000, 31536000];

/** Times to write below an axis: [ms, text], as many as there is room for. */
function hours(begin, end, room) {
  const wide = (data.shown.dated ? 19 : 8) * CHARACTER + 14;
  const step = 1000 * (STEPS.find((one) => ((end - begin) / 1000 / one) * wide <= room) || 31536000 * 10);
  const zone = data.shown.offset_min * 60000;
  const found = [];
  for (let ms = Math.ceil((begin + zone) / step) * step - zone; ms <= end; ms += step) found.push([ms, at(ms)]);
  return found;
}

/** A text whose middle is at x, but inside 0 to width. */
function within(x, width, y, text, more = {}) {
  const half = (text.length * CHARACTER) / 2;
  const middle = Math.max(half, Math.min(x, width - half));
  return make("text", { x: middle, y, "text-anchor": "middle", ...more }, text);
}

/**
 * Stacked bars. edges: x of the n + 1 edges of the bars; stacks: {code: n numbers}; titles: of each bar;
 * axis: [x, text] below; unit: what is counted; top: room above; under: nodes drawn before the bars.
 */
function bars({ width, label, edges, stacks, titles, axis, unit, top = 24, under = [] }) {
  const [height, bottom] = [216 + top, 26];
  const codes = Object.keys(stacks).reverse();
  const sums = titles.map((_, bin) => sum(codes.map((code) => stacks[code][bin])));
  const lines = ticks(Math.max(...sums, 1));
  const most = Math.max(lines[lines.length - 1], Math.max(...sums, 1) * 1.04);
  const y = (value) => height - bottom - (value * (height - bottom - top)) / most;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  svg.append(make("text", { x: 0, y: 12, class: "unit" }, unit), ...under);
  for (const value of lines) {
    svg.append(make("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
      make("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, brief(value)));
  }
  titles.forEach((title, bin) => {
    let below = 0;
    for (const code of codes) {
      const value = stacks[code][bin];
      if (!value) continue;
      svg.append(make("rect", { class: "bar", x: edges[bin], width: Math.max(edges[bin + 1] - edges[bin] - 0.6, 0.8),
        y: y(below + value), height: Math.max(y(below) - y(below + value), 0.8),
        style: `fill:${color(code)}` }, make("title", {}, `${title}: ${count(value)} ${code}`)));
      below += value;
    }
  });
  let free = -Infinity;
  for (const [x, text] of axis) {
    const node = within(x, width, height - 8, text);
    const begin = Number(node.getAttribute("x")) - (text.length * CHARACTER) / 2;
    if (begin < free) continue;
    free = begin + text.length * CHARACTER + 8;
    svg.append(make("line", { class: "grid", x1: x, x2: x, y1: y(0), y2: y(0) + 4 }), node);
  }
  return svg;
}

/** Numbers of neighbours added up, `factor` at a time. */
const coarse = (numbers, factor) => Array.from({ length: Math.ceil(numbers.length / factor) },
  (_, bin) => sum(numbers.slice(bin * factor, (bin + 1) * factor)));

/** Closes by verdict in time, of the verdicts in `shown`; what incidents took has a ground. */
function timeline(width, shown) {
  const line = data.timeline;
  const codes = Object.keys(line.verdicts).filter((code) => shown.has(code));
  const fine = Object.values(line.verdicts)[0]?.length || 1;
  const factor = Math.ceil((fine * 3) / (width - LEFT));
  const stacks = Object.fromEntries(codes.map((code) => [code, coarse(line.verdicts[code], factor)]));
  const [bins, each] = [Math.ceil(fine / factor), line.width_ms * factor];
  const begin = Date.parse(line.begin);
  const x = (ms) => Math.min(width, LEFT + ((ms - begin) * (width - LEFT)) / (fine * line.width_ms));
  const top = 24;
  const unit = `connections per ${lasting(each)}`;
  return bars({ width, stacks, unit, top,
    label: `Closes in time, ${unit}: ${codes.map((code) => `${code} ${count(sum(line.verdicts[code]))}`).join(", ")}`,
    edges: Array.from({ length: bins + 1 }, (_, bin) => x(begin + bin * each)),
    titles: Array.from({ length: bins }, (_, bin) => at(begin + bin * each)),
    axis: hours(begin, begin + fine * line.width_ms, width - LEFT).map(([ms, text]) => [x(ms), text]),
    under: spans().map(([from, to, name]) => make("rect", { class: "mark", x: x(from), y: top,
      width: Math.max(x(to) - x(from), 2), height: 190 }, make("title", {}, name))) });
}

const MARKS = [60, 240, 350, 900];
const DECADES = [[1, "1 ms"], [10, "10 ms"], [100, "0.1 s"], [1000, "1 s"], [10000, "10 s"], [100000, "100 s"],
  [1e6, "17 min"], [1e7, "2.8 h"], [1e8, "28 h"], [1e9, "12 d"], [1e10, "116 d"]];

/** Connections by a length of time, on a logarithmic scale with the usual idle timeouts. */
function histogram(width, told, shown) {
  const codes = Object.keys(told.verdicts).filter((code) => shown.has(code));
  const ends = data.histograms.flatMap((one) => one.edges_ms); // one scale for all, so that they compare
  const [least, most] = [Math.min(...ends, 1), Math.max(...ends, 2e6)];
  const x = (ms) => LEFT + (Math.log(ms / least) / Math.log(most / least)) * (width - LEFT - 4);
  const free = [];
  const marks = MARKS.map((seconds) => {
    const [middle, text] = [x(seconds * 1000), `${seconds} s`];
    const half = (text.length * CHARACTER) / 2 + 2;
    let row = free.findIndex((end) => end < middle - half);
    if (row < 0) row = free.length;
    free[row] = middle + half;
    return [middle, row, text];
  });
  const top = 24 + 14 * free.length;
  const under = [...marks.map(([x1, row]) => make("line", { class: "timeout", x1, x2: x1, y1: 32 + 14 * row, y2: 190 + top })),
    ...marks.map(([middle, row, text]) => make("text", { class: "timeout", x: middle, y: 28 + 14 * row, "text-anchor": "middle" }, text))];
  const edges = told.edges_ms;
  const titles = edges.slice(1).map((edge, bin) => `${lasting(edges[bin])} to ${lasting(edge)}`);
  return bars({ width, unit: "connections", top, titles, under, edges: edges.map(x),
    stacks: Object.fromEntries(codes.map((code) => [code, told.verdicts[code]])),
    label: `${told.measure}, logarithmic: ${codes.map((code) => `${code} ${count(sum(told.verdicts[code]))}`).join(", ")}`,
    axis: DECADES.filter(([ms]) => ms >= least && ms <= most).map(([ms, text]) => [x(ms), text]) });
}
