// The whole view: what is selected, the parts that show it, keys; in a widget of Jupyter or in a page.

const KEYS = [
  ["← →", "step"], ["1 … 9", "select a query"], ["0, Escape", "all queries"], ["L", "next layer"],
  ["space", "blink between two runs, or play the steps"], ["+ − 0", "zoom in, out, whole image; or Ctrl and wheel"],
  ["drag", "move the zoomed image"], ["F", "full screen"], ["?", "this help"],
];
const PLAY = 900; // milliseconds a step
const TRAITS = ["frames", "frame", "content", "other", "names", "step", "query", "layer", "opacity", "mode", "editable", "note", "pick", "pickable",
  "code", "film", "shot", "askable", "region", "answer", "words"];

// What is selected lives in one place with get, set and on: the model of a widget, or these plain values.
function plainStore(values) {
  const listeners = [];
  return {
    get: name => values[name],
    set(changes) { Object.assign(values, changes); for (const call of listeners) call(); },
    on(_, call) { listeners.push(call); },
    off() {},
  };
}
function modelStore(model) {
  return {
    get: name => model.get(name),
    set(changes) {
      for (const [name, value] of Object.entries(changes)) model.set(name, value);
      model.save_changes();
    },
    on: (names, call) => names.forEach(name => model.on(`change:${name}`, call)),
    off: (names, call) => names.forEach(name => model.off(`change:${name}`, call)),
    ask: (content, buffers) => model.send(content, undefined, buffers),
    hear: call => model.on("msg:custom", call),
  };
}

class View {
  constructor(element, store, parts) {
    Object.assign(this, { store, zoom: { scale: 1, x: 0.5, y: 0.5 }, cut: 0.5, behind: false, peeked: -1, waits: false });
    this.draw = this.draw.bind(this);
    const has = name => parts.includes(name);
    this.pointing = new Pointing(this);
    this.tools = has("tools") && new Tools(this);
    this.film = has("film") && new Film(this);
    this.answer = has("tools") && new Answer(this);
    this.picture = has("picture") && new Picture(this);
    this.strip = has("strip") && new Strip(this);
    this.list = has("list") && new List(this);
    this.scores = has("scores") && new Scores(this);
    this.matrix = has("matrix") && new Matrix(this);
    this.frames = has("frames") && new Frames(this);
    this.parts = [this.frames, this.tools, this.picture, this.answer, this.strip, this.list, this.scores, this.matrix].filter(Boolean);
    const group = (name, members) => members.some(Boolean) ? [node("div", { class: name }, ...members.filter(Boolean).map(part => part.element))] : [];
    this.help = node("dl", { class: "c-help", hidden: true }, ...KEYS.flatMap(([key, text]) => [node("dt", {}, key), node("dd", {}, text)]));
    this.empty = node("p", { class: "c-empty", role: "status", hidden: true });
    // JupyterLab has commands on plain keys, which are not meant while this has the focus.
    this.root = node("div", { class: "carlab", "data-lm-suppress-shortcuts": "true", onkeydown: event => this.pressed(event) },
      this.empty, ...group("c-films", [this.film]), ...group("c-stage", [this.tools, this.picture, this.answer, this.frames, this.strip]), ...group("c-side", [this.list, this.scores]),
      ...group("c-below", [this.matrix]), this.help);
    element.append(this.root);
    takeImages(this, this.root);
    this.changed = this.changed.bind(this);
    store.on(TRAITS, this.changed);
    this.watch = new ResizeObserver(this.draw);
    this.watch.observe(this.root);
    this.changed();
  }
  close() {
    this.store.off(TRAITS, this.changed);
    this.watch.disconnect();
    clearInterval(this.timer);
  }

