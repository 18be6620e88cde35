// Parts of the annotator that know nothing of a session: keys, elements of the page, and pictures of labels.

const TOOLS = [
  ["segment", "g", "Segment", "click on the object, right click (or Shift click) beside it, or drag a box; Enter accepts the preview"],
  ["polygon", "p", "Polygon", "click corner after corner; Enter, double click or the first corner closes it"],
  ["brush", "b", "Brush", "drag over the object; [ and ] change the size of the brush"],
  ["erase", "e", "Eraser", "drag: a brush that takes labels away"],
  ["superpixel", "s", "Superpixel", "click: the patch of one colour is labelled"],
  ["fill", "f", "Fill", "give a whole region the chosen label"],
  ["edit", "v", "Edit", "click a region: drag, insert (click a side) and delete (right click) its corners"],
];
const KEYS = [
  ["1 – 9", "choose a label"], ["/", "search the labels"], ["0", "label: unlabelled"], ["i", "a new object"],
  ["c", "what a stroke may change: everything, nothing that is labelled, or take away from the object"],
  ["z, Shift z", "undo, redo; while a polygon or a preview is open, z takes its last click back"],
  ["Backspace", "take the last corner or click back"], ["Esc", "drop the unfinished stroke or preview"], [", .", "previous, next image"],
  ["d", "done: this image is finished; opens the next that is not"], ["n", "the next image without labels"],
  ["x", "skip: no recognisable object"], ["m", "the model's proposal"], ["l", "let the model learn from what is done"],
  ["q", "open the image the model is least sure of"], ["h", "hide or show labels"], ["+ − r", "zoom in, out, whole image"],
  ["wheel, two fingers", "zoom"], ["Space and drag, middle drag", "pan"],
  ["arrows, Space", "move the cross (Shift: by ten); press, and let go again where one would drag (Shift Space: beside the object)"], ["?", "this card"],
];
const MODES = [
  ["", "paint over", "strokes change every pixel they cover"],
  ["protect", "protect others", "strokes change nothing that another label or object has"],
  ["subtract", "take away", "strokes take their pixels away from the chosen object, and change nothing else"],
];
const STATUSES = { ".": ["", "untouched"], s: ["•", "started"], d: ["✓", "done"], x: ["×", "skipped"] };
const CODES = { Comma: ",", Period: ".", BracketLeft: "[", BracketRight: "]", Slash: "?", Minus: "-", Equal: "+" };

// A key's Latin letter or sign, in lower case: the same with CapsLock, and by position where the layout is not Latin.
function keyOf(e) {
  if (e.key.length > 1 || /^[ -~]$/.test(e.key)) return e.key.length > 1 ? e.key : e.key.toLowerCase();
  return CODES[e.code] ?? e.code.replace(/^(Key|Digit|Numpad)/, "").toLowerCase();
}

function make(tag, props = {}, ...children) {
  const { dataset, ...rest } = props;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, dataset);
  node.append(...children); // strings become text, never markup
  return node;
}

async function piped(data, stream) {
  return new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(stream)).arrayBuffer());
}
const inflated = (data) => piped(data, new DecompressionStream("deflate"));
const deflated = (data) => piped(data, new CompressionStream("deflate"));

const rgba = ([r, g, b], alpha = 255) => new Uint32Array(new Uint8Array([r, g, b, alpha]).buffer)[0];
function objectColour(instance) { // colours of objects far apart for neighbouring numbers
  const pen = make("canvas", { width: 1, height: 1 }).getContext("2d");
  pen.fillStyle = `hsl(${(instance * 137.5) % 360} 75% ${instance % 2 ? 50 : 65}%)`; pen.fillRect(0, 0, 1, 1);
  return pen.getImageData(0, 0, 1, 1).data.slice(0, 3);
}

// Small images are painted enlarged: edges as wide as their pixels would hide them.
const finer = ([h, w]) => Math.max(1, Math.floor(256 / Math.max(h, w)));
function enlarged(values, w, n) {
  if (n === 1) return values;
  const wide = w * n, out = new values.constructor(values.length * n * n);
  for (let i = 0; i < out.length; i++) out[i] = values[Math.floor(i / wide / n) * w + Math.floor((i % wide) / n)];
  return out;
}

