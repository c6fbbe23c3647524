// A click on a heading sorts its table; cells without data-sort come last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  for (const head of heads.filter((head) => !head.classList.contains("ruler"))) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(heads.indexOf(head)));
  }
  function sort(column) {
    const up = heads[column].ariaSort === "descending" || (heads[column].ariaSort === null && !heads[column].classList.contains("number"));
    for (const head of heads) head.ariaSort = head === heads[column] ? (up ? "ascending" : "descending") : null;
    const key = (row) => row.cells[column].dataset.sort;
    body.append(...[...body.rows].sort((a, b) => order(key(a), key(b), up)));
  }
}
function order(a, b, up) {
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  const numbers = Number(a) - Number(b);
  return (up ? 1 : -1) * (Number.isNaN(numbers) ? a.localeCompare(b) : numbers);
}

// A trace is drawn when it is scrolled to: a page has many.
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const content = JSON.parse(target.querySelector("script").textContent);
    new View(target.querySelector(".view"), plainStore({ content, query: -1 }), ["tools", "picture", "strip", "list", "scores"]);
  }
}, { rootMargin: "300px" });
for (const figure of document.querySelectorAll("figure.trace")) near.observe(figure);
