// The frames of a video: a slider, and the last score of each query in each frame; a click on a curve jumps there.

class Frames {
  constructor(view) {
    this.view = view;
    this.slider = node("input", { type: "range", min: 0, step: 1, "aria-label": "frame",
      oninput: () => this.go(Number(this.slider.value)),
      onkeydown: event => event.stopPropagation() }); // its arrows choose frames, not steps
    this.where = node("span", { class: "c-num", role: "status" });
    this.chart = node("div", {});
    this.element = node("section", { class: "c-frames", "aria-label": "frames" },
      node("div", { class: "c-tools" }, node("label", { class: "c-slide" }, "frame", this.slider), this.where), this.chart);
  }
  get film() { return this.view.store.get("frames") ?? {}; }
  get now() { return clamp(this.view.store.get("frame") ?? 0, 0, Math.max(0, this.last)); }
  get last() { return (this.film.times?.length ?? 0) - 1; }
  go(frame) {
    const wanted = clamp(frame, 0, this.last);
    if (wanted !== this.now) this.view.set({ frame: wanted });
  }
  draw() {
    const { film, now, last } = this;
    if (last < 0) return;
    this.slider.max = last;
    if (Number(this.slider.value) !== now) this.slider.value = now;
    const failed = film.failed?.[now];
    this.where.textContent = `${now + 1} of ${last + 1} · ${film.times[now].toFixed(2)} s` + (failed ? ` · ${failed}` : "");
    const key = [film, now, this.view.query, this.view.run.queries];
    if (this.key?.every((part, k) => part === key[k])) return;
    this.key = key;
    this.chart.replaceChildren(this.curves());
  }
  curves() {
    const { film, now, view } = this, { run } = view, W = 640, H = 150, L = 30, R = 10, T = 8, B = 22;
    const first = film.times[0], span = film.times[this.last] - first || 1;
    const x = frame => L + (film.times[frame] - first) / span * (W - L - R), y = score => T + (1 - score) * (H - B - T);
    const svg = node("svg:svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "scores over the frames",
      onclick: event => this.clicked(event, svg, x) });
    svg.style.cursor = "pointer";
    for (const score of [0, 0.5, 1]) svg.append(
      node("svg:line", { class: "c-axis", x1: L, x2: W - R, y1: y(score), y2: y(score) }),
      node("svg:text", { x: L - 5, y: y(score) + 4, "text-anchor": "end" }, score.toFixed(1)));
    for (const share of [0, 0.25, 0.5, 0.75, 1]) svg.append(
      node("svg:text", { x: L + share * (W - L - R), y: H - 6, "text-anchor": share === 1 ? "end" : share ? "middle" : "start" },
        `${(first + share * span).toFixed(1)} s`));
    if (run.threshold !== null)
      svg.append(node("svg:line", { class: "c-theta", x1: L, x2: W - R, y1: y(run.threshold), y2: y(run.threshold) }));
    svg.append(node("svg:line", { class: "c-now", x1: x(now), x2: x(now), y1: T, y2: H - B }));
    run.queries.map((_, query) => query).sort((a, b) => (a === view.query) - (b === view.query)).forEach(query => svg.append(this.line(query, x, y)));
    return svg;
  }
  // A line through the frames that have a score; wide where the frame keeps the query.
  line(query, x, y) {
    const { film, view } = this, { colour } = view.run.queries[query];
    const faint = view.known() ? view.query !== query : !film.kept.some(kept => kept.includes(query));
    const path = inside => film.scores.map((row, frame) => {
      const wanted = row[query] !== null && (!inside || film.kept[frame].includes(query));
      return wanted ? `${this.joined(film, frame, query, inside) ? "L" : "M"}${x(frame).toFixed(1)} ${y(row[query]).toFixed(1)}h0.01` : "";
    }).join("");
    const group = node("svg:g", { class: "c-line", "data-query": query, opacity: faint ? 0.3 : 1 });
    const draw = (d, stroke, width) => node("svg:path", { d, fill: "none", stroke, "stroke-width": width, "stroke-linecap": "round" });
    group.append(draw(path(false), "transparent", 12), draw(path(false), colour, 1.2), draw(path(true), colour, 3.2),
      node("svg:title", {}, view.run.title(query)));
    return group;
  }
  joined(film, frame, query, inside) {
    if (!frame || film.scores[frame - 1][query] === null) return false;
    return !inside || film.kept[frame - 1].includes(query);
  }
  // The frame nearest to where was clicked; on a curve its query is selected too.
  clicked(event, svg, x) {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * 640;
    const frames = this.film.times.map((_, frame) => frame);
    this.go(frames.reduce((best, frame) => Math.abs(x(frame) - at) < Math.abs(x(best) - at) ? frame : best, 0));
    const curve = event.target.closest?.("[data-query]");
    if (curve && Number(curve.dataset.query) !== this.view.query) this.view.set({ query: Number(curve.dataset.query) });
  }
}
