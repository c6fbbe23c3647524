// A plotly chart. The library, five megabytes, is asked of the kernel once a page, when the first chart is shown;
// until it is there the chart waits, and what arrives later is drawn when it arrives.

const ASK_AGAIN = 4000; // milliseconds
const shared = globalThis.carlabPlotly ??= { asked: 0, library: undefined, waiting: new Set() };

function evaluate(buffer) {
  if (shared.library) return;
  // As a CommonJS module: nothing in the page is overwritten, and none of its own loaders takes it.
  const module = { exports: {} };
  new Function("module", "exports", "define", new TextDecoder().decode(buffer))(module, module.exports, undefined);
  shared.library = module.exports;
  for (const call of shared.waiting) call();
  shared.waiting.clear();
}

function render({ model, el }) {
  const place = document.createElement("div"), wait = document.createElement("p");
  wait.textContent = "loading charts …";
  wait.setAttribute("role", "status");
  el.append(wait, place);
  let drawing = Promise.resolve(), open = true;
  const draw = () => {
    if (!shared.library) return;
    wait.hidden = true;
    drawing = drawing.then(async () => {
      const { data, layout } = model.get("figure");
      if (!open || !data) return;
      const size = { ...layout, autosize: true, width: undefined };
      await shared.library.react(place, structuredClone(data), structuredClone(size), { displaylogo: false, responsive: true, showSendToCloud: false });
      place.removeAllListeners("plotly_click");
      place.on("plotly_click", ({ points: [point] }) => {
        model.set("clicked", { curve: point.curveNumber, point: point.pointNumber, x: point.x, y: point.y, count: model.get("clicked").count + 1 || 1 });
        model.save_changes();
      });
    }).catch(error => console.error(error));
  };
  const ask = () => {
    if (shared.library || Date.now() - shared.asked < ASK_AGAIN) return;
    shared.asked = Date.now();
    model.send({ ask: "plotly" });
  };
  const heard = (_, buffers) => { if (buffers?.length) evaluate(buffers[0]); };
  model.on("change:figure", draw);
  model.on("msg:custom", heard);
  if (shared.library) draw();
  else { shared.waiting.add(draw); ask(); }
  const timer = setInterval(() => { if (shared.library) clearInterval(timer); else ask(); }, ASK_AGAIN);
  return () => {
    open = false;
    clearInterval(timer);
    shared.waiting.delete(draw);
    model.off("change:figure", draw);
    model.off("msg:custom", heard);
    shared.library?.purge(place);
  };
}
export default { render };
