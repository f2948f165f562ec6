// SPDX-License-Identifier: Apache-2.0

/**
 * A table that sorts by its headings, or a list of them where there is no room, and filters by a text.
 * columns: [{title, value(row) to sort by, show(row) node or text, num}]; open(row): what a chosen row shows
 * below it; most: rows before "Show more"; all: how many there would be, were the rows not cut.
 */
function grid(name, columns, rows, { open = null, sort = 0, down = true, most = 50, all = rows.length, plain = false } = {}) {
  const state = { sort, down, text: "", chosen: null, most };
  const output = make("output", { "aria-live": "polite" });
  const body = make("tbody");
  const input = make("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${name}`,
    oninput: () => { state.text = input.value; draw(); } });
  const by = (at) => {
    state.down = state.sort === at ? !state.down : Boolean(columns[at].num);
    state.sort = at;
    draw();
  };
  const select = make("select", { "aria-label": `Sort ${name}`, onchange: () => by(Number(select.value)) },
    ...columns.map((column, at) => make("option", { value: at }, `by ${column.title.toLowerCase()}`)));
  const heads = columns.map((column, at) => make("th", { scope: "col", class: column.num ? "num" : null },
    make("button", { type: "button", onclick: () => by(at) }, column.title)));
  const more = make("button", { type: "button", class: "link", onclick: () => { state.most = Infinity; draw(); } });
  const known = rows.map((row) => ({
    row,
    text: columns.map((column) => {
      const shown = column.show(row);
      return typeof shown === "object" && shown !== null
        ? `${shown.textContent} ${[...shown.querySelectorAll("[title]"), shown].map((one) => one.title || "").join(" ")}`
        : String(shown);
    }).join(" ").toLowerCase() + (row.search ? ` ${row.search.toLowerCase()}` : ""),
  }));

  function draw() {
    const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
    const { value } = columns[state.sort];
    const order = (a, b) => {
      const [left, right] = [value(a.row), value(b.row)];
      const less = typeof left === "number" && typeof right === "number"
        ? left - right : String(left ?? "").localeCompare(String(right ?? ""), "en", { numeric: true });
      return state.down ? -less : less;
    };
    const wanted = known.filter((one) => words.every((word) => one.text.includes(word))).sort(order);
    const shown = wanted.slice(0, state.most);
    if (state.chosen && !shown.some((one) => one.row === state.chosen)
      && wanted.some((one) => one.row === state.chosen)) shown.push({ row: state.chosen });
    heads.forEach((head, at) => head.setAttribute("aria-sort",
      at === state.sort ? (state.down ? "descending" : "ascending") : "none"));
    select.value = state.sort;
    body.replaceChildren(...shown.flatMap(({ row }) => lines(row)));
    look();
    more.hidden = shown.length === wanted.length;
    more.textContent = `Show ${count(wanted.length - shown.length)} more`;
    const cut = all > rows.length ? ` of the first ${count(rows.length)}; there are ${count(all)}` : "";
    output.textContent = wanted.length === rows.length ? (cut ? `${counted(rows.length, "row")} of ${count(all)}`
      : counted(rows.length, "row")) : `${count(wanted.length)} of ${counted(rows.length, "row")}${cut ? `;${cut.split(";")[1]}` : ""}`;
  }

  function lines(row) {
    const cells = columns.map((column) => make("td", { class: column.num ? "num" : null, "data-title": column.title },
      make("span", { class: "cell" }, column.show(row))));
    if (!open) return [make("tr", {}, ...cells)];
    const chosen = row === state.chosen;
    const choose = () => { state.chosen = row === state.chosen ? null : row; draw(); };
    const node = make("tr", { class: "pick", tabindex: 0, "aria-expanded": chosen, onclick: choose,
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        choose();
        body.querySelector('tr[aria-expanded="true"]')?.focus();
      } }, ...cells);
    return chosen ? [node, make("tr", { class: "opened" }, make("td", { colspan: columns.length }, open(row)))] : [node];
  }

  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body);
  const scroll = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, table);
  const look = fitting(scroll, table, "stacked");
  draw();
  const node = make("div", { class: "grid" },
    plain ? null : make("div", { class: "tools" }, input, select, output), scroll, more);
  return {
    node,
    filter(text) { input.value = text; state.text = text; draw(); },
    choose(row) { state.chosen = row; draw(); },
  };
}

/** Connections by verdict as badges with numbers, the most frequent abnormal ones first. */
function mostly(row) {
  const codes = Object.entries(row.verdicts).sort((a, b) =>
    abnormal.has(b[0]) - abnormal.has(a[0]) || b[1] - a[1]);
  const more = codes.slice(3);
  return make("span", {}, ...codes.slice(0, 3).flatMap(([code, number]) => [badge(code), ` ${count(number)} `]),
    more.length ? make("span", { class: "soft", title: more.map(([code, number]) => `${code} ${count(number)}`).join(", ") },
      `and ${count(sum(more.map(([, number]) => number)))} of ${counted(more.length, "more verdict")}`) : null);
}

function ranked(title, name, rows, all) {
  if (!rows.length) return null;
  const several = new Set(data.hosts.map((host) => host.name)).size > 1;
  const columns = [
    { title: name, value: (row) => row.name, show: (row) => named(row.name) },
    ...(several && rows.some((row) => row.host)
      ? [{ title: "Host", value: (row) => row.host, show: (row) => row.host }] : []),
    { title: "Closes", value: (row) => row.total, show: (row) => count(row.total), num: true },
    { title: "Abnormal", value: (row) => row.abnormal, show: (row) => count(row.abnormal), num: true },
    { title: "First abnormal", value: (row) => row.first_abnormal || "", show: (row) => clock(row.first_abnormal) },
    { title: "Verdicts", value: (row) => Object.keys(row.verdicts)[0], show: mostly },
  ];
  const at = columns.findIndex((column) => column.title === "Abnormal");
  return make("section", {}, make("h2", {}, title), grid(title, columns, rows, { sort: at, most: 10, all }).node);
}
