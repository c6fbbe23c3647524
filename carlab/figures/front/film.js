// The images of a folder in a strip; and images that are dropped or pasted into the view.

const MOST_SENT = 8e6; // bytes; a message of a notebook's server holds 10 MB

class Film {
  constructor(view) {
    this.view = view;
    this.element = node("div", { class: "c-film", role: "listbox", "aria-label": "images" });
    this.root = view.root;
  }
  draw() {
    const { view } = this, film = view.store.get("film") ?? [], shot = view.store.get("shot") ?? 0;
    this.element.hidden = film.length < 2;
    if (film !== this.film) {
      this.film = film;
      this.cells = film.map((one, index) => this.cell(one, index));
      this.element.replaceChildren(...this.cells.map(cell => cell.button));
    }
    this.cells.forEach((cell, index) => {
      cell.button.setAttribute("aria-selected", index === shot);
      const image = cell.thumb && bitmap(cell.thumb, view.draw);
      if (image && !cell.drawn) {
        Object.assign(cell.canvas, { width: image.width, height: image.height });
        cell.canvas.getContext("2d").drawImage(image, 0, 0);
        cell.drawn = true;
      }
    });
  }
  cell({ name, thumb }, index) {
    const canvas = node("canvas", { width: 1, height: 1 });
    const button = node("button", { type: "button", role: "option", title: name, onclick: () => this.view.set({ shot: index }) },
      canvas, node("span", {}, node("bdi", {}, name)));
    return { button, canvas, thumb };
  }
}

// Images that a person drops on the view, or pastes while it has the focus, are sent to the kernel.
function takeImages(view, root) {
  const wanted = () => view.store.ask && view.store.get("droppable");
  const take = async (event, items) => {
    const file = [...(items?.files ?? [])].find(one => one.type.startsWith("image/"));
    if (!file || !wanted()) return;
    event.preventDefault();
    event.stopPropagation();
    if (file.size > MOST_SENT) view.say(`${file.name}: ${(file.size / 1e6).toFixed(0)} MB are more than a notebook sends; write Lab("${file.name}", ...)`);
    else view.store.ask({ ask: "image", name: file.name }, [await file.arrayBuffer()]);
  };
  root.addEventListener("dragover", event => { if (wanted()) event.preventDefault(); });
  root.addEventListener("drop", event => take(event, event.dataTransfer));
  root.addEventListener("paste", event => take(event, event.clipboardData));
}
