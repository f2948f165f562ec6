// SPDX-License-Identifier: Apache-2.0

function tile(number, text, bad = false) {
  return make("div", { class: bad ? "tile bad" : "tile" }, make("b", {}, number), make("span", {}, text));
}

function summary() {
  const hosts = data.hosts.map((host) => `${host.name} (Linux ${host.kernel})`);
  $("#span").textContent = `${clock(data.begin)} to ${clock(data.end)} ${data.shown.zone}; ` +
    `${some(hosts, 5)}${data.filtered ? "; only what the filters let through" : ""}`;
  const tiles = [
    tile(count(data.closes), "connections ended"),
    tile(count(data.abnormal), `abnormally (${part(data.abnormal, data.closes)})`,
      data.abnormal > 0),
  ];
  tiles.push(tile(incidents.length ? counted(incidents.length, "incident") : "no incident",
    incidents.length ? `the first at ${clock(incidents[0].began)}` : "nothing went wrong more often at one time than at others",
    incidents.length > 0));
  if (incidents.length) {
    tiles.push(tile(part(data.in_incidents, data.affected),
      `of what went wrong belongs to incidents (${count(data.in_incidents)} of ${count(data.affected)})`));
  }
  $("#summary").append(make("div", { class: "tiles" }, ...tiles));
}

/** Causes of what belongs to no incident. */
function causes() {
  if (!data.causes.length) $("#causes").append(make("p", { class: "hint" }, incidents.length ? "Nothing else went wrong." : "Nothing went wrong."));
  for (const cause of data.causes) {
    const facts = [`processes ${ranking(cause.processes)}`, `ports ${ranking(cause.ports)}`];
    if (Object.keys(cause.containers).length) facts.push(`containers and groups ${ranking(cause.containers)}`);
    if (cause.peers_count > 1) facts.push(`${count(cause.peers_count)} peers: ${some(cause.peers, 5, cause.peers_count)}`);
    const known = data.stories.some((story) => story.cause === cause.number);
    $("#causes ol").append(make("li", {}, make("p", {}, cause.sentence),
      make("p", { class: "facts" }, facts.join("; ")), make("p", { class: "advice" }, cause.advice),
      known ? make("button", { type: "button", class: "link", onclick: () => {
        connections.filter(`cause-${cause.number}.`);
        connections.choose(data.stories.find((story) => story.cause === cause.number));
        $("#stories").scrollIntoView();
      } }, "Show its connections") : null));
  }
}

/** The charts by verdict; what is pressed in one legend is pressed in all. */
function charts() {
  const codes = data.verdicts.map((row) => row.verdict);
  const wrong = codes.filter((code) => abnormal.has(code));
  const shown = new Set(wrong.length ? wrong : codes);
  const again = [];
  const buttons = [];
  const legend = (place, wanted) => place.append(...wanted.map((code) => {
    const button = make("button", { type: "button", "aria-pressed": shown.has(code), "data-code": code, onclick: () => {
      if (shown.has(code)) shown.delete(code); else shown.add(code);
      buttons.forEach((one) => one.setAttribute("aria-pressed", shown.has(one.dataset.code)));
      again.forEach((draw) => draw());
    } }, make("i", { class: "swatch", style: `background:${color(code)}` }), code);
    buttons.push(button);
    return button;
  }));
  $("#timeline").hidden = $("#lengths").hidden = $("#heat").hidden = !codes.length;
  legend($("#timeline .legend"), codes);
  again.push(responsive($("#timeline figure"), (width) => timeline(width, shown)));
  legend($("#lengths .legend"), codes);
  const names = { duration_ms: "How long they lived", idle_ms: "How long the peer had been silent before the first FIN, RST or time-out" };
  for (const told of data.histograms) {
    const unknown = sum(Object.values(told.unknown));
    const figure = make("figure");
    $("#lengths").append(make("h3", {}, names[told.measure] || told.measure), told.edges_ms.length ? figure : "",
      unknown ? make("p", { class: "soft" }, `Not known of ${counted(unknown, "connection")}: ${ranking(told.unknown)}.`) : "");
    if (told.edges_ms.length) again.push(responsive(figure, (width) => histogram(width, told, shown)));
  }
}

const DISAGREEMENTS = 20;

function both() {
  if (!data.pairs && !data.both.length) return;
  $("#both").hidden = false;
  $("#both h2").after(make("p", { class: "hint" }, `${counted(data.pairs, "connection")} had both sides recorded.`));
  if (!data.both.length) $("#both ul").append(make("li", {}, "Both sides agree on all of them."));
  const line = (one) => make("li", {}, `${one.sentence} `, one.stories.length
    ? make("button", { type: "button", class: "link", onclick: () => {
      connections.filter("");
      connections.choose(data.stories.find((story) => story.number === one.stories[0]));
      $("#stories").scrollIntoView();
    } }, "Show one") : null);
  const more = data.both.slice(DISAGREEMENTS);
  $("#both ul").append(...data.both.slice(0, DISAGREEMENTS).map(line));
  if (more.length) {
    $("#both").append(make("details", {}, make("summary", {}, `${count(more.length)} more`), make("ul", {}, ...more.map(line))));
  }
  for (const one of data.clocks) $("#both ul").append(make("li", {}, one.sentence));
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
  const columns = ["host", "namespaces", "name", "value", "reason", "advice"].map((name) =>
    ({ title: name[0].toUpperCase() + name.slice(1), value: (row) => String(row[name]), show: (row) => [].concat(row[name]).join(", ") }));
  $("#limits").append(grid("Settings", columns, data.settings, { down: false }).node);
}

for (const story of data.stories) {
  story.search = (story.cause ? `cause-${story.cause}. ` : "") + (story.incident ? `incident-${story.incident}.` : "");
}
const connections = storyTable("Connections", data.stories);

summary();
overview();
causes();
charts();
heats();
verdictsByPeer();
both();
$("#stories .hint").textContent = `${count(data.stories.length)} of ${counted(data.closes, "connection")}: ` +
  "a few of every sort. Choose one to see its segments.";
$("#stories").hidden = !data.stories.length;
$("#stories .table").append(connections.node);
if (data.stories.length && !incidents.length) connections.choose(data.stories.find((story) => story.other) || data.stories[0]);
for (const section of [ranked("Peers", "Peer", data.peers, data.counts.peers),
  ranked("Processes", "Process", data.processes, data.counts.processes),
  ranked("Ports", "Port", data.ports, data.counts.ports),
  ranked("Containers and groups", "Container or group", data.containers, data.counts.containers)]) {
  if (section) $("#tables").append(section);
}
limits();
quality();
