// Walk through a study's page as a participant would, with as little of a browser as it needs.
const fs = require("fs");
const html = fs.readFileSync(process.argv[2], "utf8");
const [careless, protocol, failing] = process.argv.slice(3).map((word) => word === "1");
class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.attributes = {}; this.listeners = {}; this.text = ""; }
  set textContent(text) { this.text = text; this.children = []; }
  get textContent() { return this.text; }
  appendChild(child) { this.children.push(child); return child; }
  setAttribute(name, value) { this.attributes[name] = String(value); if (name === "value") this.value = String(value); }
  addEventListener(name, call) { this.listeners[name] = call; }
  all(tag) { return this.children.flatMap((c) => (c.tag === tag ? [c] : []).concat(c.all(tag))); }
}
const box = new Element("div"), data = new Element("script");
data.text = html.split('id="data">')[1].split("</script>")[0];
const sent = [], store = {};
global.document = { getElementById: (id) => (id === "data" ? data : box), createElement: (tag) => new Element(tag) };
global.window = { scrollTo() {} };
global.localStorage = { getItem: (n) => store[n] ?? null, setItem: (n, v) => { store[n] = v; } };
global.location = { protocol: protocol ? "http:" : "file:" };
global.fetch = (path, options) => { sent.push([path, options.body]); return Promise.resolve({ ok: !failing }); };
const script = html.split("</div>").pop().split("<script>")[1].split("</script>")[0];
(0, eval)(script);
let pages = 0;
while (box.all("button").length) {
  const button = box.all("button")[0];
  if (!button.disabled) throw new Error("the next page is open before anything is ranked");
  const isCheck = box.all("p").some((p) => p.text.startsWith("Attention check"));
  for (const group of box.all("fieldset")) {
    const selects = group.all("select");
    selects.forEach((select) => { select.value = "1"; select.listeners.change(); });
    if (!button.disabled) throw new Error("equal ranks are accepted");
    const turn = isCheck && careless ? selects.length - 1 : 0;
    selects.forEach((select, i) => { select.value = String(1 + ((i + turn) % selects.length)); select.listeners.change(); });
  }
  if (button.disabled) throw new Error("complete ranks are not accepted");
  button.listeners.click();
  if (++pages > 99) throw new Error("the study never ends");
}
setImmediate(() => {
  const saved = box.all("a").map((a) => decodeURIComponent(a.attributes.href.split(",").slice(1).join(",")));
  console.log(JSON.stringify({ pages, sent, saved, texts: box.all("p").map((p) => p.text) }));
});
