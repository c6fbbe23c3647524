// The image with a layer over it, on a canvas: zoom and pan, hover, click; of one run or of two.

const TALLEST = 0.68; // of the window
const MOST_ZOOM = 16;
const GAP = 8; // pixels between two images

// Where the whole image lies, in pixels of the canvas, when it is fitted into a box and zoomed.
function placed(box, run, zoom) {
  const fit = Math.min(box.width / run.width, box.height / run.height) * zoom.scale;
  const width = run.width * fit, height = run.height * fit;
  return {
    left: box.left + box.width / 2 - zoom.x * width, top: box.top + box.height / 2 - zoom.y * height, width, height,
  };
}

function drawRun(context, run, box, shown) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  if (shown.layer === "prompted image") drawPrompted(context, run, box, shown);
  else {
    const at = placed(box, run, shown.zoom), photo = run.bitmap(run.photo);
    context.imageSmoothingEnabled = at.width < 4 * run.width;
    if (photo) context.drawImage(photo, at.left, at.top, at.width, at.height);
    const made = run.overlay(shown.layer, shown.query, shown.step);
    context.imageSmoothingEnabled = true;
    if (made && shown.opacity > 0) { // nothing hides the image at 0
      context.globalAlpha = shown.opacity;
      context.drawImage(made.paint, at.left, at.top, at.width, at.height);
      context.globalAlpha = 1;
      Object.assign(context, { shadowColor: "#000", shadowBlur: 3 }); // seen on an image of the same colour
      context.drawImage(made.rim, at.left, at.top, at.width, at.height);
      context.shadowBlur = 0;
    }
    if (shown.pick) drawPick(context, run, at, shown.pick);
  }
  context.restore();
}
function drawPick(context, run, at, [row, column]) {
  const [i, j] = run.grid, width = at.width / j, height = at.height / i;
  for (const [line, colour] of [[4, "#000"], [2, "#fff"]]) {
    context.lineWidth = line;
    context.strokeStyle = colour;
    context.strokeRect(at.left + column * width, at.top + row * height, width, height);
  }
}

// The prompted images of a step in a grid, each with its query: what the classifier saw.
function cells(run, box, query, step) {
  const queries = run.painted(query, step).filter(one => run.prompted(one, step));
  const shape = across => {
    const down = Math.ceil(queries.length / across);
    return { across, side: Math.min((box.width - GAP * (across - 1)) / across, (box.height - GAP * (down - 1)) / down) };
  };
  const { across, side } = queries.map((_, k) => shape(k + 1)).reduce((best, one) => one.side > best.side ? one : best, { across: 1, side: 0 });
  const down = Math.ceil(queries.length / across), wide = across * (side + GAP) - GAP, high = down * (side + GAP) - GAP;
  return queries.map((one, k) => ({
    query: one, side, left: box.left + (box.width - wide) / 2 + (k % across) * (side + GAP),
    top: box.top + (box.height - high) / 2 + Math.floor(k / across) * (side + GAP),
  }));
}
function drawPrompted(context, run, box, shown) {
  for (const cell of cells(run, box, shown.query, shown.step)) {
    framed(context, run.bitmap(run.prompted(cell.query, shown.step)), cell, run.queries[cell.query].colour, 3);
    nameCell(context, cell, run.title(cell.query));
  }
}
function framed(context, image, { left, top, side }, colour, rim) {
  context.fillStyle = colour;
  context.fillRect(left, top, side, side);
  if (image) context.drawImage(image, left + rim, top + rim, side - 2 * rim, side - 2 * rim);
}
function nameCell(context, { left, top, side }, text) {
  context.font = "12px system-ui, sans-serif";
  const width = Math.min(context.measureText(text).width + 10, side - 6);
  if (side < 60) return;
  context.save();
  context.beginPath();
  context.rect(left + 3, top + 3, width, 20);
  context.clip();
  context.fillStyle = "rgba(0,0,0,.72)";
  context.fillRect(left + 3, top + 3, width, 20);
  context.fillStyle = "#fff";
  context.fillText(text, left + 8, top + 17);
  context.restore();
}

function wordLine(name, value, background) {
  return node("div", { class: background ? "c-background" : "" }, node("b", { dir: "auto" }, name), ` ${value.toFixed(2)}` + (background ? " background" : ""));
}

