// SPDX-License-Identifier: Apache-2.0

/** The state of the other end that a step of this end's ladder leads to, by what the other end does in it. */
const LEADS = {
  SYN_SENT: (step) => step.kind === "syn" && step.from === "remote",
  SYN_RECV: (step) => step.kind === "syn" && step.from === "local",
  ESTABLISHED: (step, role) => step.kind === (role === "server" ? "ack" : "syn") && step.from === "local",
  FIN_WAIT1: (step) => step.kind === "fin" && step.from === "remote",
  LAST_ACK: (step) => step.kind === "fin" && step.from === "remote",
  FIN_WAIT2: (step) => step.kind === "ack" && step.from === "local",
  CLOSE_WAIT: (step) => step.kind === "fin" && step.from === "local",
  CLOSING: (step) => step.kind === "fin" && step.from === "local",
  TIME_WAIT: (step) => step.kind === "fin" && step.from === "local",
  CLOSE: (step) => step.kind === "rst" || (step.kind === "ack" && step.from === "local"),
};

/** For each step: the states that the other end entered then, in their order. Clocks need not agree. */
function otherStates(steps, { states, role }) {
  const beside = steps.map(() => []);
  let lowest = 0;
  for (const entry of states) {
    const leads = LEADS[entry.state] || (() => false);
    const found = steps.findIndex((step, number) => number >= lowest && leads(step, role));
    if (found >= 0) lowest = found;
    else if (entry.state === "CLOSE") lowest = steps.length - 1;
    beside[lowest]?.push(entry);
  }
  return beside;
}

const moment = (ms) => (ms === null || ms === undefined ? null : make("span", { class: "at" },
  ms >= 10000 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(1)} ms`));

const entered = (entry) => make("div", {}, moment(entry.at_ms),
  entry.state ? make("span", { class: "state" }, entry.state) : null);

/** What went from one side to the other. */
function arrow(step, between) {
  if (step.from === null) return [make("span", { class: "label" }, step.label)];
  const way = step.from === "local" ? "right" : "left";
  if (!between) return [make("span", { class: "label" }, step.label), make("i", { class: `line ${way}` })];
  return [make("span", { class: "label" }, `${step.label}: from between`), make("span", { class: "pair" },
    make("i", { class: "line left" }), make("b", {}, "\u25c6"),
    make("i", { class: between === "reset-from-between" ? "line right" : "line none" }))];
}

/** The segments of a story between two lifelines; time goes down, not to scale. */
function ladder(story) {
  const { close, other } = story;
  const owner = (one) => (one.comm ? `${one.comm}${one.pid ? ` (pid ${one.pid})` : ""}` : one.host);
  const head = (first, end) => make("div", {}, make("b", {}, first), " ", named(place(end)));
  const between = ["reset-from-between", "reset-not-sent"].includes(story.kind) ? story.kind : null;
  const steps = other ? story.ladder.filter((step) => step.kind !== "end" || step.state) : story.ladder;
  const beside = other ? otherStates(steps, other) : steps.map(() => []);
  const rows = steps.map((step, number) => make("tr", { class: step.kind },
    make("td", { class: "here" }, entered(step)),
    make("td", { class: "between" }, ...arrow(step, step.kind === "rst" ? between : null)),
    make("td", { class: "there" }, ...beside[number].map(entered))));
  const label = `${close.verdict}: ${story.ladder.map((step) => step.label).join(", ")}`;
  return make("figure", { class: "ladder", role: "group", "aria-label": label },
    make("div", { class: "ends" }, head(other ? `${close.host} ${owner(close)}` : owner(close), close.local),
      head(other ? `${other.host} ${owner(other)}` : "peer", close.remote)),
    make("table", {}, make("tbody", {}, ...rows)),
    other ? make("div", { class: "ends" }, badge(close.verdict), badge(other.verdict)) : null);
}
