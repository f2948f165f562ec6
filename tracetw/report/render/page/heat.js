// SPDX-License-Identifier: Apache-2.0

/** The ground of a cell: one hue, darker or lighter by the logarithm, so that it needs no sense of colour. */
function ground(number, most) {
  const share = number ? 0.08 + (0.42 * Math.log1p(number)) / Math.log1p(most) : 0;
  return share ? `background:rgba(var(--heat),${share.toFixed(2)})` : "";
}

/** What ended abnormally in time by peer or service; as many columns as there is room for numbers. */
function heatmap(width, told) {
  const names = Math.min(300, Math.max(...told.rows.map((row) => row.name.length), 12) * CHARACTER + 8);
  const narrow = width < names + 340;
  const room = narrow ? width : width - names - 52;
  const fine = told.rest.length;
  const columns = Math.max(1, Math.floor(room / 40));
  const round = STEPS.find((one) => one * 1000 * columns >= fine * told.width_ms && (one * 1000) % told.width_ms === 0);
  const factor = round ? (round * 1000) / told.width_ms : Math.ceil(fine / columns);
  const [bins, each] = [Math.ceil(fine / factor), told.width_ms * factor];
  const begin = Date.parse(told.begin);
  const others = told.others === null ? "all others" : counted(told.others, `more ${told.by}`);
  const rows = told.rows.map((row) => [row.name, row.total, coarse(row.counts, factor)]);
  if (sum(told.rest)) rows.push([others, sum(told.rest), coarse(told.rest, factor)]);
  const most = Math.max(1, ...rows.flatMap((row) => row[2]));
  const cell = (name, number, bin) => make("td", { style: ground(number, most),
    title: `${name}, ${at(begin + bin * each)}: ${count(number)}` }, number ? brief(number) : "\u00b7");
  const head = (name, total) => [make("th", { scope: "row", colspan: narrow ? bins : null }, named(name),
    narrow ? make("span", { class: "soft" }, ` ${counted(total, "connection")}`) : null),
  narrow ? null : make("td", { class: "sum" }, count(total))];
  const body = rows.flatMap(([name, total, counts]) => {
    const cells = counts.map((number, bin) => cell(name, number, bin));
    return narrow ? [make("tr", { class: "name" }, ...head(name, total)), make("tr", {}, ...cells)]
      : [make("tr", {}, ...head(name, total), ...cells)];
  });
  const wide = (data.shown.dated ? 19 : 8) * CHARACTER + 10;
  const step = Math.min(bins, Math.ceil((wide * bins) / room));
  const heads = Array.from({ length: Math.ceil(bins / step) }, (_, number) => {
    const span = Math.min(step, bins - number * step);
    const fits = span === step || (span * room) / bins >= wide;
    return make("th", { scope: "col", colspan: span }, fits ? at(begin + number * step * each) : null);
  });
  return make("table", { class: "times" },
    make("caption", {}, `abnormal ends per ${lasting(each)}, by ${told.by}`),
    make("thead", {}, make("tr", {}, ...(narrow ? [] : [make("th", { scope: "col", style: `width:${names}px` },
      told.by === "peer" ? "Peer" : "Service"), make("th", { scope: "col", class: "num", style: "width:52px" }, "All")]), ...heads)),
    make("tbody", {}, ...body));
}

function heats() {
  const wrong = data.heat.some((told) => told.rows.length || sum(told.rest));
  $("#times").hidden = !wrong;
  if (!wrong) return;
  let by = 0;
  const draw = responsive($("#times figure"), (width) => heatmap(width, data.heat[by]));
  const buttons = data.heat.map((told, number) => make("button", { type: "button", "aria-pressed": number === by,
    onclick: () => {
      by = number;
      buttons.forEach((button, other) => button.setAttribute("aria-pressed", other === by));
      draw();
    } }, `By ${told.by}`));
  $("#times .legend").append(...buttons);
}

/** Verdicts by peer, the first 30 of them. */
function verdictsByPeer() {
  const peers = data.peers.slice(0, 30);
  const codes = data.verdicts.map((row) => row.verdict)
    .filter((code) => peers.some((peer) => peer.verdicts[code]))
    .sort((a, b) => abnormal.has(b) - abnormal.has(a));
  const most = Math.max(1, ...peers.flatMap((peer) =>
    codes.filter((code) => abnormal.has(code)).map((code) => peer.verdicts[code] || 0)));
  const cell = (peer, code) => {
    const number = peer.verdicts[code] || 0;
    if (!number) return make("td", { class: "none" }, "\u00b7");
    return make("td", { style: abnormal.has(code) ? ground(number, most) : "" },
      make("button", { type: "button", "data-title": code, "aria-label": `${peer.name}: ${number} ${code}`,
        onclick: () => {
          connections.filter(`${peer.name} ${code}`);
          $("#stories").scrollIntoView();
        } }, count(number)));
  };
  const table = make("table", { class: "heat" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Peer"),
      ...codes.map((code) => make("th", { scope: "col", class: "num" }, code)))),
    make("tbody", {}, ...peers.map((peer) => make("tr", {}, make("th", { scope: "row" }, named(peer.name)),
      ...codes.map((code) => cell(peer, code))))));
  $("#heat .scroll").append(table);
  fitting($("#heat .scroll"), table, "chips")();
  const more = data.counts.peers - peers.length;
  if (more > 0) $("#heat").append(make("p", { class: "soft more" }, `and ${counted(more, "more peer")}`));
}
