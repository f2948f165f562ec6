// SPDX-License-Identifier: Apache-2.0

const $ = (selector) => document.querySelector(selector);

function tile(number, text, bad = false) {
  return make("div", { class: bad ? "tile bad" : "tile" }, make("b", {}, number), make("span", {}, text));
}

function summary() {
  $("#span").textContent = `${clock(data.begin)} to ${clock(data.end)} ${data.shown.zone}; ` +
    `${data.hosts.map((host) => `${host.name} (Linux ${host.kernel})`).join(", ")}` +
    `${data.filtered ? "; only what the filters let through" : ""}`;
  const tiles = [
    tile(count(data.closes), "connections ended"),
    tile(count(data.abnormal), `abnormally (${part(data.abnormal, data.closes)})`,
      data.abnormal > 0),
  ];
  if (data.incidents.length) {
    tiles.push(tile(count(data.incidents.length), data.incidents.length === 1 ? "incident" : "incidents", true),
      tile(clock(data.incidents[0].began), `the first began; ${count(data.in_incidents)} of ` +
        `${count(data.affected)} are in incidents`));
  } else tiles.push(tile("no incident", "nothing went wrong more often at one time than at others"));
  $("#summary").append(make("div", { class: "tiles" }, ...tiles));
}

const listed = (counts) => Object.entries(counts).slice(0, 5)
  .map(([name, number]) => `${name} (${count(number)})`).join(", ");

/** One incident or cause: its sentence, who, what to do, and a way to its connections. */
function finding(list, one, which) {
  const facts = [`processes ${listed(one.processes)}`, `ports ${listed(one.ports)}`];
  if (Object.keys(one.containers).length) facts.push(`containers and groups ${listed(one.containers)}`);
  const peers = Array.isArray(one.peers) ? one.peers : Object.keys(one.peers);
  if (one.peers_count > 1) facts.push(`${count(one.peers_count)} peers: ${peers.slice(0, 5).join(", ")}`);
  const known = data.stories.some((story) => story[which] === one.number);
  $(list).append(make("li", {}, make("p", {}, one.sentence),
    make("p", { class: "facts" }, facts.join("; ")), make("p", { class: "advice" }, one.advice),
    known ? make("button", { type: "button", class: "link", onclick: () => {
      connections.filter(`${which}-${one.number}.`);
      connections.choose(data.stories.find((story) => story[which] === one.number));
      $("#stories").scrollIntoView();
    } }, "Show its connections") : null));
}

function causes() {
  for (const one of data.incidents) finding("#incidents ol", one, "incident");
  if (!data.incidents.length) $("#incidents").append(make("p", { class: "hint" }, "No incident."));
  for (const one of data.causes) finding("#causes ol", one, "cause");
  $("#causes").hidden = !data.causes.length;
}

function times() {
  const codes = Object.keys(data.timeline.verdicts);
  const wrong = codes.filter((code) => abnormal.has(code));
  const shown = new Set(wrong.length ? wrong : codes);
  const draw = () => $("#timeline figure").replaceChildren(timeline(shown));
  for (const code of codes) {
    const button = make("button", { type: "button", "aria-pressed": shown.has(code), onclick: () => {
      if (shown.has(code)) shown.delete(code); else shown.add(code);
      button.setAttribute("aria-pressed", shown.has(code));
      draw();
    } }, make("i", { class: "swatch", style: `background:${color(code)}` }), code);
    $("#timeline .legend").append(button);
  }
  draw();
}

function heat() {
  const peers = data.peers.slice(0, 30);
  const codes = data.verdicts.map((row) => row.verdict)
    .filter((code) => peers.some((peer) => peer.verdicts[code]))
    .sort((a, b) => abnormal.has(b) - abnormal.has(a));
  const most = Math.max(1, ...peers.flatMap((peer) =>
    codes.filter((code) => abnormal.has(code)).map((code) => peer.verdicts[code] || 0)));
  const cell = (peer, code) => {
    const number = peer.verdicts[code] || 0;
    if (!number) return make("td", {}, make("span", {}, "\u00b7"));
    const share = abnormal.has(code) ? 0.12 + (0.6 * Math.log1p(number)) / Math.log1p(most) : 0;
    return make("td", { style: share ? `background:rgba(var(--heat),${share.toFixed(2)})` : "" },
      make("button", { type: "button", "aria-label": `${peer.name}: ${number} ${code}`, onclick: () => {
        connections.filter(`${peer.name} ${code}`);
        $("#stories").scrollIntoView();
      } }, count(number)));
  };
  $("#heat .scroll").append(make("table", { class: "heat" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Peer"),
      ...codes.map((code) => make("th", { scope: "col", class: "num" }, code)))),
    make("tbody", {}, ...peers.map((peer) => make("tr", {}, make("th", { scope: "row" }, peer.name),
      ...codes.map((code) => cell(peer, code)))))));
}

