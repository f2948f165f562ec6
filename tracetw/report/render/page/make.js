// SPDX-License-Identifier: Apache-2.0
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector) => document.querySelector(selector);
const COLORS = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];
const SVG = new Set(["svg", "g", "rect", "line", "text", "title"]);

/** An element: attributes by name, "on..." as listeners, children as nodes or text. */
function make(name, attributes = {}, ...children) {
  const node = SVG.has(name)
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

/** Draws into a figure, again whenever it has another width. */
function responsive(figure, draw) {
  let drawn = 0;
  const again = () => {
    drawn = Math.floor(figure.clientWidth);
    if (drawn) figure.replaceChildren(draw(drawn));
  };
  new ResizeObserver(() => { if (Math.floor(figure.clientWidth) !== drawn) again(); }).observe(figure);
  again();
  return again;
}

/** Gives a table another class as long as it does not fit into what it scrolls in; tells when to look again. */
function fitting(scroll, table, name) {
  const look = () => {
    table.classList.remove(name);
    if (scroll.clientWidth && scroll.scrollWidth > scroll.clientWidth + 1) table.classList.add(name);
  };
  let seen = 0;
  new ResizeObserver(() => {
    if (scroll.clientWidth === seen) return;
    seen = scroll.clientWidth;
    look();
  }).observe(scroll);
  return look;
}

const count = (number) => number.toLocaleString("en-US");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** A number in at most four characters: 999, 1.2k, 12k, 1.2M. */
function brief(number) {
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number < unit * 0.9995) continue;
    const some = number / unit;
    return `${some < 9.95 ? Number(some.toFixed(1)) : Math.round(some)}${letter}`;
  }
  return String(number);
}

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
const at = (ms) => clock(new Date(ms).toISOString());

/** How long, in the units a person counts in: 0.4 ms, 15 s, 2 min 30 s, 4 h. */
function lasting(ms) {
  if (ms < 1000) return `${Number(ms.toPrecision(3))} ms`;
  if (ms < 60000) return `${Number((ms / 1000).toPrecision(3))} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.round(ms / 1000);
  const words = [];
  for (const [name, seconds] of units) {
    if (left >= seconds && words.length < 2) words.push(`${Math.floor(left / seconds)} ${name}`);
    else if (words.length) break;
    left %= seconds;
  }
  return words.join(" ");
}

/** Some of a list and how many more there are. */
function some(words, most, all = words.length) {
  const more = all - Math.min(words.length, most);
  return words.slice(0, most).join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
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

const place = (end) => (end.addr === null ? "unknown"
  : end.addr.includes(":") ? `[${end.addr}]:${end.port}` : `${end.addr}:${end.port}`);

/** Of a container's id 12 digits are enough. */
const short = (text) => (/^[0-9a-f]{64}$/.test(text) ? `${text.slice(0, 12)}\u2026` : text);

/** A name: an address is broken before its port at most. */
function named(text) {
  if (short(text) !== text) return make("abbr", { title: text }, short(text));
  const address = /^(\d+\.\d+\.\d+\.\d+|\[?[0-9a-f]*:[0-9a-f:.]*\]?)(:\d+)?$/.exec(text);
  if (!address) return make("span", { class: "any" }, text);
  const name = data.names[address[1].replace(/[[\]]/g, "")];
  return make("span", {}, make("span", { class: "addr" }, address[1]),
    ...(address[2] ? [make("wbr"), make("span", { class: "addr" }, address[2])] : []),
    ...(name ? [" ", make("span", { class: "any name" }, `(${name})`)] : []));
}