class Picture {
  constructor(view) {
    this.view = view;
    this.canvas = node("canvas", { tabindex: 0, role: "img" });
    this.note = node("div", { class: "c-note", hidden: true });
    this.tip = node("div", { class: "c-tip", hidden: true });
    this.names = node("div", { class: "c-names", hidden: true });
    this.element = node("div", { class: "c-picture" }, this.names, this.canvas, this.note, this.tip);
    const on = (name, handler, options) => this.canvas.addEventListener(name, handler, options);
    on("pointermove", event => this.moved(event));
    on("pointerleave", () => { this.tip.hidden = true; });
    on("pointerdown", event => this.pressed(event));
    on("pointerup", event => this.released(event));
    on("pointercancel", () => { this.drag = undefined; });
    on("dblclick", () => view.zoomTo(1));
    on("wheel", event => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      this.zoomAt(event, Math.exp(-event.deltaY / 300));
    }, { passive: false });
  }

  // Pixels are those of the page; the canvas has as many as the screen. Give the context and its size.
  fit(run, columns) {
    const width = this.element.clientWidth, each = (width - GAP * (columns - 1)) / columns, ratio = window.devicePixelRatio || 1;
    const height = Math.round(Math.max(120, Math.min(each * run.height / run.width, TALLEST * (window.innerHeight || 800))));
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)], context = this.canvas.getContext("2d");
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
      this.canvas.style.height = `${height}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height, each };
  }
  drawPhoto(content, later) {
    if (!this.element.clientWidth) return;
    const { context, width, height } = this.fit(content, 1), photo = bitmap(content.photo, later);
    const at = placed({ left: 0, top: 0, width, height }, content, this.view.zoom);
    if (photo) context.drawImage(photo, at.left, at.top, at.width, at.height);
  }
  draw() {
    const { view } = this, { run } = view, pair = view.other && view.mode === "side by side";
    if (!this.element.clientWidth) return;
    const { context, width, height, each } = this.fit(run, pair ? 2 : 1);
    const whole = { left: 0, top: 0, width, height };
    this.boxes = pair ? [{ ...whole, width: each }, { ...whole, left: each + GAP, width: each }] : [whole];
    this.runs = [run];
    if (pair) this.runs = [view.other, run];
    else if (view.other && view.mode === "blink" && view.behind) this.runs = [view.other];
    this.runs.forEach((one, k) => drawRun(context, one, this.boxes[k], view.shownOf(one)));
    if (view.other && view.mode === "difference") this.drawDifference(context, whole);
    if (view.other && view.mode === "slider") this.drawSlider(context, whole);
    const box = this.boxes.at(-1);
    if (view.layer !== "prompted image") view.pointing.outline(context, placed(box, run, view.zoom));
    this.say(pair);
  }
  drawDifference(context, box) {
    const { view } = this, { run } = view, at = placed(box, run, view.zoom), photo = run.bitmap(run.photo);
    if (this.compared?.[0] !== run || this.compared[1] !== view.other)
      this.compared = [run, view.other, paintDifference(run, view.other)];
    context.clearRect(0, 0, box.width, box.height);
    context.globalAlpha = 0.45;
    if (photo) context.drawImage(photo, at.left, at.top, at.width, at.height);
    context.globalAlpha = 1;
    context.drawImage(this.compared[2].paint, at.left, at.top, at.width, at.height);
  }
  drawSlider(context, { width, height }) {
    const { view } = this, cut = width * view.cut;
    context.clearRect(0, 0, cut, height);
    context.save();
    context.beginPath();
    context.rect(0, 0, cut, height);
    context.clip();
    drawRun(context, view.other, { left: 0, top: 0, width, height }, view.shownOf(view.other));
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(cut - 1.5, 0, 3, height);
    context.fillStyle = "#000";
    context.fillRect(cut - 0.5, 0, 1, height);
  }
  say(pair) {
    const { view } = this, run = this.runs[pair ? 1 : 0], query = view.shownOf(run).query, name = run.queries[query]?.name;
    const away = run.known(query) && !run.isActive(query, view.step) && !["final", "regions"].includes(view.layer);
    this.note.hidden = !away;
    this.note.textContent = away ? `${name} was ${run.verdict(query, view.step)}: this is step ${run.seen(query, view.step) + 1}` : "";
    this.names.hidden = !view.other;
    const [before, after] = view.names;
    const titles = pair || view.mode === "slider" ? [before, after]
      : [view.mode === "difference" ? "where the query of a pixel differs" : view.behind ? before : after];
    this.names.replaceChildren(...titles.map(text => node("span", { dir: "auto" }, text)));
    this.canvas.setAttribute("aria-label", `${view.layer} of ${name ?? "all queries"}, step ${view.step + 1}`);
  }

  // The run under the pointer, and where in its image: x and y from 0 to 1, or the query of a prompted image.
  under(event) {
    const box = this.canvas.getBoundingClientRect(), { view } = this;
    const px = event.clientX - box.left, py = event.clientY - box.top;
    const k = Math.max(0, (this.boxes ?? []).findIndex(one => px >= one.left && px < one.left + one.width));
    const run = view.other && view.mode === "slider" && px < box.width * view.cut ? view.other : this.runs?.[k];
    if (!run) return undefined;
    const shown = view.shownOf(run);
    if (view.layer === "prompted image") {
      const cell = cells(run, this.boxes[k], shown.query, view.step)
        .find(one => px >= one.left && px < one.left + one.side && py >= one.top && py < one.top + one.side);
      return cell && { run, query: cell.query, px, py };
    }
    const at = placed(this.boxes[k], run, view.zoom), x = (px - at.left) / at.width, y = (py - at.top) / at.height;
    return x >= 0 && x < 1 && y >= 0 && y < 1 ? { run, x, y, px, py } : undefined;
  }
  // Queries at a place, the strongest first, each with its value.
  values({ run, x, y, query }) {
    const { layer, step } = this.view;
    if (query !== undefined) return [[query, run.score(query, step), "score"]];
    if (layer === "regions") return [];
    if (layer === "final") {
      const label = run.labelAt(layer, x, y);
      return label ? [[label - 1, run.score(label - 1, step), "score"]] : [];
    }
    return run.steps[run.at(step)].mapped.map(one => [one, run.valueAt(layer, one, step, x, y), layer === "CAM" ? "CAM" : "mask"])
      .sort((a, b) => b[1] - a[1]);
  }
  moved(event) {
    if (this.drag) { this.dragged(event); return; }
    if (this.view.pointing.draws()) this.tip.hidden = true;
    const place = this.under(event), { pointing } = this.view;
    if (pointing.points && place?.x !== undefined) pointing.extend(place.x, place.y);
    if (pointing.draws()) return;
    this.tip.hidden = !place;
    if (!place) return;
    const said = pointing.tool === "words" && place.x !== undefined && pointing.wordsAt(place.x, place.y);
    if (said) this.tip.replaceChildren(...said.map(word => wordLine(...word)));
    else this.tip.replaceChildren(...this.lines(place));
    const flip = place.px > this.canvas.clientWidth / 2;
    this.tip.style.left = flip ? "" : `${place.px + 14}px`;
    this.tip.style.right = flip ? `${this.canvas.clientWidth - place.px + 14}px` : "";
    this.tip.style.top = `${this.canvas.offsetTop + place.py + 14}px`;
  }
  lines(place) {
    const { run } = place, rows = this.values(place).slice(0, 6);
    const line = ([query, value, kind]) => node("div", {},
      node("span", { class: "c-swatch", style: `background:${run.queries[query].colour}` }),
      node("b", { dir: "auto" }, run.title(query)),
      ` ${kind} ${fixed(value, kind === "score" ? 3 : 2)}` + (kind === "score" ? "" : ` · score ${fixed(run.score(query, this.view.step))}`));
    return rows.length ? rows.map(line) : ["no query here"];
  }

  pressed(event) {
    if (event.button) return;
    const { pointing } = this.view, place = pointing.draws() && this.under(event);
    if (place && place.x !== undefined) {
      this.canvas.setPointerCapture(event.pointerId);
      pointing.begin(place.x, place.y);
      return;
    }
    const near = this.view.other && this.view.mode === "slider" &&
      Math.abs(event.offsetX - this.canvas.clientWidth * this.view.cut) < 14;
    this.drag = { x: event.clientX, y: event.clientY, far: false, slider: near };
    this.canvas.setPointerCapture(event.pointerId);
  }
  dragged(event) {
    const { drag, view } = this, dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    drag.far ||= Math.hypot(dx, dy) > 4;
    if (!drag.far) return;
    this.tip.hidden = true;
    if (drag.slider) view.cut = clamp(event.offsetX / this.canvas.clientWidth, 0, 1);
    else if (view.zoom.scale > 1) {
      const at = placed(this.boxes[0], view.run, view.zoom);
      view.zoom.x = clamp(view.zoom.x - dx / at.width, 0, 1);
      view.zoom.y = clamp(view.zoom.y - dy / at.height, 0, 1);
      Object.assign(drag, { x: event.clientX, y: event.clientY });
    }
    view.draw();
  }
  released(event) {
    if (this.view.pointing.points) { this.view.pointing.end(); return; }
    const { drag } = this;
    this.drag = undefined;
    if (!drag || drag.far) return;
    const place = this.under(event);
    if (!place) return;
    if (this.view.store.get("pickable") && place.x !== undefined) {
      const [i, j] = place.run.grid;
      this.view.set({ pick: [Math.floor(place.y * i), Math.floor(place.x * j)] });
      return;
    }
    const [first] = this.values(place);
    if (first && (first[2] === "score" || first[1] > 0)) this.view.toggle(this.view.indexHere(place.run, first[0]));
  }
  zoomAt(event, factor) {
    const place = this.under(event), { zoom } = this.view, before = zoom.scale;
    zoom.scale = clamp(before * factor, 1, MOST_ZOOM);
    if (place?.x !== undefined) { // what is under the pointer stays there
      zoom.x = place.x + (zoom.x - place.x) * before / zoom.scale;
      zoom.y = place.y + (zoom.y - place.y) * before / zoom.scale;
    }
    if (zoom.scale === 1) zoom.x = zoom.y = 0.5;
    this.view.draw();
  }
}
