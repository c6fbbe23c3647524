// From maps and labels to pixels: the same rules as carlab.files.pictures, which paints for print.

function canvases(width, height) {
  const made = { width, height };
  for (const name of ["paint", "rim"]) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    made[name] = { canvas, context, image, pixels: new Uint32Array(image.data.buffer) };
  }
  return made;
}
function finish(made) {
  for (const { context, image } of [made.paint, made.rim]) context.putImageData(image, 0, 0);
  return { paint: made.paint.canvas, rim: made.rim.canvas };
}
const packed = ([red, green, blue], alpha) => (alpha << 24 | blue << 16 | green << 8 | red) >>> 0; // little endian

// Bilinear with half-pixel centres and clamped ends, as Pillow enlarges.
function axis(from, to) {
  const low = new Int32Array(to), high = new Int32Array(to), share = new Float32Array(to);
  for (let k = 0; k < to; k++) {
    const at = clamp((k + 0.5) * from / to - 0.5, 0, from - 1);
    low[k] = Math.floor(at);
    high[k] = Math.min(low[k] + 1, from - 1);
    share[k] = at - low[k];
  }
  return { low, high, share };
}

// Each pixel in the colour of the query whose map is highest there, as strongly as that map says; an outline
// where a map crosses eta.
function paintMaps(run, layer, queries, step) {
  const scale = OVERLAY_SIDE / Math.max(run.width, run.height);
  const width = Math.max(1, Math.round(run.width * scale)), height = Math.max(1, Math.round(run.height * scale));
  const made = canvases(width, height), [i, j] = run.grid;
  const maps = queries.map(query => run.map(layer === "CAM" ? "CAM" : "mask", query, step));
  const tints = queries.map(query => packed(rgb(run.queries[query].colour), 0)), n = queries.length;
  const across = axis(j, width), down = axis(i, height), row = new Float32Array(n * j);
  const outlined = layer === "CAM" ? 0 : Math.min(n, MOST_OUTLINED), eta = run.eta * 255;
  let above = new Uint32Array(width), inside = new Uint32Array(width);
  for (let y = 0; y < height; y++) {
    const top = down.low[y] * j, bottom = down.high[y] * j, part = down.share[y];
    for (let q = 0; q < n; q++)
      for (let x = 0; x < j; x++) row[q * j + x] = maps[q][top + x] * (1 - part) + maps[q][bottom + x] * part;
    for (let x = 0; x < width; x++) {
      const left = across.low[x], right = across.high[x], share = across.share[x];
      let best = -1, owner = 0, bits = 0;
      for (let q = 0; q < n; q++) {
        const value = row[q * j + left] + (row[q * j + right] - row[q * j + left]) * share;
        if (value > best) { best = value; owner = q; }
        if (q < outlined && value > eta) bits |= 1 << q;
      }
      inside[x] = bits;
      const at = y * width + x;
      if (n && layer !== "contours") made.paint.pixels[at] = (tints[owner] | Math.round(best) << 24) >>> 0;
      const crossed = (y ? bits ^ above[x] : 0) | (x ? bits ^ inside[x - 1] : 0);
      if (crossed) {
        const tint = (tints[31 - Math.clz32(crossed)] | 0xff000000) >>> 0;
        made.rim.pixels[at] = tint;
        if (x) made.rim.pixels[at - 1] = tint; // two pixels wide
        if (y) made.rim.pixels[at - width] = tint;
      }
    }
    [above, inside] = [inside, above];
  }
  return finish(made);
}

function paintLabels(run, layer, query) {
  const held = run.labelsOf(layer);
  if (!held) return undefined;
  const { labels, width, height } = held, made = canvases(width, height);
  const tint = label => layer === "regions" ? regionColour(label) : rgb(run.queries[label - 1].colour);
  const tints = new Map(), rims = new Map();
  const own = label => label && (layer === "regions" || query < 0 || label - 1 === query) ? label : 0;
  for (let at = 0; at < labels.length; at++) {
    const label = own(labels[at]);
    if (!label) continue;
    if (!tints.has(label)) {
      tints.set(label, packed(tint(label), 255));
      rims.set(label, packed(tint(label).map(part => Math.round(0.6 * part)), 255));
    }
    made.paint.pixels[at] = tints.get(label);
    const x = at % width, differs = other => own(labels[other]) !== label;
    if ((x && differs(at - 1)) || (x < width - 1 && differs(at + 1)) ||
        (at >= width && differs(at - width)) || (at + width < labels.length && differs(at + width)))
      made.rim.pixels[at] = rims.get(label);
  }
  return finish(made);
}
// Pixels whose query differs between two runs, in the colour it has now, or had where it has none.
function paintDifference(run, other) {
  const now = run.labelsOf("final"), before = other.labelsOf("final"), made = canvases(now.width, now.height);
  const name = (one, label) => label ? one.queries[label - 1].name : "";
  for (let at = 0; at < now.labels.length; at++) {
    const [a, b] = [before.labels[at], now.labels[at]];
    if (name(other, a) !== name(run, b)) made.paint.pixels[at] = packed(rgb((b ? run.queries[b - 1] : other.queries[a - 1]).colour), 255);
  }
  return finish(made);
}
function regionColour(label) { // neighbours in number are far in hue
  const hue = label * 0.61803398875 % 1, part = shift => Math.round(255 * clamp(Math.abs((hue * 6 + shift) % 6 - 3) - 1, 0.15, 0.9));
  return [part(0), part(4), part(2)];
}
