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
  ["1 – 9", "choose a label"], ["0", "label: unlabelled"], ["i", "a new object"], ["z, Shift z", "undo, redo"],
  ["Backspace", "take the last corner back"], ["Esc", "drop the unfinished stroke"], [", .", "previous, next image"],
  ["x", "skip: no recognisable object"], ["m", "the model's proposal"], ["l", "let the model learn"],
  ["q", "open the image the model is least sure of"], ["h", "hide or show labels"], ["+ − r", "zoom in, out, whole image"],
  ["wheel, middle drag", "zoom, pan"], ["arrows, Space", "move the cross (Shift: by ten); press, and let go again where one would drag"], ["?", "this card"],
];
const SLOW = { learn: "learning", propose: "asking the model", queue: "asking the model", grabcut: "finding the outline" };

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
  let sent = 0, sentAt = 0, waiting = "", clicks = 0;
  let picture = null, maps = null, stale = 0; // ImageBitmap; labels then instances; which decoding is the latest
  let zoom = 1, panX = 0, panY = 0; // canvas pixel = image pixel * zoom + pan
  let points = [], drag = null, pointer = null, cross = null, editing = null; // editing: {rings, label, instance}

  // -- the page
  const canvas = make("canvas", { className: "bdgan-canvas" });
  const pen = canvas.getContext("2d");
  const tint = make("canvas");
  const chip = make("span", { className: "bdgan-chip", role: "status", ariaLive: "polite" });
  const title = make("strong"), message = make("div", { className: "bdgan-message", role: "alert" });
  const toolBar = make("div", { className: "bdgan-bar", role: "toolbar", ariaLabel: "tools" });
  const labelList = make("div", { className: "bdgan-labels", role: "radiogroup", ariaLabel: "label" });
  const progress = make("div", { className: "bdgan-progress" });
  const help = make("div", { className: "bdgan-help", hidden: true, role: "dialog", ariaLabel: "keys" });
  const button = (text, hint, action, name) =>
    make("button", { type: "button", textContent: text, title: hint, ariaLabel: hint, dataset: { name: name ?? text },
      onclick: () => { action(); root.focus({ preventScroll: true }); } });
  const slider = (text, min, max, step, value, action) =>
    make("label", { className: "bdgan-slider" }, text, make("input",
      { type: "range", min, max, step, value, ariaLabel: text, oninput: (e) => { action(Number(e.target.value)); draw(); } }));

  const tools = Object.fromEntries(TOOLS.map(([name, key, text, hint]) =>
    [name, button(text, `${hint} (${key})`, () => choose(name), name)]));
  const undo = button("Undo", "undo (z)", () => send({ do: "undo" }, 1), "undo");
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
  help.append(make("strong", { textContent: "Keys" }), make("table", {}, make("tbody", {},
    ...[...TOOLS.map(([, key, text, hint]) => [key, `${text}: ${hint}`]), ...KEYS].map(([key, what]) =>
      make("tr", {}, make("th", { scope: "row", textContent: key }), make("td", { textContent: what }))))));
  const stage = make("div", { className: "bdgan-stage" }, canvas, help);
  const root = make("div", { className: "bdgan", tabIndex: 0, role: "application", ariaLabel: "mask annotator; ? shows the keys" },
    toolBar, make("div", { className: "bdgan-body" }, stage, side));
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // the keys are ours, not the notebook's
  el.append(root);

  // -- to Python and back
  function send(command, atLeast = 0) {
    sent += 1; sentAt = Date.now(); waiting = SLOW[command.do] ?? "saving";
    model.send({ view, n: sent, command: { ...command, clicks: Math.max(clicks, atLeast) } });
    clicks = 0; message.textContent = "";
    if (command.do !== "stroke" && command.do !== "outline") editing = null;
    tell();
  }
  const stroke = (what) => send({ do: "stroke", stroke: { label, instance, ...what } });

  function tell() { // the chip: what is on disk
    const pending = sent > (state.acks[view] ?? 0);
    const lost = pending && !(waiting in { learning: 1 }) && Date.now() - sentAt > 5000;
    const kind = lost || (!pending && !state.saved) ? "bad" : pending ? "busy" : "good";
    chip.textContent = lost ? "not saved: the kernel does not answer" : pending ? `${waiting} …` : state.saved ? "saved" : "not saved";
    chip.className = `bdgan-chip bdgan-${kind}`;
    root.dataset.saved = kind === "good" ? "yes" : "no";
    if (pending) setTimeout(tell, 1000);
  }

  function refresh() {
    const before = state.id;
    state = model.get("state");
    if (state.id !== before) { points = []; drag = editing = null; instance = 1; fit(); }
    size.querySelector("input").max = Math.max(...state.size) / 4;
    if (state.rings.length && drag?.kind === "ask") { editing = { rings: state.rings, ...drag.target }; drag = null; }
    if (!state.labels[label] && label !== 255) label = 1;
    title.textContent = `${state.class_name}  ${state.index + 1} / ${state.total}`;
    message.textContent = state.message;
    undo.disabled = !state.undo; redo.disabled = !state.redo;
    for (const b of [learn, propose, unsure]) b.hidden = !state.model;
    propose.disabled = unsure.disabled = !state.learnt;
    learn.textContent = state.learnt ? `Learn (from ${state.learnt})` : "Learn";
    skip.setAttribute("aria-pressed", state.skipped); root.dataset.id = state.id; root.dataset.acked = state.acks[view] ?? 0;
    progress.replaceChildren(...state.classes.map((c) =>
      make("div", { className: "bdgan-class", ariaCurrent: String(c.name === state.class_name) },
        make("span", { textContent: c.name }), make("progress", { max: c.total, value: c.done, ariaLabel: c.name }),
        make("span", { textContent: `${c.done} / ${c.total}` }))));
    pick(); tell(); draw();
  }

  function pick() { // labels, tool and object that are chosen
    for (const [name, b] of Object.entries(tools)) b.setAttribute("aria-pressed", name === tool);
    object.textContent = `object ${instance}`;
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
    const packed = new Blob([model.get("maps")]).stream().pipeThrough(new DecompressionStream("deflate"));
    const found = new Uint8Array(await new Response(packed).arrayBuffer());
    if (mine === stale) { maps = found; paint(); }
  }

  // -- drawing
  function fit() {
    const side = Math.min(stage.clientWidth || 560, Math.max(320, 0.62 * window.innerHeight)), [h, w] = state.size;
    const ratio = window.devicePixelRatio || 1;
    canvas.style.width = `${side}px`; canvas.style.height = `${side}px`;
    canvas.width = canvas.height = Math.round(side * ratio);
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
      pen.strokeStyle = ink; pen.lineWidth = 2 * radius; pen.lineCap = pen.lineJoin = "round"; pen.globalAlpha = 0.6;
      trace(drag.points.length > 1 ? drag.points : [drag.points[0], drag.points[0]]); pen.stroke(); pen.globalAlpha = 1;
    }
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
  const place = (e) => {
    const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
    return [((e.clientX - box.left) * ratio - panX) / zoom, ((e.clientY - box.top) * ratio - panY) / zoom].map((v) => Math.round(v * 100) / 100);
  };
  const inside = ([x, y]) => x >= 0 && y >= 0 && x < state.size[1] && y < state.size[0];
  const near = (a, b, reach = 9) => Math.hypot(a[0] - b[0], a[1] - b[1]) * zoom < reach * (window.devicePixelRatio || 1);

  function choose(name) { tool = name; points = []; drag = editing = null; pick(); draw(); }
  function newObject() {
    const n = state.size[0] * state.size[1];
    instance = maps ? Math.min(255, maps.subarray(n).reduce((a, b) => Math.max(a, b), 0) + 1) : 1;
    pick();
  }
  function toggleSkip() { send({ do: "skip", skipped: !state.skipped }, 1); }
  function proposal() { if (!propose.disabled) send({ do: "propose", instance }, 1); }
  function close() {
    if (points.length > 2) stroke({ op: "polygon", rings: [points] });
    points = []; draw();
  }

  function press(at) { // a click, by mouse or by Space
    clicks += 1;
    if (tool === "polygon") {
      if (points.length > 2 && near(at, points[0])) return close();
      points.push(at);
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
      const [x, y] = [0, 1].map((k) => [done.from[k], done.to[k]].sort((a, b) => a - b));
      clicks += 1;
      send({ do: "grabcut", box: [x[0], y[0], x[1], y[1]], label, instance });
    }
    if (done?.moved) reshaped();
    draw();
  }

  let pan = null;
  canvas.addEventListener("pointerdown", (e) => {
    root.focus({ preventScroll: true }); canvas.setPointerCapture(e.pointerId); cross = null;
    if (e.button === 1) { e.preventDefault(); pan = [e.clientX, e.clientY]; } else if (e.button === 2) dropCorner(place(e));
    else if (e.button === 0) press(place(e));
  });
  canvas.addEventListener("pointermove", (e) => {
    pointer = place(e);
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
    magnify(Math.exp(-e.deltaY / 400), place(e));
  }, { passive: false });
  function magnify(factor, [x, y]) {
    const least = canvas.width / Math.max(...state.size) / 2, wanted = Math.min(Math.max(zoom * factor, least), least * 80);
    panX += x * (zoom - wanted); panY += y * (zoom - wanted); zoom = wanted;
    draw();
  }

  const centre = () => cross ?? pointer ?? [state.size[1] / 2, state.size[0] / 2];
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const ACTIONS = {
    z: () => send({ do: "undo" }, 1), Z: () => send({ do: "redo" }, 1), y: () => send({ do: "redo" }, 1), i: newObject, x: toggleSkip, m: proposal,
    l: () => state.model && send({ do: "learn" }), q: () => state.learnt && send({ do: "queue" }),
    ".": () => send({ do: "next" }), ",": () => send({ do: "previous" }),
    h: () => { shown = !shown; draw(); }, "?": () => { help.hidden = !help.hidden; },
    "[": () => resize(1 / 1.25), "]": () => resize(1.25), r: () => { fit(); draw(); },
    "+": () => magnify(1.25, centre()), "=": () => magnify(1.25, centre()), "-": () => magnify(0.8, centre()),
    Enter: close, Escape: () => { points = []; drag = editing = null; help.hidden = true; draw(); },
    Backspace: () => { points.pop(); draw(); }, Delete: () => dropCorner(centre()), 0: () => { label = 255; pick(); },
    " ": () => { cross ??= centre(); if (drag && drag.kind !== "ask") release(); else press([...cross]); },
  };
  function resize(factor) {
    radius = Math.min(Math.max(...state.size) / 4, Math.max(0.5, radius * factor)); size.querySelector("input").value = radius; draw();
  }
  root.addEventListener("keydown", (e) => {
    if (e.altKey || (e.target.tagName === "INPUT" && e.key in ARROWS)) return; // a slider's own
    if (e.target.tagName === "BUTTON" && (e.key === " " || e.key === "Enter")) return;
    if ((e.ctrlKey || e.metaKey) && !"zZy".includes(e.key)) return;
    const named = TOOLS.find(([, key]) => key === e.key);
    if (named) choose(named[0]);
    else if (e.key in ARROWS) {
      const step = e.shiftKey ? 10 : 1, limit = [state.size[1], state.size[0]], from = centre();
      cross = ARROWS[e.key].map((d, k) => Math.min(limit[k] - 0.5, Math.max(0.5, Math.floor(from[k]) + 0.5 + d * step)));
      move(cross);
    } else if (e.key >= "1" && e.key <= "9") { if (state.labels[e.key]) { label = Number(e.key); pick(); } }
    else if (e.key in ACTIONS) ACTIONS[e.key]();
    else return;
    e.preventDefault(); e.stopPropagation();
  });

  model.on("change:state", refresh); model.on("change:picture", loadPicture); model.on("change:maps", loadMaps);
  const watch = new ResizeObserver(() => { fit(); draw(); });
  watch.observe(stage);
  refresh(); loadPicture(); loadMaps();
  return () => { watch.disconnect(); model.off("change:state", refresh); model.off("change:picture", loadPicture); model.off("change:maps", loadMaps); };
}
export default { render };
