// What can be taken along: the picture as it is, and, where there is a kernel, figures for print and code.

const FIGURES = ["strip", "pipeline", "prompts", "scores"];
const FORMATS = ["pdf", "svg", "png"];

function download(name, data) {
  const link = node("a", { href: URL.createObjectURL(new Blob([data])), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copyText(text) {
  try { await navigator.clipboard.writeText(text); return; } catch { /* a page over http has no clipboard */ }
  const field = node("textarea", { style: "position:fixed;opacity:0" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

class Save {
  constructor(view) {
    this.view = view;
    const select = (label, values) => node("select", { "aria-label": label }, ...values.map(value => node("option", {}, value)));
    this.kind = select("what to download", ["picture", ...(view.store.ask ? [...FIGURES, "page"] : [])]);
    this.form = select("format", FORMATS);
    this.kind.addEventListener("change", () => this.draw());
    const button = node("button", { type: "button", onclick: () => this.save() }, "download");
    this.copy = node("button", { type: "button", title: "copy the Python that makes this result", onclick: () => this.copied() }, "copy code");
    this.element = node("div", { class: "c-group c-save" }, this.kind, this.form, button, this.copy);
    view.store.hear?.((content, buffers) => { if (content.file) download(content.file, bytes(buffers[0])); });
  }
  draw() {
    this.form.hidden = ["picture", "page"].includes(this.kind.value);
    this.copy.hidden = !this.view.store.get("code");
  }
  save() {
    if (this.kind.value !== "picture") { this.view.store.ask({ ask: "file", kind: this.kind.value, form: this.form.value }); return; }
    this.view.picture.canvas.toBlob(blob => download("carlab-picture.png", blob));
  }
  async copied() {
    await copyText(this.view.store.get("code"));
    this.copy.textContent = "copied";
    setTimeout(() => { this.copy.textContent = "copy code"; }, 1500);
  }
}