function both() {
  if (!data.pairs && !data.both.length) return;
  $("#both").hidden = false;
  $("#both h2").after(make("p", { class: "hint" }, `${count(data.pairs)} connections were recorded on both sides.`));
  if (!data.both.length) $("#both ul").append(make("li", {}, "Both sides agree on all of them."));
  for (const one of data.both) {
    $("#both ul").append(make("li", {}, `${one.sentence} `, one.stories.length
      ? make("button", { type: "button", class: "link", onclick: () => {
        connections.filter("");
        connections.choose(data.stories.find((story) => story.number === one.stories[0]));
        $("#stories").scrollIntoView();
      } }, "Show one") : null));
  }
}

function tell(story) {
  const close = story.close;
  const facts = [
    ["Ended", `${clock(close.time, 3)} ${data.shown.zone} on ${close.host}`],
    ["Closed by", `${close.closed_by || "unknown"}, first: ${close.first_close}, form: ${close.form || "unknown"}`],
    ["Lived", close.duration_ms === null ? "began before the recording" : `${(close.duration_ms / 1000).toFixed(3)} s`],
    ["Sent, received", `${count(close.bytes_sent)} and ${count(close.bytes_received)} bytes`],
    ["Retransmissions", `${close.retransmits.total} (FIN ${close.retransmits.fin})`],
    ["Error", close.error || "none"],
    ["Container", close.container || close.cgroup || "none"],
    ["Evidence", `${close.evidence.join(", ")} (${close.confidence})`],
  ];
  $("#story").replaceChildren(make("h3", {}, badge(close.verdict)), make("p", { class: "why" }, close.why),
    story.disagreement ? make("p", { class: "warn" }, story.disagreement) : "",
    story.other ? make("p", { class: "why" }, `${story.other.host} says: ${story.other.why}`) : "",
    make("figure", {}, ladder(story)),
    make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])));
}

function quality() {
  for (const host of data.hosts) {
    const bad = [...host.damage, ...host.losses, ...host.gaps];
    $("#quality").append(make("h3", {}, `${host.name}: ${count(host.closes)} closes recorded, ` +
      `${bad.length ? "not whole" : "whole, nothing lost"}`),
    make("ul", {}, ...bad.map((text) => make("li", {}, text))));
    if (!host.reconciliation) {
      $("#quality").append(make("p", { class: "hint" }, `Not reconciled with the kernel: ${host.not_reconciled}.`));
      continue;
    }
    const value = (number) => (number === null ? "-" : count(number));
    const columns = [["Kernel counter", "counter"], ["Kernel", "kernel"], ["Explained", "explained"],
      ["Difference", "difference"], ["Reason", "reason"]].map(([title, name]) => ({ title,
      value: (row) => row[name], num: typeof host.reconciliation[0]?.[name] === "number",
      show: (row) => (typeof row[name] === "number" ? value(row[name]) : row[name] || "") }));
    $("#quality").append(grid(`Counters of ${host.name}`, columns, host.reconciliation, { down: false }).node);
  }
  if (data.notes.length) $("#quality").append(make("ul", {}, ...data.notes.map((note) => make("li", {}, note))));
}

function limits() {
  if (!data.time_wait.length && !data.settings.length) return;
  $("#limits").hidden = false;
  $("#limits").append(make("ul", {}, ...data.time_wait.map((one) =>
    make("li", { class: one.serious ? "warn" : null }, one.sentence))));
  if (!data.settings.length) return;
  const columns = ["host", "name", "value", "reason", "advice"].map((name) =>
    ({ title: name[0].toUpperCase() + name.slice(1), value: (row) => row[name], show: (row) => row[name] }));
  $("#limits").append(grid("Settings", columns, data.settings, { down: false }).node);
}

for (const story of data.stories) story.search = story.incident ? `incident-${story.incident}.` : story.cause ? `cause-${story.cause}.` : "";
const connections = grid("Connections", [
  { title: "Time", value: (story) => story.close.time, show: (story) => clock(story.close.time) },
  { title: "Local", value: (story) => place(story.close.local), show: (story) => place(story.close.local) },
  { title: "Remote", value: (story) => place(story.close.remote), show: (story) => place(story.close.remote) },
  { title: "Process", value: (story) => story.close.comm || "", show: (story) => story.close.comm || "-" },
  { title: "Verdict", value: (story) => story.close.verdict, show: (story) => badge(story.close.verdict) },
  { title: "Incident", value: (story) => story.incident ?? 1e9, show: (story) => story.incident ?? "-", num: true },
], data.stories, { pick: tell, sort: 5, down: false });

summary();
causes();
times();
heat();
both();
$("#stories .table").append(connections.node);
if (data.stories.length) connections.choose(data.stories.find((story) => story.other) || data.stories[0]);
$("#tables").append(ranked("Peers", "Peer", data.peers), ranked("Processes", "Process", data.processes),
  ranked("Ports", "Port", data.ports), ranked("Containers and groups", "Container or group", data.containers));
limits();
quality();
