// Scores: of each query over the steps, and of each pair in one step.

class Scores {
  constructor(view) {
    this.view = view;
    this.element = node("section", { class: "c-scores", "aria-label": "scores over the steps" });
  }
  draw() {
    const { view } = this, { run } = view, n = run.steps.length, W = 380, H = 190, L = 30, R = 12, T = 10, B = 22;
    const x = step => n === 1 ? (L + W - R) / 2 : L + 8 + step * (W - L - R - 16) / (n - 1), y = score => T + (1 - score) * (H - B - T);
    const svg = node("svg:svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "scores over the steps" });
    for (const score of [0, 0.5, 1]) svg.append(
      node("svg:line", { class: "c-axis", x1: L, x2: W - R, y1: y(score), y2: y(score) }),
      node("svg:text", { x: L - 5, y: y(score) + 4, "text-anchor": "end" }, score.toFixed(1)));
    for (let step = 0; step < n; step += Math.ceil(n / 10))
      svg.append(node("svg:text", { x: x(step), y: H - 6, "text-anchor": "middle" }, step ? String(step + 1) : `step ${step + 1}`));
    svg.append(node("svg:line", { class: "c-now", x1: x(view.step), x2: x(view.step), y1: T, y2: H - B }));
    run.queries.map((_, index) => index).sort((a, b) => (a === view.query) - (b === view.query)).forEach(index => svg.append(this.line(index, x, y)));
    if (run.threshold !== null) svg.append(
      node("svg:line", { class: "c-theta", x1: L, x2: W - R, y1: y(run.threshold), y2: y(run.threshold) }),
      node("svg:text", { class: "c-theta-name", x: W - R, y: y(run.threshold) - 4, "text-anchor": "end" }, `threshold ${run.threshold.toFixed(2)}`));
    this.element.replaceChildren(svg);
  }
  line(index, x, y) {
    const { view } = this, { run } = view, query = run.queries[index];
    const points = run.scores.map((row, step) => [step, row[index]]).filter(point => point[1] !== null);
    const d = points.map(([step, score], k) => `${k ? "L" : "M"}${x(step)} ${y(score)}`).join("");
    const faint = view.known() ? view.query !== index : !query.telling, wide = index === view.query ? 4 : 2;
    const group = node("svg:g", { class: "c-line", opacity: faint ? 0.25 : 1, "data-query": index, onclick: () => view.toggle(index) });
    const path = (stroke, width) => node("svg:path", { d, fill: "none", stroke, "stroke-width": width });
    group.append(path("transparent", 14), path("var(--c-edge)", wide + 1.6), path(query.colour, wide));
    for (const [step, score] of points)
      group.append(node("svg:circle", { cx: x(step), cy: y(score), r: 3.5, fill: query.colour, stroke: "var(--c-edge)" }));
    const drop = run.dropStep.get(index);
    if (drop !== undefined && run.scores[drop][index] !== null) {
      const [cx, cy, a] = [x(drop), y(run.scores[drop][index]), 4.5];
      group.append(node("svg:path", { class: "c-cross", d: `M${cx - a} ${cy - a}L${cx + a} ${cy + a}M${cx + a} ${cy - a}L${cx - a} ${cy + a}` }));
    }
    group.append(node("svg:title", {}, `${run.title(index)}: ${points.map(point => fixed(point[1])).join(", ")}`));
    return group;
  }
}

class Matrix {
  constructor(view) {
    this.view = view;
    this.table = node("table", {});
    this.about = node("p", { class: "c-soft" });
    this.element = node("section", { class: "c-matrix", "aria-label": "scores in this step" }, this.about, node("div", { class: "c-scroll" }, this.table));
  }
  draw() {
    const { view } = this, { run } = view, { pairs } = run.steps[run.at(view.step)];
    run.tables ??= new Map();
    if (!run.tables.has(pairs)) run.tables.set(pairs, numbers(pairs.probs, Float32Array));
    const probs = run.tables.get(pairs), n = pairs.queries.length;
    const places = [...pairs.queries.keys()].filter(k => run.queries[pairs.queries[k]].telling || pairs.queries[k] === view.query);
    const hidden = run.steps[run.at(view.step)].active.length - places.length;
    this.about.textContent = "Row: a prompted image. Column: a query." + (hidden ? ` ${hidden} more queries are not shown.` : "");
    const head = (k, more) => { const index = pairs.queries[k]; return node("th", { title: run.queries[index].name, class: index === view.query ? "c-on" : "", ...more }, `${run.queries[index].number}. `, node("bdi", {}, run.queries[index].name)); };
    const rows = places.map(k => node("tr", { class: pairs.queries[k] === view.query ? "c-on" : "", "data-query": pairs.queries[k], onclick: () => view.toggle(pairs.queries[k]) },
      head(k, { scope: "row" }), ...places.map(j => {
        const score = probs[k * n + j];
        return node("td", { class: "c-num", style: `background:color-mix(in srgb, #0072b2 ${(55 * clamp(score, 0, 1)).toFixed(1)}%, transparent)` }, score.toFixed(2));
      })));
    this.table.replaceChildren(node("tr", {}, node("td"), ...places.map(k => head(k, { scope: "col" }))), ...rows);
  }
}
