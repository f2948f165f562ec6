// SPDX-License-Identifier: Apache-2.0

const known = (value) => value !== null && value !== undefined;
const inSeconds = (ms) => (ms < 1000 ? `${Number(ms.toPrecision(4))} ms` : `${(ms / 1000).toFixed(3)} s`);
const bytes = (number) => counted(number, "byte");

/** Facts and measures of one end: [name, text or node], without what is not known. */
function facts(close) {
  const found = [];
  const add = (name, ...texts) => {
    const words = texts.filter(known);
    if (words.length) found.push([name, words.join(", ")]);
  };
  const of = (name, text) => (known(close[name]) ? text(close[name]) : null);
  add("Ended", `${clock(close.time, 3)} ${data.shown.zone} on ${close.host}`);
  add("Closed by", `${close.closed_by || "unknown"}, first: ${close.first_close}, form: ${close.form || "unknown"}`);
  add("Role", close.role);
  add("Lived", known(close.duration_ms) ? inSeconds(close.duration_ms) : "began before the recording",
    of("half_closed_ms", (ms) => `half closed for ${inSeconds(ms)}`));
  add("Idle before the end", of("idle_ms", (ms) => `${inSeconds(ms)} since the last segment of the peer`),
    of("since_sent_ms", (ms) => `${inSeconds(ms)} since data was sent`),
    of("since_received_ms", (ms) => `${inSeconds(ms)} since data was received`));
  add("Sent", of("bytes_sent", bytes), of("bytes_acked", (number) => `${count(number)} acknowledged`),
    close.bytes_unacked ? `${count(close.bytes_unacked)} not acknowledged` : null,
    close.bytes_unsent ? `${count(close.bytes_unsent)} written and never sent` : null);
  add("Received", of("bytes_received", bytes), of("segments_received", (number) => `${counted(number, "segment")}`),
    close.bytes_unread ? `${count(close.bytes_unread)} not read` : null);
  add("Round trip", of("rtt_ms", inSeconds), of("min_rtt_ms", (ms) => `least ${inSeconds(ms)}`));
  add("MSS", of("mss", bytes));
  add("Keepalive", of("keepalive", (on) => (on ? "on" : "off")));
  add("Retransmissions", close.retransmits.total
    ? `${count(close.retransmits.total)} (FIN ${count(close.retransmits.fin)})` : "0",
  close.probes.total ? counted(close.probes.total, `${close.probes.what || ""} probe`.trim()) : null);
  if (close.limit) {
    add("Limit", close.limit.name ?? close.limit.what ?? null,
      known(close.limit.elapsed_ms) ? `after ${inSeconds(close.limit.elapsed_ms)}` : null);
  }
  add("Above TCP", close.layer, close.mptcp ? `${close.mptcp.role} of MPTCP` : null,
    close.mptcp?.fastclose ? `MP_FASTCLOSE ${close.mptcp.fastclose}` : null);
  const flows = close.mptcp?.subflows || [];
  if (flows.length) {
    add("Subflows", ...flows.slice(0, 4).map((one) => `${place(one.local)} to ${place(one.remote)} ${one.verdict}`),
      flows.length > 4 ? `and ${count(flows.length - 4)} more` : null);
  }
  add("Error", close.error || "none");
  add("Container", close.container || close.cgroup || "none");
  add("Evidence", `${close.evidence.join(", ")} (${close.confidence})`);
  return found;
}

/** Each hint with what to do about it. */
function hints(close) {
  if (!close.hints || !close.hints.length) return [];
  return [make("ul", { class: "hints" }, ...close.hints.map((code) => make("li", {},
    make("b", {}, code), data.shown.hints[code] ? `: ${data.shown.hints[code]}` : "")))];
}

/** A connection in full: sentence, hints, ladder, facts. */
function tell(story) {
  const { close, other } = story;
  const list = (one) => make("dl", {}, ...facts(one).flatMap(([name, text]) =>
    [make("dt", {}, name), make("dd", {}, text)]));
  return make("article", { class: "story", "aria-label": `Connection ${place(close.local)} to ${place(close.remote)}` },
    make("h3", {}, badge(close.verdict)),
    story.disagreement ? make("p", { class: "warn" }, story.disagreement) : null,
    make("p", { class: "why" }, other ? `${close.host} says: ${close.why}` : close.why), ...hints(close),
    other ? make("p", { class: "why" }, `${other.host} says: ${other.why}`) : null, ...(other ? hints(other) : []),
    ladder(story),
    other ? make("div", { class: "two" }, list(close), list(other)) : list(close));
}

/** Stories as a table whose rows open; those of one incident, or all. */
function storyTable(name, stories, options = {}) {
  const belongs = stories.some((story) => known(story.incident) || known(story.cause));
  return grid(name, [
    { title: "Ended", value: (story) => story.close.time, show: (story) => clock(story.close.time, 3) },
    { title: "Verdict", value: (story) => story.close.verdict, show: (story) => badge(story.close.verdict) },
    { title: "Local and remote", value: (story) => `${place(story.close.local)} ${place(story.close.remote)}`,
      show: (story) => make("span", { class: "lines" }, named(place(story.close.local)), " ", named(place(story.close.remote))) },
    { title: "Process", value: (story) => story.close.comm || "", show: (story) => story.close.comm || "-" },
    ...(belongs && !options.within ? [{ title: "Belongs to", show: belongsTo,
      value: (story) => (known(story.incident) ? story.incident : known(story.cause) ? 1e6 + story.cause : 1e9), num: false }] : []),
  ], stories, { open: tell, sort: belongs && !options.within ? 4 : 0, down: false, most: 12, ...options });
}

const belongsTo = (story) => (known(story.incident) ? `incident ${story.incident}`
  : known(story.cause) ? `cause ${story.cause}` : "-");
