// Pointing at the image: what every word says of a patch, and a region drawn by hand that is scored like a mask.

const TOOLS = [["select", "a click selects a query"], ["words", "what every query and background word says of a patch"],
  ["box", "draw a box: it is prompted and scored"], ["scribble", "draw a stroke: it is prompted and scored"]];
const MOST_WORDS = 8;

class Pointing {
  constructor(view) {
    this.view = view;
    this.tool = "select";
    this.element = node("div", { class: "c-group", role: "group", "aria-label": "pointing" },
      ...TOOLS.map(([name, title]) => node("button", { type: "button", title, "data-tool": name, onclick: () => this.choose(name) }, name)));
  }
  choose(tool) {
    this.tool = tool;
    this.view.draw();
  }
  draw() {
    const { view } = this;
    if (this.tool === "words" && !view.store.get("words")?.names && this.asked !== view.content) {
      this.asked = view.content;
      view.store.ask({ ask: "words" });
    }
    this.element.hidden = !this.view.store.get("askable");
    for (const one of this.element.children) one.setAttribute("aria-pressed", one.dataset.tool === this.tool);
  }
  draws() { return ["box", "scribble"].includes(this.tool) && !this.element.hidden; }

  // Words at a place in the image, those that speak for it most first: [name, value, whether of the background].
  wordsAt(x, y) {
    const words = this.view.store.get("words");
    if (!words?.names) return undefined;
    const [i, j] = words.grid, at = clamp(Math.floor(y * i), 0, i - 1) * j + clamp(Math.floor(x * j), 0, j - 1);
    if (words !== this.words) [this.words, this.maps] = [words, bytes(words.maps)];
    return words.names.map((name, k) => [name, this.maps[k * i * j + at] / 255, k >= words.queries])
      .sort((a, b) => b[1] - a[1]).slice(0, MOST_WORDS);
  }
  begin(x, y) { this.points = [[x, y]]; }
  extend(x, y) {
    const at = [clamp(x, 0, 1), clamp(y, 0, 1)];
    if (this.tool === "box") this.points = [this.points[0], at];
    else this.points.push(at);
    this.view.draw();
  }
  end() {
    if (this.points.length > 1) this.view.set({ region: { kind: this.tool, points: this.points, count: (this.view.store.get("region")?.count ?? 0) + 1 } });
    this.points = undefined;
    this.view.draw();
  }
  // The stroke that is being drawn, or the region that was scored.
  outline(context, at) {
    const region = this.points ? { kind: this.tool, points: this.points } : this.view.store.get("region");
    if (!region?.points?.length || this.element.hidden) return;
    const spots = region.points.map(([x, y]) => [at.left + x * at.width, at.top + y * at.height]);
    context.beginPath();
    if (region.kind === "box") { const [[a, b], [c, d]] = [spots[0], spots.at(-1)]; context.rect(a, b, c - a, d - b); }
    else spots.forEach(([x, y], k) => k ? context.lineTo(x, y) : context.moveTo(x, y));
    for (const [width, colour] of [[5, "#000"], [2.5, "#fff"]]) {
      Object.assign(context, { lineWidth: width, strokeStyle: colour, lineJoin: "round", lineCap: "round" });
      context.stroke();
    }
  }
}

// What the classifier says of a region drawn by hand.
class Answer {
  constructor(view) {
    this.view = view;
    this.canvas = node("canvas", { width: 1, height: 1 });
    this.table = node("table", {});
    const close = node("button", { type: "button", "aria-label": "close", onclick: () => view.set({ answer: {}, region: {} }) }, "×");
    this.element = node("div", { class: "c-answer", role: "status" }, this.canvas, this.table, close);
  }
  draw() {
    const { view } = this, answer = view.store.get("answer") ?? {};
    this.element.hidden = !answer.scores;
    if (!answer.scores) return;
    const image = bitmap(answer.prompted, view.draw);
    if (image) {
      Object.assign(this.canvas, { width: image.width, height: image.height });
      this.canvas.getContext("2d").drawImage(image, 0, 0);
    }
    const order = answer.scores.map((score, index) => [index, score]).sort((a, b) => b[1] - a[1]).slice(0, MOST_WORDS);
    this.table.replaceChildren(node("caption", {}, "the region as the classifier sees it"), ...order.map(([index, score]) => node("tr", {},
      node("th", {}, node("span", { class: "c-swatch", style: `--c:${view.run.queries[index]?.colour}` }), " ", node("bdi", {}, view.run.title(index))),
      node("td", { class: "c-num" }, fixed(score)))));
  }
}