  // Whatever arrived, in whatever order: what is out of range is brought into it.
  changed() {
    this.warning = undefined;
    const make = content => content?.steps?.length ? new Run(content, this.draw) : undefined;
    const content = this.store.get("content"), other = this.store.get("other");
    this.photo = content?.steps?.length ? undefined : content?.photo && content;
    if (content !== this.content) [this.content, this.run] = [content, make(content)];
    if (other !== this.otherContent) [this.otherContent, this.other] = [other, make(other)];
    if (this.run) {
      this.step = this.run.at(this.store.get("step") ?? 0);
      this.query = this.run.known(this.store.get("query")) ? this.store.get("query") : -1;
    }
    this.layer = this.store.get("layer") ?? "mask";
    this.opacity = this.store.get("opacity") ?? 0.6;
    this.mode = this.store.get("mode") ?? "side by side";
    this.names = this.store.get("names") ?? ["a", "b"];
    this.pick = this.store.get("pick")?.length ? this.store.get("pick") : undefined;
    this.draw();
  }
  known() { return this.run.known(this.query); }
  draw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.empty.textContent = this.warning ?? this.store.get("note") ?? "";
      this.empty.hidden = !this.warning && Boolean(this.run || !this.store.get("note"));
      this.root.classList.toggle("c-waiting", !this.run);
      if (this.film) this.film.draw();
      if (this.photo && this.picture) this.picture.drawPhoto(this.photo, this.draw);
      if (this.run) for (const part of this.parts) part.draw();
    });
  }

  set(changes) { this.store.set(changes); }
  say(text) { this.warning = text; this.draw(); }
  toggle(query) { if (query >= 0) this.set({ query: query === this.query ? -1 : query }); }
  peek(query) { this.peeked = query; if (this.picture) this.draw(); }
  wanted() { return this.store.get("wanted") ?? this.run.queries.map(query => query.full ?? query.name); }
  indexHere(run, index) { return run === this.run ? index : this.run.queries.findIndex(query => query.name === run.queries[index].name); }
  shownOf(run) {
    const here = this.peeked >= 0 ? this.peeked : this.query, name = this.run.queries[here]?.name;
    const query = run === this.run || here < 0 ? here : run.queries.findIndex(one => one.name === name);
    return { layer: this.layer, step: this.step, opacity: this.opacity, zoom: this.zoom, query, pick: this.pick };
  }
  layers() {
    const regions = this.run?.regions ? ["regions"] : [];
    return ["CAM", "mask", "contours", "prompted image", "final", ...regions];
  }
  zoomTo(scale) { this.zoom = { ...this.zoom, scale: clamp(scale, 1, MOST_ZOOM) }; if (this.zoom.scale === 1) this.zoom.x = this.zoom.y = 0.5; this.draw(); }
  play(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.set({ step: (this.step + 1) % this.run.steps.length }), PLAY) : undefined;
    this.draw();
  }
  blink() { this.behind = !this.behind; if (this.mode !== "blink") this.set({ mode: "blink" }); this.draw(); }
  fullScreen() { if (document.fullscreenElement) document.exitFullscreen(); else this.root.requestFullscreen?.(); }

  pressed(event) {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey || !this.run) return;
    const layers = this.layers(), { key } = event, digit = /^[1-9]$/.test(key);
    if (key === " " && event.target.tagName === "BUTTON") return;
    if (key === "ArrowRight") this.set({ step: this.run.at(this.step + 1) });
    else if (key === "ArrowLeft") this.set({ step: this.run.at(this.step - 1) });
    else if (digit) this.toggle(this.run.queries.findIndex(query => query.number === Number(key)));
    else if (key === "Escape") this.set({ query: -1 });
    else if (key === "0") { this.set({ query: -1 }); this.zoomTo(1); }
    else if (key === "l" || key === "L") this.set({ layer: layers[(layers.indexOf(this.layer) + 1) % layers.length] });
    else if (key === " ") { if (this.other) this.blink(); else this.play(this.timer === undefined); }
    else if (key === "+" || key === "-") this.zoomTo(this.zoom.scale * (key === "+" ? 1.4 : 1 / 1.4));
    else if (key === "f" || key === "F") this.fullScreen();
    else if (key === "?") this.help.hidden = !this.help.hidden;
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// The bar over the picture.
class Tools {
  constructor(view) {
    this.view = view;
    const button = (text, title, onclick) => node("button", { type: "button", title, "aria-label": title, onclick }, text);
    this.layers = node("div", { class: "c-group", role: "group", "aria-label": "layer" });
    this.modes = node("div", { class: "c-group", role: "group", "aria-label": "comparison", hidden: true },
      ...["side by side", "blink", "slider", "difference"].map(mode => node("button", { type: "button", "data-mode": mode, onclick: () => view.set({ mode }) }, mode)));
    this.fader = node("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "opacity", title: "opacity",
      oninput: () => view.set({ opacity: Number(this.fader.value) }) });
    this.player = button("▶", "play the steps", () => view.play(view.timer === undefined));
    this.where = node("span", { class: "c-num c-where", role: "status" });
    const right = node("div", { class: "c-group" }, button("−", "zoom out", () => view.zoomTo(view.zoom.scale / 1.4)),
      button("+", "zoom in", () => view.zoomTo(view.zoom.scale * 1.4)), button("full screen", "full screen, F", () => view.fullScreen()),
      button("keys", "what the keys do, ?", () => { view.help.hidden = !view.help.hidden; }));
    this.save = new Save(view);
    this.element = node("div", { class: "c-tools" }, this.layers, node("label", { class: "c-fader" }, "opacity", this.fader),
      this.modes, view.pointing.element, node("div", { class: "c-group" }, this.player), this.where, right, this.save.element);
  }
  draw() {
    const { view } = this, { run } = view, layers = view.layers();
    view.pointing.draw();
    this.save.draw();
    if (this.layers.children.length !== layers.length)
      this.layers.replaceChildren(...layers.map(layer => node("button", { type: "button", "data-layer": layer, onclick: () => view.set({ layer }) }, layer)));
    for (const one of this.layers.children) one.setAttribute("aria-pressed", one.dataset.layer === view.layer);
    for (const one of this.modes.children) one.setAttribute("aria-pressed", one.dataset.mode === view.mode);
    this.modes.hidden = !view.other;
    if (document.activeElement !== this.fader) this.fader.value = view.opacity;
    this.player.setAttribute("aria-pressed", view.timer !== undefined);
    const { active } = run.steps[view.step];
    this.where.textContent = `step ${view.step + 1} of ${run.steps.length} · ${active.length} active, ${run.keptAt(view.step).length} kept` +
      (view.step === run.last ? `: ${run.stop}` : "");
  }
}

// What anywidget calls.
function render({ model, el }) {
  const view = new View(el, modelStore(model), model.get("parts"));
  return () => view.close();
}
export default { render };
