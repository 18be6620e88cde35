// The annotator's face: it draws what the session says and sends what the annotator does.
// State lives in Python; here are only the view (zoom, tool, label) and the stroke that is not finished yet.

const TOOLS = [
  ["polygon", "p", "Polygon", "click corner after corner; Enter, double click or the first corner closes it"],
  ["brush", "b", "Brush", "drag; [ and ] change its size"],
  ["erase", "e", "Eraser", "a brush that takes labels away"],
  ["fill", "f", "Fill", "give a whole region the chosen label"],
  ["edit", "v", "Edit", "click a region: drag, insert (click a side) and delete (right click) its corners"],
  ["grabcut", "g", "GrabCut", "drag a box around the object; its outline is found"],
  ["superpixel", "s", "Superpixel", "click: the patch of one colour is labelled"],
];
const KEYS = [
  ["1 – 9", "choose a label"], ["0", "label: unlabelled"], ["i", "a new object"],
  ["z, Shift z", "undo, redo; while a polygon is open, z takes its last corner back"],
  ["Backspace", "take the last corner back"], ["Esc", "drop the unfinished stroke"], [", .", "previous, next image"],
  ["x", "skip: no recognisable object"], ["m", "the model's proposal"], ["l", "let the model learn"],
  ["q", "open the image the model is least sure of"], ["h", "hide or show labels"], ["+ − r", "zoom in, out, whole image"],
  ["wheel, middle drag", "zoom, pan"], ["arrows, Space", "move the cross (Shift: by ten); press, and let go again where one would drag"], ["?", "this card"],
];
const BUSY = { learn: "learning", propose: "asking the model", queue: "asking the model", grabcut: "finding the outline" };
const DRAWS = ["stroke", "undo", "redo", "skip", "grabcut", "superpixel", "propose", "outline"]; // on the image shown
const DEAD = ["dead", "terminating", "restarting", "autorestarting"];
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

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  let state = model.get("state");
  let tool = "polygon", label = 1, instance = 1, radius = 4, opacity = 0.5, shown = true;
  const hidden = new Set();
  let sent = 0, clicks = 0, note = ""; // note: a message of the browser's own
  let outbox = []; // commands that Python has not acknowledged: {n, at, command}
  const drafts = new Map(); // id -> corners of a polygon that is not closed
  let picture = null, maps = null, stale = 0; // ImageBitmap; labels then instances; which decoding is the latest
  let zoom = 1, panX = 0, panY = 0; // canvas pixel = image pixel * zoom + pan
  let points = [], drag = null, pointer = null, cross = null, editing = null; // editing: {rings, label, instance}

  // -- the page
  const canvas = make("canvas", { className: "bdgan-canvas", role: "img" });
  const pen = canvas.getContext("2d");
  const tint = make("canvas");
  const chip = make("span", { className: "bdgan-chip", role: "status", ariaLive: "polite" });
  const title = make("strong"), message = make("div", { className: "bdgan-message", role: "alert" });
  const toolBar = make("div", { className: "bdgan-bar", role: "toolbar", ariaLabel: "tools" });
  const labelList = make("div", { className: "bdgan-labels", role: "radiogroup", ariaLabel: "label" });
  const progress = make("div", { className: "bdgan-progress" });
  const help = make("div", { className: "bdgan-help", hidden: true, role: "dialog", ariaLabel: "keys" });
  const button = (text, hint, action, name) =>
    make("button", { type: "button", textContent: text, title: hint, dataset: { name: name ?? text },
      ...(/[a-z]/i.test(text) ? {} : { ariaLabel: hint }), onclick: () => { action(); root.focus({ preventScroll: true }); } });
  const slider = (text, min, max, step, value, action) =>
    make("label", { className: "bdgan-slider" }, text, make("input",
      { type: "range", min, max, step, value, ariaLabel: text, oninput: (e) => { action(Number(e.target.value)); draw(); } }));

  const tools = Object.fromEntries(TOOLS.map(([name, key, text, hint]) =>
    [name, button(text, `${hint} (${key})`, () => choose(name), name)]));
  const undo = button("Undo", "undo (z)", () => undoStep(), "undo");
  const redo = button("Redo", "redo (Shift z)", () => send({ do: "redo" }, 1), "redo");
  const skip = button("Skip", "no recognisable object (x)", toggleSkip, "skip");
  const learn = button("Learn", "let the model learn from the labels so far (l)", () => send({ do: "learn" }), "learn");
  const propose = button("Propose", "the model's labels for this image (m)", proposal, "propose");
  const unsure = button("Least sure", "open the image the model is least sure of (q)", () => send({ do: "queue" }), "queue");
  const size = slider("brush", 0.5, 16, 0.5, radius, (v) => { radius = v; });
  const object = make("span");
  toolBar.append(...Object.values(tools), undo, redo, learn, propose,
    button("?", "keys (?)", () => { help.hidden = !help.hidden; }, "help"));
  const side = make("div", { className: "bdgan-side" },
    make("div", { className: "bdgan-row" }, title, chip), message, labelList,
    make("div", { className: "bdgan-row" }, object, button("new object", "a new object (i)", newObject, "object")),
    size, slider("opacity", 0, 1, 0.05, opacity, (v) => { opacity = v; paint(); }),
    make("div", { className: "bdgan-row" },
      button("◀", "previous image (,)", () => send({ do: "previous" }), "previous"),
      button("▶", "next image (.)", () => send({ do: "next" }), "next"), skip, unsure),
    progress);
  help.append(make("div", { className: "bdgan-row" }, make("strong", { textContent: "Keys" }),
    button("Close", "close this card (Esc)", () => { help.hidden = true; }, "close")), make("table", {}, make("tbody", {},
    ...[...TOOLS.map(([, key, text, hint]) => [key, `${text}: ${hint}`]), ...KEYS].map(([key, what]) =>
      make("tr", {}, make("th", { scope: "row", textContent: key }), make("td", { textContent: what }))))));
  const stage = make("div", { className: "bdgan-stage" }, canvas, help);
  const root = make("div", { className: "bdgan", tabIndex: 0, role: "application", ariaLabel: "mask annotator; ? shows the keys" },
    toolBar, make("div", { className: "bdgan-body" }, stage, side));
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // the keys are ours, not the notebook's
  el.append(root);

  // -- to Python and back
  // A command names the image it was drawn on, and where it comes from: Python does it there, and once, however often it arrives.
  function send(command, atLeast = 0) {
    note = ""; state = { ...state, message: "" };
    if (DRAWS.includes(command.do)) command = { ...command, image: state.id, origin: [view, sent + 1] };
    post({ ...command, clicks: Math.max(clicks, atLeast) });
    clicks = 0;
    if (command.do !== "stroke" && command.do !== "outline") editing = null;
    tell(); draw();
  }
  function post(command) {
    outbox.push({ n: ++sent, at: Date.now(), command });
    keep();
    try { model.send({ view, n: sent, command }); } catch { /* the kernel is gone: the command stays in the outbox */ }
  }
  const stroke = (what) => send({ do: "stroke", stroke: { label, instance, ...what } });

  // What was not acknowledged outlives a kernel and a reload of the page: the next view of the same store sends it again.
  const storage = () => { try { return window.sessionStorage; } catch { return null; } };
  const place = `bdgan:${state.store}`;
  const kept = () => JSON.parse(storage()?.getItem(place) ?? "[]");
  function keep() {
    const mine = outbox.map((o) => o.command).filter((c) => c.origin), ours = new Set(mine.map((c) => c.origin[0])).add(view);
    const others = kept().filter((c) => !ours.has(c.origin[0]));
    try { storage()?.setItem(place, JSON.stringify([...others, ...mine])); } catch { /* full: this view still has it */ }
  }
  function sendAgain() {
    const left = kept();
    storage()?.removeItem(place);
    left.forEach(post);
  }
  function acknowledged() {
    outbox = outbox.filter((o) => o.n > (state.acks[view] ?? 0));
    keep();
  }

  function kernelIsGone() { // a kernel that works is busy; one that is idle and has not answered never will
    const kernel = model.widget_manager?.kernel, waited = Date.now() - outbox[0].at;
    if (DEAD.includes(kernel?.status) || kernel?.connectionStatus === "disconnected") return true;
    return kernel ? kernel.status === "idle" && waited > 5000 : waited > 60_000;
  }
  function tell() { // the chip: what is on disk
    const pending = outbox.length > 0, gone = pending && kernelIsGone();
    const kind = gone || state.closed || (!pending && !state.saved) ? "bad" : pending ? "busy" : "good";
    chip.textContent = kind === "bad" ? "not saved" : pending ? `${BUSY[outbox[0].command.do] ?? "saving"} …` : "saved";
    if (state.closed && !pending) chip.textContent = "closed";
    chip.className = `bdgan-chip bdgan-${kind}`;
    root.dataset.saved = kind === "good" ? "yes" : "no";
    message.textContent = gone ? "The kernel does not answer. Run the cell again: what you drew here will be sent again."
      : state.closed ? "This session is closed. Run the cell again to go on." : note || state.message;
    if (pending) { clearTimeout(timer); timer = setTimeout(tell, 1000); }
  }
  let timer = 0;

  function refresh() {
    const before = state.id;
    state = model.get("state");
    acknowledged();
    if (state.id !== before) {
      drafts.set(before, points); points = drafts.get(state.id) ?? [];
      drag = editing = null; instance = 1; fit();
    }
    size.querySelector("input").max = Math.max(...state.size) / 4;
    if (state.rings.length && drag?.kind === "ask") { editing = { rings: state.rings, ...drag.target }; drag = null; }
    if (!state.labels[label] && label !== 255) label = 1;
    title.textContent = `${state.class_name}  ${state.index + 1} / ${state.total}`;
    canvas.setAttribute("aria-label", `${state.class_name}, image ${state.index + 1} of ${state.total}, to draw on`);
    redo.disabled = !state.redo;
    for (const b of [learn, propose, unsure]) b.hidden = !state.model;
    propose.disabled = unsure.disabled = !state.learnt;
    learn.textContent = state.learnt ? `Learn (from ${state.learnt})` : "Learn";
    skip.setAttribute("aria-pressed", state.skipped); root.dataset.id = state.id; root.dataset.acked = state.acks[view] ?? 0;
    progress.replaceChildren(...state.classes.map((c) =>
      make("div", { className: "bdgan-class", ariaCurrent: String(c.name === state.class_name) },
        make("span", { textContent: c.name }), make("progress", { max: c.total, value: c.done, ariaLabel: c.name }),
        make("span", { textContent: `${c.done} / ${c.total}`, title: c.skipped ? `${c.skipped} skipped` : "" }))));
    pick(); tell(); draw();
  }

  function pick() { // labels, tool and object that are chosen
    for (const [name, b] of Object.entries(tools)) b.setAttribute("aria-pressed", name === tool);
    object.textContent = `object ${instance}`; undo.disabled = !state.undo && !points.length;
    const listed = state.labels.map((name, k) => [k, name]).slice(1).concat([[255, "unlabelled"]]);
    labelList.replaceChildren(...listed.map(([k, name]) => {
      const swatch = make("span", { className: "bdgan-swatch" });
      swatch.style.background = `rgb(${colour(k)})`;
      const eye = make("button", { type: "button", textContent: hidden.has(k) ? "○" : "●", title: `hide or show ${name}`,
        ariaLabel: `hide or show ${name}`, onclick: () => { hidden.delete(k) || hidden.add(k); pick(); paint(); } });
      const choice = make("button", { type: "button", role: "radio", dataset: { label: k }, title: `label ${name}`,
        onclick: () => { label = k; pick(); root.focus({ preventScroll: true }); } },
        swatch, make("span", { textContent: name }), make("kbd", { textContent: k === 255 ? "0" : k < 10 ? k : "" }));
      choice.setAttribute("aria-checked", k === label);
      return make("div", { className: "bdgan-row" }, choice, eye);
    }));
  }
  const colour = (k) => (k === 255 ? [128, 128, 128] : state.colours[k]);

  async function loadPicture() {
    picture = await createImageBitmap(new Blob([model.get("picture")], { type: "image/png" }));
    fit(); draw();
  }
  async function loadMaps() {
    const mine = ++stale;
    if (!window.DecompressionStream) return cannotShow("it has no DecompressionStream");
    try {
    const packed = new Blob([model.get("maps")]).stream().pipeThrough(new DecompressionStream("deflate"));
    const found = new Uint8Array(await new Response(packed).arrayBuffer());
    if (mine === stale) { maps = found; paint(); }
    } catch (error) { cannotShow(error.message); }
  }
  function cannotShow(why) {
    maps = null; note = `This browser cannot show the labels (${why}). Do not draw here; use a newer browser.`; tell();
  }

  // -- drawing
  function layout() { // the canvas takes its room; what is in the middle stays there
    const side = Math.round(Math.min(stage.clientWidth || 560, Math.max(280, 0.62 * Math.min(window.innerHeight, window.screen.availHeight))));
    const size = Math.round(side * (window.devicePixelRatio || 1)), factor = size / canvas.width;
    if (size === canvas.width && canvas.style.width === `${side}px`) return;
    canvas.style.width = canvas.style.height = `${side}px`;
    canvas.width = canvas.height = size;
    zoom *= factor; panX *= factor; panY *= factor;
    draw();
  }
  function fit() { // the whole image
    layout();
    const [h, w] = state.size;
    zoom = canvas.width / Math.max(h, w);
    panX = (canvas.width - w * zoom) / 2; panY = (canvas.height - h * zoom) / 2;
  }

  function paint() { // the labels' tint, one pixel of it per pixel of the image; region borders are stronger
    if (!maps) return;
    const [h, w] = state.size, n = h * w, image = new ImageData(w, h);
    if (maps.length !== 2 * n) return;
    tint.width = w; tint.height = h;
    const other = (i, j) => maps[i] !== maps[j] || maps[n + i] !== maps[n + j];
    for (let i = 0; i < n; i++) {
      const k = maps[i];
      if (!k || hidden.has(k)) continue;
      const x = i % w;
      const edge = x === 0 || x === w - 1 || i < w || i >= n - w || other(i, i - 1) || other(i, i + 1) || other(i, i - w) || other(i, i + w);
      image.data.set([...colour(k), 255 * Math.min(1, opacity + (edge && opacity ? 0.3 : 0))], 4 * i);
    }
    tint.getContext("2d").putImageData(image, 0, 0);
    draw();
  }

  function draw() {
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    pen.setTransform(zoom, 0, 0, zoom, panX, panY);
    if (picture) pen.drawImage(picture, 0, 0);
    if (shown && maps) pen.drawImage(tint, 0, 0);
    const ink = `rgb(${tool === "erase" ? [255, 255, 255] : colour(label) ?? [0, 0, 0]})`;
    const spot = cross ?? pointer;
    if (drag?.kind === "brush") {
      pen.strokeStyle = ink; pen.globalAlpha = 0.6; brushed(drag.points, radius); pen.globalAlpha = 1;
    }
    for (const { command } of outbox) if (command.image === state.id) unacknowledged(command);
    if (points.length) { outlined(spot ? [...points, spot] : points, false, ink); points.forEach((p, i) => knob(p, i === 0)); }
    if (drag?.kind === "box") outlined([drag.from, [drag.to[0], drag.from[1]], drag.to, [drag.from[0], drag.to[1]]], true, "#fff");
    for (const ring of editing?.rings ?? []) { outlined(ring, true, "#fff"); ring.forEach((p) => knob(p, false)); }
    if (spot && (tool === "brush" || tool === "erase")) { pen.beginPath(); pen.arc(...spot, radius, 0, 7); lines("#fff"); }
    if (cross) {
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [0, 1]]) for (const s of [-1, 1]) {
        pen.moveTo(cross[0] + (s * dx * 4) / zoom, cross[1] + (s * dy * 4) / zoom);
        pen.lineTo(cross[0] + (s * dx * 14) / zoom, cross[1] + (s * dy * 14) / zoom);
      }
      lines("#fff");
    }
  }
  function unacknowledged({ stroke: s, box }) { // drawn here, not yet known there
    if (box) outlined([[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]], true, "#fff");
    if (!s) return;
    pen.globalAlpha = 0.6; pen.strokeStyle = pen.fillStyle = `rgb(${s.label ? colour(s.label) : [255, 255, 255]})`;
    if (s.op === "polygon") { pen.beginPath(); s.rings.forEach((ring) => { ring.forEach((p, i) => (i ? pen.lineTo(...p) : pen.moveTo(...p))); pen.closePath(); }); pen.fill("evenodd"); }
    if (s.op === "brush") brushed(s.points, s.radius);
    pen.globalAlpha = 1;
  }
  function brushed(path, radius) {
    pen.lineWidth = 2 * radius; pen.lineCap = pen.lineJoin = "round";
    trace(path.length > 1 ? path : [path[0], path[0]]); pen.stroke();
  }
  function trace(path) { pen.beginPath(); path.forEach((p, i) => (i ? pen.lineTo(...p) : pen.moveTo(...p))); }
  function lines(ink) { // seen on bright and on dark
    for (const [width, style] of [[4, "#000"], [2, ink]]) { pen.lineWidth = width / zoom; pen.strokeStyle = style; pen.stroke(); }
  }
  function outlined(path, closed, ink) { trace(path); if (closed) pen.closePath(); lines(ink); }
  function knob([x, y], first) {
    const r = (first ? 6 : 4) / zoom;
    pen.fillStyle = "#fff"; pen.strokeStyle = "#000"; pen.lineWidth = 1 / zoom;
    pen.beginPath(); pen.rect(x - r, y - r, 2 * r, 2 * r); pen.fill(); pen.stroke();
  }

  // -- what the annotator does
  const pointAt = (e) => {
    const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
    return [((e.clientX - box.left) * ratio - panX) / zoom, ((e.clientY - box.top) * ratio - panY) / zoom].map((v) => Math.round(v * 100) / 100);
  };
  const inside = ([x, y]) => x >= 0 && y >= 0 && x < state.size[1] && y < state.size[0];
  const near = (a, b, reach = 9) => Math.hypot(a[0] - b[0], a[1] - b[1]) * zoom < reach * (window.devicePixelRatio || 1);

  function choose(name) { tool = name; drag = editing = null; pick(); draw(); }
  function undoStep() { if (points.length) dropLast(); else send({ do: "undo" }, 1); }
  function dropLast() { points.pop(); pick(); draw(); }
  function newObject() {
    const n = state.size[0] * state.size[1];
    instance = maps ? Math.min(255, maps.subarray(n).reduce((a, b) => Math.max(a, b), 0) + 1) : 1;
    pick();
  }
  function toggleSkip() { // from what was asked last, which Python may not have answered yet
    const asked = outbox.map((o) => o.command).filter((c) => c.do === "skip" && c.image === state.id).pop();
    send({ do: "skip", skipped: !(asked ?? state).skipped }, 1);
  }
  function proposal() { if (!propose.disabled) send({ do: "propose", instance }, 1); }
  function close() {
    if (points.length > 2) stroke({ op: "polygon", rings: [points] });
    points = []; pick(); draw();
  }

  function press(at) { // a click, by mouse or by Space
    clicks += 1;
    if (tool === "polygon") {
      if (points.length > 2 && near(at, points[0])) return close();
      points.push(at); pick();
    } else if (tool === "brush" || tool === "erase") drag = { kind: "brush", points: [at] };
    else if (tool === "grabcut") drag = { kind: "box", from: at, to: at };
    else if (tool === "edit") edit(at);
    else if (inside(at)) {
      if (tool === "fill") stroke({ op: "fill", point: at });
      else send({ do: "superpixel", point: at, label, instance });
    }
    draw();
  }
  function edit(at) {
    for (const ring of editing?.rings ?? []) {
      const corner = ring.findIndex((p) => near(at, p));
      if (corner >= 0) { drag = { kind: "corner", ring, corner }; return; }
      const side = ring.findIndex((a, i) => near(at, onSide(at, a, ring[(i + 1) % ring.length]), 6));
      if (side >= 0) { ring.splice(side + 1, 0, at); drag = { kind: "corner", ring, corner: side + 1, moved: true }; return; }
    }
    editing = drag = null;
    if (!inside(at) || !maps) return;
    const i = Math.floor(at[1]) * state.size[1] + Math.floor(at[0]);
    if (!maps[i] || maps[i] === 255) return;
    drag = { kind: "ask", target: { label: maps[i], instance: maps[state.size[0] * state.size[1] + i] } };
    send({ do: "outline", ...drag.target });
  }
  function onSide(p, a, b) {
    const d = [b[0] - a[0], b[1] - a[1]], length = d[0] ** 2 + d[1] ** 2 || 1;
    const t = Math.min(1, Math.max(0, ((p[0] - a[0]) * d[0] + (p[1] - a[1]) * d[1]) / length));
    return [a[0] + t * d[0], a[1] + t * d[1]];
  }
  function reshaped() {
    editing.rings = editing.rings.filter((ring) => ring.length > 2);
    const { rings, ...target } = editing;
    if (rings.length) send({ do: "stroke", stroke: { op: "polygon", rings, replace: true, ...target } });
    else editing = null;
  }
  function dropCorner(at) {
    for (const ring of editing?.rings ?? []) {
      const corner = ring.findIndex((p) => near(at, p));
      if (corner >= 0) { clicks += 1; ring.splice(corner, 1); reshaped(); draw(); return; }
    }
  }
  function move(at) {
    if (drag?.kind === "brush") {
      const last = drag.points[drag.points.length - 1];
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) > radius / 4) drag.points.push(at);
    } else if (drag?.kind === "box") drag.to = at;
    else if (drag?.kind === "corner") { drag.ring[drag.corner] = at; drag.moved = true; }
    draw();
  }
  function release() {
    const done = drag;
    if (done?.kind !== "ask") drag = null;
    if (done?.kind === "brush") stroke({ op: "brush", points: done.points, radius, ...(tool === "erase" ? { label: 0 } : {}) });
    if (done?.kind === "box") {
      const [x, y] = [0, 1].map((k) => [done.from[k], done.to[k]].map((v) => Math.min(state.size[1 - k], Math.max(0, v))).sort((a, b) => a - b));
      if (x[1] - x[0] < 1 || y[1] - y[0] < 1) {
        note = "Drag a box around the object: press at one corner, let go at the opposite one."; tell();
      } else { clicks += 1; send({ do: "grabcut", box: [x[0], y[0], x[1], y[1]], label, instance }); }
    }
    if (done?.moved) reshaped();
    draw();
  }

  let pan = null;
  canvas.addEventListener("pointerdown", (e) => {
    root.focus({ preventScroll: true }); canvas.setPointerCapture(e.pointerId); cross = null;
    if (e.button === 1) { e.preventDefault(); pan = [e.clientX, e.clientY]; } else if (e.button === 2) dropCorner(pointAt(e));
    else if (e.button === 0) press(pointAt(e));
  });
  canvas.addEventListener("pointermove", (e) => {
    pointer = pointAt(e);
    if (pan) {
      const ratio = canvas.width / canvas.getBoundingClientRect().width;
      panX += (e.clientX - pan[0]) * ratio; panY += (e.clientY - pan[1]) * ratio; pan = [e.clientX, e.clientY];
    }
    move(pointer);
  });
  canvas.addEventListener("pointerup", () => { if (pan) pan = null; else release(); });
  canvas.addEventListener("pointercancel", () => { pan = drag = null; draw(); });
  canvas.addEventListener("pointerleave", () => { pointer = null; draw(); });
  canvas.addEventListener("dblclick", () => { if (tool === "polygon") { points.pop(); close(); } });
  canvas.addEventListener("contextmenu", (e) => { e.preventDefault(); e.stopPropagation(); });
  canvas.addEventListener("wheel", (e) => {
    if (!root.contains(document.activeElement)) return; // else the page scrolls on
    e.preventDefault();
    magnify(Math.exp(-e.deltaY / 400), pointAt(e));
  }, { passive: false });
  function magnify(factor, [x, y]) {
    const least = canvas.width / Math.max(...state.size) / 2, wanted = Math.min(Math.max(zoom * factor, least), least * 80);
    panX += x * (zoom - wanted); panY += y * (zoom - wanted); zoom = wanted;
    draw();
  }

  const centre = () => cross ?? pointer ?? [state.size[1] / 2, state.size[0] / 2];
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const ACTIONS = {
    z: undoStep, y: () => send({ do: "redo" }, 1), i: newObject, x: toggleSkip, m: proposal,
    l: () => state.model && send({ do: "learn" }), q: () => state.learnt && send({ do: "queue" }),
    ".": () => send({ do: "next" }), ",": () => send({ do: "previous" }),
    h: () => { shown = !shown; draw(); }, "?": () => { help.hidden = !help.hidden; },
    "[": () => resize(1 / 1.25), "]": () => resize(1.25), r: () => { fit(); draw(); },
    "+": () => magnify(1.25, centre()), "=": () => magnify(1.25, centre()), "-": () => magnify(0.8, centre()),
    Enter: close, Escape: () => { points = []; pick(); drag = editing = null; help.hidden = true; draw(); },
    Backspace: dropLast, Delete: () => dropCorner(centre()), 0: () => { label = 255; pick(); },
    " ": () => { cross ??= centre(); if (drag && drag.kind !== "ask") release(); else press([...cross]); },
  };
  function resize(factor) {
    radius = Math.min(Math.max(...state.size) / 4, Math.max(0.5, radius * factor)); size.querySelector("input").value = radius; draw();
  }
  root.addEventListener("keydown", (e) => {
    if (e.altKey || (e.target.tagName === "INPUT" && e.key in ARROWS)) return; // a slider's own
    if (e.target.tagName === "BUTTON" && (e.key === " " || e.key === "Enter")) return;
    let key = keyOf(e);
    if (e.ctrlKey || e.metaKey) {
      if (key === "s") { send({ do: "save" }); note = "Every finished stroke is saved as you draw."; tell(); e.preventDefault(); e.stopPropagation(); }
      if (!"zy".includes(key)) return;
    }
    if (key === "z" && e.shiftKey) key = "y";
    const named = TOOLS.find(([, letter]) => letter === key);
    if (named) choose(named[0]);
    else if (key in ARROWS) {
      const step = e.shiftKey ? 10 : 1, limit = [state.size[1], state.size[0]], from = centre();
      cross = ARROWS[key].map((d, k) => Math.min(limit[k] - 0.5, Math.max(0.5, Math.floor(from[k]) + 0.5 + d * step)));
      move(cross);
    } else if (key >= "1" && key <= "9") { if (state.labels[key]) { label = Number(key); pick(); } }
    else if (key in ACTIONS) ACTIONS[key]();
    else return;
    e.preventDefault(); e.stopPropagation();
  });

  model.on("change:state", refresh); model.on("change:picture", loadPicture); model.on("change:maps", loadMaps);
  const watch = new ResizeObserver(layout);
  watch.observe(stage);
  window.addEventListener("resize", layout); // the window's height, and the pixels' size
  refresh(); fit(); loadPicture(); loadMaps(); sendAgain();
  return () => { watch.disconnect(); window.removeEventListener("resize", layout); clearTimeout(timer); model.off("change:state", refresh); model.off("change:picture", loadPicture); model.off("change:maps", loadMaps); };
}
export default { render };
