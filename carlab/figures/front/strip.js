// The steps as a strip: the prompted images of each, with what was kept; a click, or the arrow keys, choose one.

const THUMB = 52;
const MOST_THUMBS = 6;

class Strip {
  constructor(view) {
    this.view = view;
    this.element = node("div", { class: "c-strip", role: "listbox", "aria-label": "steps", tabindex: 0 });
    this.cells = [];
  }
  draw() {
    const { view } = this, { run } = view;
    if (this.cells.length !== run.steps.length) {
      this.cells = run.steps.map((_, step) => this.cell(step));
      this.element.replaceChildren(...this.cells.map(cell => cell.button));
    }
    this.cells.forEach((cell, step) => this.update(cell, step));
  }
  cell(step) {
    const canvas = node("canvas", {}), words = node("span", {}), bold = node("b", {}, `step ${step + 1}`);
    const button = node("button", { type: "button", role: "option", tabindex: -1, "data-step": step,
      onclick: () => this.view.set({ step }) }, canvas, node("span", { class: "c-words" }, bold, words));
    return { canvas, words, button };
  }
  update({ canvas, words, button }, step) {
    const { run, query } = this.view, ratio = window.devicePixelRatio || 1, { active } = run.steps[step];
    const known = run.known(query) ? [query] : active.filter(one => run.queries[one].telling);
    const drawn = known.filter(one => run.isActive(one, step) && run.prompted(one, step)), queries = drawn.slice(0, MOST_THUMBS);
    const width = Math.max(1, queries.length) * (THUMB + 3) - 3, context = canvas.getContext("2d");
    Object.assign(canvas, { width: width * ratio, height: THUMB * ratio });
    canvas.style.width = `${width}px`;
    canvas.hidden = !queries.length;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    queries.forEach((one, k) => {
      const cell = { left: k * (THUMB + 3), top: 0, side: THUMB }, gone = run.isDropped(one, step);
      context.globalAlpha = gone ? 0.45 : 1;
      framed(context, run.bitmap(run.prompted(one, step)), cell, run.queries[one].colour, 2);
      context.globalAlpha = 1;
      if (gone) cross(context, cell);
    });
    const dropped = run.drops.filter(drop => drop[1] === step).length, kept = active.length - dropped;
    const end = step === run.last ? ` · ${run.stop}` : "";
    words.textContent = (drawn.length > queries.length ? ` +${drawn.length - queries.length} ·` : "") + ` ${kept} kept` + (dropped ? `, ${dropped} dropped` : "") + end;
    button.setAttribute("aria-selected", step === this.view.step);
  }
}
function cross(context, { left, top, side }) {
  for (const [width, colour] of [[5, "#fff"], [2, "#000"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(left + side * 0.3, top + side * 0.3);
    context.lineTo(left + side * 0.7, top + side * 0.7);
    context.moveTo(left + side * 0.7, top + side * 0.3);
    context.lineTo(left + side * 0.3, top + side * 0.7);
    context.stroke();
  }
}
