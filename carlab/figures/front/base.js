// Parts that the others use: nodes of the page, bytes, and pictures that were decoded once.

const SVG = "http://www.w3.org/2000/svg";

// Text is set as text: what a user wrote is never markup.
function node(name, attributes = {}, ...children) {
  const [tag, svg] = name.startsWith("svg:") ? [name.slice(4), true] : [name, false];
  const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// A widget sends bytes, a page holds base64.
function bytes(data) {
  if (typeof data === "string") return Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  return new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
}

// A copy: the bytes of a message lie at any offset, numbers of several bytes may not.
const numbers = (data, type) => new type(bytes(data).slice().buffer);

function labelMap(runs) {
  const labels = new Uint16Array(runs.width * runs.height);
  const values = numbers(runs.values, Uint16Array), lengths = numbers(runs.lengths, Uint32Array);
  let start = 0;
  for (let k = 0; k < values.length; k++) labels.fill(values[k], start, start += lengths[k]);
  return { labels, width: runs.width, height: runs.height };
}

const decoded = new Map();
const MOST_DECODED = 400;

// Return the picture if it is decoded; otherwise undefined, and `later` is called when it is.
function bitmap(picture, later) {
  if (!picture) return undefined;
  let held = decoded.get(picture.key);
  if (!held) {
    held = { waiting: [] };
    decoded.set(picture.key, held);
    createImageBitmap(new Blob([bytes(picture.data)])).then(image => {
      held.image = image;
      for (const call of held.waiting.splice(0)) call();
    }, () => decoded.delete(picture.key));
    if (decoded.size > MOST_DECODED) decoded.delete(decoded.keys().next().value);
  }
  if (!held.image && !held.waiting.includes(later)) held.waiting.push(later);
  return held.image;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const rgb = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
const fixed = (value, digits = 3) => value === null || value === undefined ? "" : value.toFixed(digits);