// The labels of the open image and their two pictures: areas and edges, opaque, so that opacity is set when drawing.
class LabelLayer {
  constructor() { this.areas = make("canvas"); this.edges = make("canvas"); this.clear(); }
  clear() { this.serial = -1; this.objects = null; this.size = [0, 0]; }
  whole(serial, [h, w], bytes) {
    this.serial = serial; this.size = [h, w]; this.fine = finer([h, w]); this.objects = new Uint16Array(h * w); // label * 256 + instance
    for (const canvas of [this.areas, this.edges]) { canvas.width = w * this.fine; canvas.height = h * this.fine; }
    this.put([0, h, 0, w], bytes);
  }
  put([top, bottom, left, right], bytes) { // runs: all lengths, then all objects
    const runs = bytes.length / 6, lengths = new Uint32Array(bytes.buffer, 0, runs), objects = new Uint16Array(bytes.buffer, 4 * runs, runs);
    for (let r = 0, x = left, y = top; r < runs; r++) for (let rest = lengths[r]; rest > 0;) {
      const n = Math.min(rest, right - x), at = y * this.size[1] + x;
      this.objects.fill(objects[r], at, at + n);
      rest -= n; x += n;
      if (x === right) { x = left; y++; }
    }
  }
  packed() { // the inverse of `put`, of the whole
    const starts = [];
    this.objects.forEach((k, i) => { if (!i || k !== this.objects[i - 1]) starts.push(i); });
    const lengths = Uint32Array.from(starts, (start, r) => (starts[r + 1] ?? this.objects.length) - start);
    return new Blob([lengths, Uint16Array.from(starts, (start) => this.objects[start])]);
  }
  at([x, y]) { return this.objects[Math.floor(y) * this.size[1] + Math.floor(x)]; }
  paint(box, colours) { // colours: Uint32Array by object, 0 where nothing is shown
    const n = this.fine, [h, w] = this.size.map((side) => side * n), map = enlarged(this.objects, this.size[1], n), [top, bottom, left, right] = box.map((v) => v * n);
    const y0 = Math.max(0, top - 1), y1 = Math.min(h, bottom + 1), x0 = Math.max(0, left - 1), x1 = Math.min(w, right + 1);
    if (y0 >= y1 || x0 >= x1) return;
    const area = new ImageData(x1 - x0, y1 - y0), edge = new ImageData(x1 - x0, y1 - y0);
    const inner = new Uint32Array(area.data.buffer), outer = new Uint32Array(edge.data.buffer);
    for (let i = 0, y = y0; y < y1; y++) for (let x = x0; x < x1; x++, i++) {
      const at = y * w + x, k = map[at], colour = colours[k];
      if (!colour) continue;
      const rim = x === 0 || y === 0 || x === w - 1 || y === h - 1 || map[at - 1] !== k || map[at + 1] !== k || map[at - w] !== k || map[at + w] !== k;
      (rim ? outer : inner)[i] = colour;
    }
    this.areas.getContext("2d").putImageData(area, x0, y0);
    this.edges.getContext("2d").putImageData(edge, x0, y0);
  }
}

// What `segment` would draw: the mask in the label's colour, and a white veil where the segmenter is unsure.
function previewPicture([top, bottom, left, right], packed, colour, n) { // n: see `finer`
  const bytes = enlarged(packed, right - left, n), w = (right - left) * n, h = (bottom - top) * n, canvas = make("canvas", { width: Math.max(1, w), height: Math.max(1, h) });
  const shown = { canvas, at: [left, top, canvas.width / n, canvas.height / n] };
  if (!w || !h) return shown;
  const image = new ImageData(w, h), out = new Uint32Array(image.data.buffer), white = [255, 255, 255];
  for (let i = 0; i < out.length; i++) {
    const mask = bytes[i] & 128, doubt = (bytes[i] & 7) / 7, x = i % w;
    const rim = mask && (x === 0 || x === w - 1 || i < w || i >= out.length - w || !(bytes[i - 1] & bytes[i + 1] & bytes[i - w] & bytes[i + w] & 128));
    if (rim) out[i] = rgba(white); else if (mask) out[i] = rgba(colour, 150 - 80 * doubt); else if (doubt) out[i] = rgba(white, 110 * doubt);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return shown;
}
