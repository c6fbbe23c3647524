// The queries in one list: legend, score with the threshold, verdict, selector; in the Lab they are edited here.

class List {
  constructor(view) {
    this.view = view;
    this.search = node("input", { type: "search", placeholder: "search queries", "aria-label": "search queries", hidden: true,
      oninput: () => view.draw() });
    this.all = node("button", { class: "c-all", type: "button", onclick: () => view.set({ query: -1 }) }, "all queries");
    this.body = node("ul", { class: "c-list" });
    this.rest = node("div", { class: "c-soft", hidden: true });
    this.hint = node("div", { class: "c-hint", role: "status" });
    this.entry = node("input", { type: "text", placeholder: "add a query, Enter", "aria-label": "add a query",
      onkeydown: event => this.typed(event), oninput: () => this.advise() });
    this.adder = node("div", { class: "c-adder", hidden: true }, this.entry, this.hint);
    this.element = node("section", { class: "c-queries", "aria-label": "queries" }, this.search, this.all, this.body, this.rest, this.adder);
    this.key = "";
  }
  shown() {
    const { run, query } = this.view, wanted = this.search.value.toLocaleLowerCase().trim();
    return run.queries.map((_, index) => index).filter(index => wanted
      ? run.queries[index].name.toLocaleLowerCase().includes(wanted)
      : run.queries[index].telling || index === query).slice(0, 200);
  }
  draw() {
    const { view } = this, { run } = view, shown = this.shown(), editable = view.store.get("editable") ?? false;
    this.search.hidden = run.queries.length <= 12;
    this.adder.hidden = !editable;
    const key = JSON.stringify([editable, shown.map(index => [index, run.queries[index].name, run.queries[index].colour])]);
    if (key !== this.key) {
      this.key = key;
      this.rows = shown.map(index => this.row(index, editable));
      this.body.replaceChildren(...this.rows.map(row => row.item));
    }
    this.all.setAttribute("aria-pressed", view.query < 0);
    for (const row of this.rows) this.update(row);
    const more = run.queries.length - shown.length;
    this.rest.hidden = !more || this.search.value !== "";
    this.rest.textContent = `${more} more, found by search`;
  }
  row(index, editable) {
    const { view } = this, { name, full, colour } = view.run.queries[index];
    const swatch = node("span", { class: "c-swatch", style: `--c:${colour}` }), score = node("span", { class: "c-num" });
    const fill = node("i", { style: `background:${colour}` }), tick = node("b"), verdict = node("small", { dir: "auto" });
    const select = node("button", { type: "button", class: "c-query", "data-query": index, title: full ?? name,
      onclick: () => view.toggle(index), onpointerenter: () => view.peek(index), onpointerleave: () => view.peek(-1) },
    swatch, node("span", { class: view.run.queries[index].true ? "c-name c-true" : "c-name" }, `${view.run.queries[index].number}. `, node("bdi", {}, name)), score,
    node("span", { class: "c-bar" }, fill, tick), verdict);
    const item = node("li", {}, select);
    if (editable) item.append(node("button", { type: "button", class: "c-delete", title: "delete this query", "aria-label": `delete ${name}`,
      onclick: () => this.wish(view.wanted().filter(one => one !== (full ?? name))) }, "×"));
    return { index, item, select, swatch, score, fill, tick, verdict };
  }
  update({ index, select, score, fill, tick, verdict }) {
    const { run, step, query } = this.view, value = run.score(index, step), dropped = run.isDropped(index, step);
    select.setAttribute("aria-pressed", index === query);
    select.classList.toggle("c-dropped", dropped);
    score.textContent = fixed(value);
    fill.style.width = `${100 * clamp(value ?? 0, 0, 1)}%`;
    tick.hidden = run.threshold === null;
    tick.style.left = `${100 * clamp(run.threshold ?? 0, 0, 1)}%`;
    verdict.textContent = run.verdict(index, step);
  }
  typed(event) {
    event.stopPropagation();
    if (event.key !== "Enter") return;
    const held = this.view.wanted();
    const names = this.entry.value.split(/[,;\n]/).map(text => text.trim()).filter(text => text && !held.includes(text));
    this.entry.value = "";
    this.advise();
    if (names.length) this.wish([...held, ...new Set(names)]);
  }
  advise() {
    const count = this.entry.value.split(/[,;]/).filter(text => text.trim()).length;
    this.hint.textContent = count > 1 ? `Enter adds ${count} queries` : "";
  }
  wish(names) { this.view.store.set({ wanted: names }); }
}
