// The images of a run as a table. Python sorts and filters; a click, or Enter, picks one.

const percent = value => value == null ? "–" : (100 * value).toFixed(1);

function cell(row, text, name = "") {
  const made = document.createElement("td");
  made.textContent = text;
  made.className = name;
  made.dir = "auto";
  row.append(made);
  return made;
}

function bar(row, value) {
  const made = cell(row, percent(value), "e-number");
  made.style.setProperty("--v", `${100 * (value ?? 0)}%`);
}

function render({ model, el }) {
  const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  const note = document.createElement("p");
  el.classList.add("carlab-explorer", "tex2jax_ignore", "mathjax_ignore");
  el.append(table, note);
  table.setAttribute("role", "listbox");
  const pick = row => { model.set("picked", row.dataset.id); model.save_changes(); };
  const mark = () => {
    for (const row of body.rows) {
      const chosen = row.dataset.id === model.get("picked");
      row.setAttribute("aria-selected", chosen);
      row.tabIndex = chosen ? 0 : -1;
    }
    if (!body.querySelector("[tabindex='0']") && body.rows.length) body.rows[0].tabIndex = 0;
  };
  const draw = () => {
    head.replaceChildren();
    for (const name of model.get("columns")) {
      const made = document.createElement("th");
      made.textContent = name;
      made.scope = "col";
      head.append(made);
    }
    body.replaceChildren();
    for (const { id, scores, true: there, found, dropped } of model.get("rows")) {
      const row = body.insertRow();
      row.dataset.id = id;
      row.setAttribute("role", "option");
      cell(row, id);
      for (const score of scores) bar(row, score);
      cell(row, there);
      cell(row, found);
      cell(row, dropped, "e-dropped");
    }
    note.textContent = model.get("note");
    mark();
  };
  body.addEventListener("click", event => {
    const row = event.target.closest("tr");
    if (row) { row.focus(); pick(row); }
  });
  body.addEventListener("keydown", event => {
    const row = event.target.closest("tr");
    const step = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (step) { row.tabIndex = -1; step.tabIndex = 0; step.focus(); }
    else if (event.key === "Enter" || event.key === " ") pick(row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  for (const name of ["rows", "columns", "note"]) model.on(`change:${name}`, draw);
  model.on("change:picked", mark);
  draw();
  return () => {
    for (const name of ["rows", "columns", "note"]) model.off(`change:${name}`, draw);
    model.off("change:picked", mark);
  };
}
export default { render };
