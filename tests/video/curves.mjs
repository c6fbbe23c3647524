// Draws the curves of a video on stand-ins of nodes, and clicks; prints what came of it, for test_shown.py.
import fs from "node:fs";

class Stand {
  constructor(tag) { Object.assign(this, { tag, attributes: {}, children: [], style: {}, dataset: {}, listeners: {} }); }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value);
  }
  addEventListener(name, call) { this.listeners[name] = call; }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  getBoundingClientRect() { return { left: 0, top: 0, width: 640, height: 150 }; }
}
globalThis.document = { createElement: tag => new Stand(tag), createElementNS: (_, tag) => new Stand(tag) };

const [, , folder, content] = process.argv;
const source = ["base", "frames"].map(part => fs.readFileSync(`${folder}/${part}.js`, "utf8")).join("\n");
const Frames = new Function(`${source}; return Frames;`)();
const values = { frames: JSON.parse(content), frame: 0, query: -1 };
const view = {
  store: { get: name => values[name] },
  set(changes) { Object.assign(values, changes); },
  get query() { return values.query; },
  known() { return values.query >= 0; },
  run: { queries: ["#111111", "#222222", "#333333"].map(colour => ({ colour })), threshold: 0.3, title: query => `${query}` },
};
const frames = new Frames(view);
frames.draw();
const svg = frames.chart.children[0], lines = svg.children.filter(one => one.dataset.query !== undefined);
const points = lines.map(line => line.children.slice(1, 3).map(path => [...path.attributes.d.matchAll(/([ML])([\d.]+) ([\d.]+)/g)]
  .map(([, move, x, y]) => [move, Number(x), Number(y)])));
const seen = [];
const click = (x, query) => {
  svg.listeners.click({ clientX: x, target: { closest: () => query === undefined ? null : { dataset: { query: `${query}` } } } });
  seen.push([values.frame, values.query]);
};
click(630);
click(30, 1);
frames.slider.value = "2";
frames.slider.listeners.input();
seen.push([values.frame, values.query]);
frames.draw();
console.log(JSON.stringify({ points, seen, where: frames.where.textContent, most: frames.slider.attributes.max ?? frames.slider.max }));
