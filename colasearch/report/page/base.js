// What every part needs: making elements, showing text that nobody vouches for, numbers, payloads.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// Text reaches the document through text nodes alone; attributes that could run or load something are refused.
function make(namespace, tag, attributes, children) {
  const node = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") { node.addEventListener(name, value); continue; }
    if (/^on|^style$|^src/i.test(name) || (name === "href" && !String(value).startsWith("#"))) {
      throw new Error(`attribute ${name} is not allowed`);
    }
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}
const h = (tag, attributes, ...children) => make(null, tag, attributes, children);
const s = (tag, attributes, ...children) => make(SVG, tag, attributes, children);

// Control characters, terminal escapes and direction overrides are shown as marks instead of taking effect.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
function visible(text) {
  return String(text).replace(CONTROL, (c) => {
    const code = c.codePointAt(0);
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    if (code === 127) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}
// One line of at most `longest` characters, with line ends as a mark; blanks alone are marked, too.
function line(text, longest = 160) {
  const start = String(text).slice(0, longest * 4), cut = start.trim() || start.replaceAll(" ", "\u2423");
  const flat = visible(cut.replace(/\r?\n/g, "\u21b5 ").replace(/\t/g, " "));
  return flat.length > longest ? flat.slice(0, longest - 1) + "\u2026" : flat;
}
// An inline span of foreign text; isolated, so that right-to-left text cannot reorder what stands beside it.
const foreign = (text, longest = 160, tag = "span") =>
  h(tag, { class: "foreign", dir: "auto", title: String(text).length > longest ? line(text, 1200) : null }, line(text, longest));
// A block of foreign text as it is, line ends kept.
const block = (text) => h("pre", { class: "block", dir: "auto", tabindex: "0" }, visible(text));

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const count = (x) => (typeof x === "number" ? GROUPED.format(x) : x === null || x === undefined ? "" : String(x));
const fixed = (x, digits) => (typeof x === "number" ? x.toFixed(digits) : x === null || x === undefined ? "" : String(x));
const MINUS = "\u2212";
const signed = (x, digits = 1) => (x < 0 ? MINUS : "+") + Math.abs(x).toFixed(digits);
const percent = (x, digits = 1) => (100 * x).toFixed(digits);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// The address of a problem, an arm's tree, a node, a second arm beside it (URLSearchParams takes any text; encodeURIComponent throws at some).
const address = (p, u, n, v) => "#" + new URLSearchParams(Object.entries({ p, u, n, v }).filter(([, value]) => value !== undefined));

const CANNOT_UNPACK =
  "This browser cannot unpack the texts and trees in this file. Chrome and Edge from version 80, Firefox from 113 and " +
  "Safari from 16.4 can.";
const unpacked = new Map();
// The payload with this element id; the last few stay unpacked.
async function payload(id) {
  if (unpacked.has(id)) return unpacked.get(id);
  const holder = document.getElementById(id);
  if (!holder) throw new Error(`this file has no payload ${id}`);
  if (typeof DecompressionStream === "undefined") throw new Error(CANNOT_UNPACK);
  const bytes = Uint8Array.from(atob(holder.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const value = JSON.parse(await new Response(stream).text());
  unpacked.set(id, value);
  if (unpacked.size > 12) unpacked.delete(unpacked.keys().next().value);
  return value;
}

const tip = document.getElementById("tip");
function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((text, i) => h("div", { class: i ? "dim" : null }, text)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${clamp(x + 14, 8, window.innerWidth - box.width - 8)}px`;
  tip.style.top = `${y - box.height - 12 < 8 ? y + 18 : y - box.height - 12}px`;
}
const hideTip = () => { tip.hidden = true; };

// A row of buttons of which one is on.
function choice(label, options, current, pick) {
  return h("div", { class: "choice", role: "group", "aria-label": label },
    options.map(([value, text]) =>
      h("button", { type: "button", "aria-pressed": String(value === current), click: () => pick(value) }, text)));
}
