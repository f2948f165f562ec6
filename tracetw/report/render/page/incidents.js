// SPDX-License-Identifier: Apache-2.0

const [LANES, OPENED] = [12, 3];
const { incidents } = data;
const instant = (text) => Date.parse(text);

/** What the charts lay a ground under: [from, to, name]. */
function spans() {
  return incidents.map((one) => [instant(one.began), instant(one.ended), `incident ${one.number}: ${one.title}`]);
}

const stretch = (one) => {
  const ms = instant(one.ended) - instant(one.began);
  return `${clock(one.began, 3)} to ${clock(one.ended, 3)}${ms >= 1 ? ` (${lasting(ms)})` : ""}`;
};
const reach = (one) => counted(one.total, "connection");

/** One line for each incident: what, when, how many; and a bar where it stands in time. */
function lanes() {
  const begin = instant(data.timeline.begin);
  const whole = (Object.values(data.timeline.verdicts)[0]?.length || 1) * data.timeline.width_ms;
  const percent = (text) => Math.min(100, Math.max(0, (100 * (instant(text) - begin)) / whole));
  const lane = (one) => {
    const [from, to] = [percent(one.began), percent(one.ended)];
    return make("li", {}, make("a", { href: `#incident-${one.number}` },
      make("span", { class: "number" }, one.number), make("span", { class: "what" }, one.title),
      make("span", { class: "soft" }, `${stretch(one)}, ${reach(one)}`),
      make("span", { class: "track" }, make("i", { style: `left:${from}%;width:${to - from}%` }))));
  };
  const more = incidents.slice(LANES);
  return [make("ol", { class: "lanes" }, ...incidents.slice(0, LANES).map(lane)),
    ...(more.length ? [make("details", {}, make("summary", {}, `${counted(more.length, "more incident")}`),
      make("ol", { class: "lanes" }, ...more.map(lane)))] : [])];
}

/** What incidents have and what belongs to none. */
function overview() {
  const outside = data.affected - data.in_incidents;
  const words = incidents.length
    ? `${count(data.in_incidents)} of ${counted(data.affected, "connection")} that went wrong belong to incidents; ` +
      `${outside ? `${count(outside)} to none (below)` : "none is left over"}.`
    : data.affected ? `No incident: ${counted(data.affected, "connection")} went wrong, at no time more often than at others.`
      : "No incident: nothing went wrong.";
  $("#causes h2").textContent = "What belongs to no incident";
  $("#incidents").append(make("p", { class: "hint" }, words), ...lanes());
  $("#each").append(...incidents.map(section));
}

const ranking = (counts, all = 0) => {
  const names = Object.entries(counts).map(([name, number]) => `${short(name)} (${count(number)})`);
  return some(names, 5, Math.max(all, names.length));
};

function actor(one) {
  if (!one) return null;
  const name = [one.comm, one.pid ? `(pid ${one.pid})` : null, one.address].filter(Boolean).join(" ");
  const how = one.oom ? "killed by the OOM killer" : one.signal ? `signal ${one.signal}`
    : one.code !== null && one.code !== undefined ? `exit code ${one.code}` : null;
  return [[one.what, name].filter(Boolean).join(" "), one.unit, one.container, one.host && `on ${one.host}`, how]
    .filter(Boolean).join(", ");
}

function served(one) {
  if (!one) return null;
  const name = one.address ? place({ addr: one.address, port: one.port }) : `port ${one.port}`;
  const known = [name, data.names[one.address], one.comm, one.container || one.unit].filter(Boolean).join(", ");
  return one.ours === null || one.ours === undefined ? known : `${known} (its listener is ${one.ours ? "" : "not "}recorded)`;
}

/** Peers with their names. */
function called(peers) {
  return Object.fromEntries(Object.entries(peers).map(([address, many]) =>
    [data.names[address] ? `${address} (${data.names[address]})` : address, many]));
}

/** One incident: sentence, phases in time, reach, evidence, what to do, and its connections. */
function section(one) {
  const stories = one.stories.map((number) => data.stories.find((story) => story.number === number)).filter(Boolean);
  const rows = [["Began, ended", stretch(one) + (one.running ? "; it was going on when the recording began" : "")],
    ["Recovered", one.recovered ? clock(one.recovered, 3) : null],
    ["Reach", `${reach(one)}: ${ranking(one.verdicts)}`], ["By", actor(one.actor)], ["Service", served(one.service)],
    ["Recorded as", one.side],
    ["Peers", ranking(called(one.peers), one.peers_count)], ["Processes", ranking(one.processes)],
    ["Ports", ranking(one.ports)], ["Containers and groups", ranking(one.containers)],
    ["Hosts", Object.keys(one.hosts).length > 1 ? ranking(one.hosts) : null],
    ["Deaths", one.deaths > 1 ? count(one.deaths) : null]].filter(([, text]) => text);
  const head = `incident-${one.number}-h`;
  const table = stories.length ? storyTable(`Connections of incident ${one.number}`, stories, { plain: true, within: true, most: 6 }) : null;
  if (table && incidents.length <= OPENED) table.choose(stories[0]);
  return make("section", { class: "incident", id: `incident-${one.number}`, "aria-labelledby": head },
    make("h2", { id: head }, make("span", { class: "number" }, one.number), one.title),
    make("p", { class: "any" }, one.sentence),
    one.phases.length ? make("ol", { class: "phases" }, ...one.phases.map((phase) => make("li", {},
      make("time", {}, clock(phase.began, 3)), make("span", {}, phase.text)))) : null,
    one.advice ? make("p", { class: "advice" }, one.advice) : null,
    make("dl", {}, ...rows.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
    one.evidence.length ? make("details", {}, make("summary", {}, "Evidence"),
      make("ul", {}, ...one.evidence.map((text) => make("li", {}, text)))) : null,
    ...one.missing.map((text) => make("p", { class: "warn" }, `Not known: ${text}`)),
    stories.length ? make("h3", {}, `Connections: ${count(stories.length)} of ${count(one.total)}`) : null,
    table ? table.node : null);
}
