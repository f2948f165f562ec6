// SPDX-License-Identifier: Apache-2.0

/**
 * A table that sorts by its headings and filters by a text.
 * columns: [{title, value(row) to sort by, show(row) node or text, num}]; pick(row) on choosing a row.
 */
function grid(name, columns, rows, { pick = null, sort = 0, down = true } = {}) {
  const state = { sort, down, text: "", chosen: null };
  const output = make("output", { "aria-live": "polite" });
  const body = make("tbody");
  const input = make("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${name}`,
    oninput: () => { state.text = input.value; draw(); } });
  const heads = columns.map((column, at) => make("th", { scope: "col", class: column.num ? "num" : null },
    make("button", { type: "button", onclick: () => {
      state.down = state.sort === at ? !state.down : Boolean(column.num);
      state.sort = at;
      draw();
    } }, column.title)));
  const known = rows.map((row) => ({
    row,
    text: columns.map((column) => {
      const shown = column.show(row);
      return typeof shown === "object" && shown !== null ? shown.textContent : String(shown);
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
    heads.forEach((head, at) => head.setAttribute("aria-sort",
      at === state.sort ? (state.down ? "descending" : "ascending") : "none"));
    body.replaceChildren(...wanted.map(({ row }) => line(row)));
    output.textContent = wanted.length === rows.length ? `${count(rows.length)} rows`
      : `${count(wanted.length)} of ${count(rows.length)} rows`;
  }

  function line(row) {
    const cells = columns.map((column) => make("td", { class: column.num ? "num" : null }, column.show(row)));
    const node = make("tr", pick ? { class: "pick", tabindex: 0, "aria-selected": row === state.chosen } : {}, ...cells);
    if (pick) {
      const choose = () => {
        state.chosen = row;
        body.querySelectorAll("tr").forEach((other) => other.setAttribute("aria-selected", other === node));
        pick(row);
      };
      node.addEventListener("click", choose);
      node.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
      });
    }
    return node;
  }

  draw();
  const node = make("div", { class: "grid" },
    make("div", { class: "tools" }, input, output),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
      make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body)));
  return {
    node,
    filter(text) { input.value = text; state.text = text; draw(); },
    choose(row) { state.chosen = row; draw(); if (pick) pick(row); },
  };
}

/** Connections by verdict as badges with numbers, the most frequent abnormal ones first. */
function mostly(row) {
  const codes = Object.entries(row.verdicts).sort((a, b) =>
    abnormal.has(b[0]) - abnormal.has(a[0]) || b[1] - a[1]).slice(0, 3);
  return make("span", {}, ...codes.flatMap(([code, number]) => [badge(`${code}`), ` ${count(number)} `]));
}

function ranked(title, name, rows) {
  const several = new Set(data.hosts.map((host) => host.name)).size > 1;
  const columns = [
    { title: name, value: (row) => row.name, show: (row) => row.name },
    ...(several && rows.some((row) => row.host)
      ? [{ title: "Host", value: (row) => row.host, show: (row) => row.host }] : []),
    { title: "Closes", value: (row) => row.total, show: (row) => count(row.total), num: true },
    { title: "Abnormal", value: (row) => row.abnormal, show: (row) => count(row.abnormal), num: true },
    { title: "First abnormal", value: (row) => row.first_abnormal || "", show: (row) => clock(row.first_abnormal) },
    { title: "Verdicts", value: (row) => Object.keys(row.verdicts)[0], show: mostly },
  ];
  const at = columns.findIndex((column) => column.title === "Abnormal");
  return make("section", {}, make("h2", {}, title), grid(title, columns, rows, { sort: at }).node);
}
