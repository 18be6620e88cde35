// The annotator's face: it draws what the session says and sends what the annotator does.
// State lives in Python; here are only the view (zoom, tool, label) and the stroke that is not finished yet.

const BUSY = { learn: "learning", propose: "asking the model", queue: "asking the model", preview: "finding the outline", segment: "finding the outline" };
const DRAWS = ["stroke", "undo", "redo", "skip", "done", "segment", "preview", "superpixel", "propose", "outline"]; // on the image shown
const SHOWS = ["preview", "outline"]; // these change nothing: what is lost of them is asked again
const DEAD = ["dead", "terminating", "restarting", "autorestarting"];
const SHOWN_THUMBNAILS = 9;
const EMPTY = "No object is found here: click on it again, or drag a box around it.";

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  let state = model.get("state"), items = model.get("items");
  let tool = state.segmenters.length ? "segment" : "polygon", label = 1, instance = 1, radius = 4, opacity = 0.5, mode = "", segmenter = state.segmenters[0], shown = true, byObject = false;
  const hidden = new Set(), hiddenObjects = new Set();
  let sent = 0, clicks = 0, note = ""; // note: a message of the browser's own
  let outbox = []; // commands that Python has not acknowledged: {n, at, command}
  const drafts = new Map(); // id -> what is not finished there: {points, seg}
  const layer = new LabelLayer();
  let picture = null, colours = null, unreadable = ""; // ImageBitmap; Uint32Array by object; why labels cannot be shown
  let zoom = 1, panX = 0, panY = 0; // canvas pixel = image pixel * zoom + pan
  let points = [], drag = null, pointer = null, cross = null, editing = null; // editing: {rings, label, instance}
  let seg = { points: [], box: null, beside: false }, preview = null; // preview: {canvas, at, clicked, empty, n once it is accepted}
  const thumbnails = new Map(); // id -> address of its small picture; "" while it is awaited
  let behind = false, asked = "", search = ""; // behind: clicks were added while a preview was computed; asked: for which clicks the last one was

  // -- the page
  const canvas = make("canvas", { className: "bdgan-canvas", role: "img" });
  const pen = canvas.getContext("2d");
  const chip = make("span", { className: "bdgan-chip", role: "status", ariaLive: "polite" });
  const title = make("strong"), hint = make("div", { className: "bdgan-hint" }), message = make("div", { className: "bdgan-message", role: "alert" });
  const toolBar = make("div", { className: "bdgan-bar", role: "toolbar", ariaLabel: "tools" });
  const labelList = make("div", { className: "bdgan-labels", role: "radiogroup", ariaLabel: "label" });
  const objectList = make("div", { className: "bdgan-labels", role: "group", ariaLabel: "objects" });
  const progress = make("div", { className: "bdgan-progress", tabIndex: 0, role: "group", ariaLabel: "progress" });
  const strip = make("div", { className: "bdgan-strip", role: "group", ariaLabel: "images" });
  const help = make("div", { className: "bdgan-help", hidden: true, role: "dialog", ariaLabel: "keys", tabIndex: 0 });
  const focus = () => root.focus({ preventScroll: true });
  const button = (text, hint, action, name) =>
    make("button", { type: "button", textContent: text, title: hint, dataset: { name: name ?? text },
      ...(/[a-z]/i.test(text) ? {} : { ariaLabel: hint }), onclick: () => { action(); focus(); } });
  const slider = (text, min, max, step, value, action) =>
    make("label", { className: "bdgan-slider" }, text, make("input",
      { type: "range", min, max, step, value, ariaLabel: text, oninput: (e) => { action(Number(e.target.value)); draw(); } }));
  const select = (name, hint, options, action) =>
    make("select", { title: hint, ariaLabel: name, onchange: (e) => { action(e.target.value); focus(); } },
      ...options.map(([value, text]) => make("option", { value, textContent: text })));
  const row = (...children) => make("div", { className: "bdgan-row" }, ...children);

  const tools = Object.fromEntries(TOOLS.map(([name, key, text, hint]) =>
    [name, button(text, `${hint} (${key})`, () => choose(name), name)]));
  const undo = button("Undo", "undo (z)", () => undoStep(), "undo");
  const redo = button("Redo", "redo (Shift z)", () => send({ do: "redo" }, 1), "redo");
  const skip = button("Skip", "no recognisable object (x)", toggleSkip, "skip");
  const done = button("Done ▶", "this image is finished; open the next that is not (d)", finish, "done");
  const learn = button("Learn", "let the model learn from the images that are done (l)", () => send({ do: "learn" }), "learn");
  const propose = button("Propose", "the model's labels for this image (m)", proposal, "propose");
  const unsure = button("Least sure", "open the image the model is least sure of (q)", () => send({ do: "queue" }), "queue");
  const size = slider("brush size", -1, 4, 0.05, 2, (v) => resize(2 ** v / radius));
  const number = make("input", { type: "number", min: 0.5, step: 0.5, value: radius, ariaLabel: "brush", title: "the brush's radius in pixels",
    oninput: (e) => { if (Number(e.target.value) > 0) resize(Number(e.target.value) / radius, true); } });
  size.append(number);
  const modes = select("what strokes change", "what a stroke may change (c)", MODES, (v) => { mode = v; pick(); });
  const beside = button("beside the object", "the next clicks are beside the object, not on it (Shift click, right click)", () => { seg.beside = !seg.beside; pick(); }, "beside");
  const accept = button("Accept", "accept the preview (Enter)", acceptPreview, "accept");
  const segmenters = select("segmenter", "what answers clicks", state.segmenters.map((s) => [s, s]), (v) => { segmenter = v; ask(); });
  const segmentRow = row(segmenters, beside, accept);
  const jump = make("input", { type: "number", min: 1, ariaLabel: "go to image", title: "go to an image by its number",
    onchange: (e) => { const item = items[Number(e.target.value) - 1]; if (item) open(item[0]); focus(); } });
  const object = make("span");
  const finder = make("input", { type: "search", placeholder: "search labels (/)", ariaLabel: "search labels", oninput: (e) => { search = e.target.value; pick(); },
    onkeydown: (e) => {
      if (e.key !== "Enter" && e.key !== "Escape") return;
      const first = e.key === "Enter" && found()[0];
      if (first) label = first[0];
      search = finder.value = ""; pick(); focus(); e.preventDefault();
    } });
  toolBar.append(...Object.values(tools), undo, redo, learn, propose,
    button("?", "keys (?)", () => { help.hidden = !help.hidden; }, "help"));
  const objectColours = make("label", {}, make("input", { type: "checkbox", onchange: (e) => { byObject = e.target.checked; repaint(); } }), " colour each object");
  const zooms = row(button("−", "zoom out (−)", () => magnify(0.8, centre()), "out"), button("+", "zoom in (+)", () => magnify(1.25, centre()), "in"),
    button("Whole image", "the whole image (r)", () => { fit(); draw(); }, "whole"), button("Full screen", "fill the screen, or leave it", fullScreen, "full"));
  const side = make("div", { className: "bdgan-side" },
    row(title, chip), message, segmentRow, finder, labelList,
    row(object, button("new object", "a new object (i)", newObject, "object"), modes), objectList, objectColours,
    size, slider("opacity", 0, 1, 0.05, opacity, (v) => { opacity = v; }),
    row(button("◀", "previous image (,)", () => send({ do: "previous" }), "previous"), jump,
      button("▶", "next image (.)", () => send({ do: "next" }), "next"), done, skip,
      button("Next unlabelled", "the next image without labels (n)", () => openNext("."), "unlabelled"), unsure),
    progress);
  help.append(row(make("strong", { textContent: "Keys" }),
    button("Close", "close this card (Esc)", () => { help.hidden = true; }, "close")), make("table", {}, make("tbody", {},
    ...[...TOOLS.map(([, key, text, hint]) => [key, `${text}: ${hint}`]), ...KEYS].map(([key, what]) =>
      make("tr", {}, make("th", { scope: "row", textContent: key }), make("td", { textContent: what }))))));
  const stage = make("div", { className: "bdgan-stage" }, canvas, help, zooms, strip);
  const root = make("div", { className: "bdgan", tabIndex: 0, role: "application", ariaLabel: "mask annotator; ? shows the keys" },
    toolBar, hint, make("div", { className: "bdgan-body" }, stage, side));
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // the keys are ours, not the notebook's
  el.append(root);

  // -- to Python and back
  // A command names the image it was drawn on, and where it comes from: Python does it there, and once, however often it arrives.
  function send(command, atLeast = 0) {
    note = ""; state = { ...state, message: "" };
    if (DRAWS.includes(command.do)) command = { ...command, image: state.id, origin: [view, sent + 1] };
    post({ ...command, ...(SHOWS.includes(command.do) ? {} : { clicks: Math.max(clicks, atLeast) }) });
    if (!SHOWS.includes(command.do)) clicks = 0;
    if (command.do !== "stroke" && command.do !== "outline") editing = null;
    tell(); draw();
  }
  function post(command) {
    outbox.push({ n: ++sent, at: Date.now(), command });
    keep();
    try { model.send({ view, n: sent, command }); } catch { /* the kernel is gone: the command stays in the outbox */ }
  }
  const inMode = () => (mode ? { mode } : {});
  const stroke = (what) => send({ do: "stroke", stroke: { label, instance, ...what } });
  const open = (id) => id !== state.id && send({ do: "open", id });

  // What was not acknowledged outlives a kernel and a reload of the page: the next view of the same store sends it again.
  const storage = () => { try { return window.sessionStorage; } catch { return null; } };
  const place = `bdgan:${state.store}`;
  const kept = () => JSON.parse(storage()?.getItem(place) ?? "[]");
  function keep() {
    const mine = outbox.map((o) => o.command).filter((c) => c.origin && !SHOWS.includes(c.do)), ours = new Set(mine.map((c) => c.origin[0])).add(view);
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
    if (preview?.n && !outbox.some((o) => o.n === preview.n)) preview = null; // its labels have come
    if (behind && !outbox.some((o) => o.command.do === "preview")) { behind = false; ask(); }
    keep();
  }

  const kernelNow = () => model.widget_manager?.kernel, kernelThen = kernelNow();
  let python = null, lost = kernelThen === null; // the model in this page; whether its side in Python is gone, as in a kernel that was started anew
  function watchKernel() {
    lost ||= kernelNow() !== kernelThen || DEAD.includes(kernelThen?.status) || python?.comm_live === false;
    tell();
  }
  function kernelIsGone() { // a kernel that works is busy; one that is idle and has not answered never will
    const kernel = kernelNow(), waited = Date.now() - (outbox[0]?.at ?? Date.now());
    if (lost || kernel?.connectionStatus === "disconnected") return true;
    return kernel ? kernel.status === "idle" && waited > 5000 : waited > 60_000;
  }
  function tell() { // the chip: what is on disk
    const pending = outbox.length > 0, gone = kernelIsGone(), late = layer.serial !== state.serial && !unreadable;
    const kind = gone || state.closed || unreadable || (!pending && !state.saved) ? "bad" : pending || late ? "busy" : "good";
    chip.textContent = kind === "bad" ? "not saved" : pending ? `${BUSY[outbox[0].command.do] ?? "saving"} …` : late ? "loading labels …" : "saved";
    if (unreadable) chip.textContent = "labels not shown";
    if (gone && !pending) chip.textContent = "no kernel";
    if (state.closed && !pending) chip.textContent = "closed";
    chip.className = `bdgan-chip bdgan-${kind}`;
    root.dataset.saved = kind === "good" ? "yes" : "no";
    message.textContent = gone ? `The kernel does not answer. Run the cell again${pending ? ": what you drew here will be sent again." : " to go on; what is shown here may be old."}`
      : state.closed ? "This session is closed. Run the cell again to go on." : unreadable || note || state.message;
    clearTimeout(timer);
    if (!removed) timer = setTimeout(watchKernel, pending ? 1000 : 3000);
  }
  let timer = 0, packing = 0, removed = false;
  function say(text) { note = text; tell(); }

  function refresh() {
    const before = state.id, palette = JSON.stringify(state.colours);
    state = model.get("state"); items = model.get("items");
    acknowledged();
    if (state.id !== before) {
      drafts.set(before, { points, seg });
      ({ points, seg } = drafts.get(state.id) ?? { points: [], seg: { points: [], box: null, beside: false } });
      drag = editing = preview = null; instance = 1; fit();
      if (hiddenObjects.size) { hiddenObjects.clear(); repaint(); }
      if (segmenting()) ask();
    }
    size.querySelector("input").max = Math.log2(largest());
    number.max = largest();
    if (state.rings.length && drag?.kind === "ask") { editing = { rings: state.rings, ...drag.target }; drag = null; }
    if (!state.labels[label] && label !== 255) label = 1;
    title.textContent = `${state.class_name}  ${state.index + 1} / ${state.total}`;
    canvas.setAttribute("aria-label", `${state.class_name}, image ${state.index + 1} of ${state.total}, to draw on`);
    redo.disabled = !state.redo; jump.max = state.total; jump.value = state.index + 1;
    for (const b of [learn, propose, unsure]) b.hidden = !state.model;
    propose.disabled = unsure.disabled = !state.learnt;
    learn.textContent = state.learnt ? `Learn (from ${state.learnt})` : "Learn";
    done.textContent = state.status === "labelled" ? "✓ Done ▶" : "Done ▶";
    skip.setAttribute("aria-pressed", state.skipped); done.setAttribute("aria-pressed", state.status === "labelled");
    root.dataset.id = state.id; root.dataset.acked = state.acks[view] ?? 0; root.dataset.status = state.status;
    progress.replaceChildren(...state.classes.map((c) =>
      make("div", { className: "bdgan-class", ariaCurrent: String(c.name === state.class_name) },
        make("span", { textContent: c.name }), make("progress", { max: c.total, value: c.done, ariaLabel: c.name }),
        make("span", { textContent: `${c.done} / ${c.total}`, title: [c.started && `${c.started} started`, c.skipped && `${c.skipped} skipped`].filter(Boolean).join(", ") }))));
    if (palette !== JSON.stringify(state.colours)) repaint();
    pick(); showStrip(); tell(); draw();
  }
  const largest = () => Math.max(1, Math.max(...state.size) / 4); // radius of the brush

  const found = () => state.labels.map((name, k) => [k, name]).slice(1).concat([[255, "unlabelled"]])
    .filter(([, name]) => name.toLowerCase().includes(search.toLowerCase()));
  const nameOf = (l, i) => `${state.labels[l]} ${i}`;
  const eyed = (set, key, name) => button(set.has(key) ? "○" : "●", `hide or show ${name}`, () => { set.delete(key) || set.add(key); pick(); repaint(); }, "eye");
  function swatch(colour) { const s = make("span", { className: "bdgan-swatch" }); s.style.background = `rgb(${[...colour]})`; return s; }
  function chosen(text, checked, action, props, ...children) {
    const choice = make("button", { type: "button", ...props, onclick: () => { action(); pick(); focus(); } }, ...children, make("span", { textContent: text }));
    choice.setAttribute(props.role ? "aria-checked" : "aria-pressed", checked);
    return choice;
  }
  const tint = () => (mode === "subtract" ? [255, 255, 255] : colour(label) ?? [0, 0, 0]);
  function pick() { // labels, tool and object that are chosen
    if (preview && !preview.n && preview.tint !== `${tint()}`) { showPreview(); draw(); } // it shows what Enter would draw
    for (const [name, b] of Object.entries(tools)) b.setAttribute("aria-pressed", name === tool);
    hint.textContent = hintNow();
    object.textContent = `object ${instance}`; undo.disabled = !state.undo && !points.length && !segmenting();
    modes.value = mode; segmentRow.hidden = tool !== "segment"; segmenters.hidden = state.segmenters.length < 2; accept.disabled = preview?.clicked !== clicked() || preview.empty || Boolean(preview.n);
    tools.segment.hidden = !state.segmenters.length; beside.setAttribute("aria-pressed", seg.beside);
    size.hidden = !["brush", "erase"].includes(tool); finder.hidden = state.labels.length <= 10;
    labelList.replaceChildren(...found().map(([k, name]) => {
      const choice = chosen(name, k === label, () => { label = k; }, { role: "radio", dataset: { label: k }, title: `label ${name}` }, swatch(colour(k)));
      choice.append(make("kbd", { textContent: k === 255 ? "0" : k < 10 ? k : "" }));
      return row(choice, eyed(hidden, k, name));
    }));
    objectList.replaceChildren(...state.objects.map(([l, i, area]) => {
      const key = 256 * l + i, name = nameOf(l, i), here = l === label && i === instance;
      const choice = chosen(String(i), here, () => { label = l; instance = i; }, { title: `strokes belong to ${name}, ${area} pixels`, ariaLabel: `${i}: ${name}` }, swatch(colourOf(key)));
      const to = select(`label of ${name}`, `give ${name} another label`, state.labels.map((label, k) => [k, label]).slice(1), (k) => relabel(l, i, Number(k), free(Number(k), i)));
      to.value = l;
      const merge = button("⇥", `merge ${name} into ${state.labels[label] ?? "the"} ${instance}`, () => relabel(l, i, label, instance), "merge");
      if (here) merge.title = merge.ariaLabel = `${name} is chosen; choose another object, then press this to merge`;
      merge.disabled = here || label === 255 || !state.objects.some(([a, b]) => a === label && b === instance);
      return row(choice, to, merge, eyed(hiddenObjects, key, name), button("✕", `delete ${name}`, () => relabel(l, i, 0, 0), "delete"));
    }));
    objectList.hidden = objectColours.hidden = !state.objects.length;
  }
  function hintNow() { // what to do next
    if (tool !== "segment") return TOOLS.find(([name]) => name === tool)[3].replace(/^./, (letter) => letter.toUpperCase());
    if (segmenting()) return "Enter accepts, Esc drops. Too small? Click there. Too large? Right click (or Shift click) there.";
    return state.objects.length ? "Click on the next object, or press d: done, on to the next image." : "Click on the object, or drag a box around it; Enter accepts the preview.";
  }
  const relabel = (l, i, to_label, to_instance) => stroke({ op: "relabel", label: l, instance: i, to_label, to_instance });
  const free = (l, i) => { const taken = new Set(state.objects.filter(([a]) => a === l).map(([, b]) => b)); while (taken.has(i) && i < 255) i++; return i; };
  const colour = (k) => (k === 255 ? [128, 128, 128] : state.colours[k]);
  const colourOf = (key) => (byObject && key >> 8 !== 255 ? objectColour(key & 255) : colour(key >> 8));

  function showStrip() { // small pictures of the images around the open one
    const first = Math.max(0, Math.min(state.index - (SHOWN_THUMBNAILS >> 1), items.length - SHOWN_THUMBNAILS));
    strip.replaceChildren(...items.slice(first, first + SHOWN_THUMBNAILS).map(([id, name], k) => {
      const [sign, status] = STATUSES[state.statuses[first + k]] ?? STATUSES["."], address = thumbnails.get(id);
      const face = make("button", { type: "button", className: `bdgan-thumb bdgan-${status}`, title: `${name} ${first + k + 1}: ${status}`, ariaLabel: `image ${first + k + 1}, ${name}, ${status}`,
        dataset: { id }, ariaCurrent: String(id === state.id), onclick: () => { open(id); focus(); } },
        ...(address ? [make("img", { src: address, alt: "" })] : []), make("span", { textContent: sign || first + k + 1 }));
      return face;
    }));
    askThumbnail();
  }
  function askThumbnail() { // one at a time, and only while nothing else waits: each may have to be drawn by a generator
    if (outbox.length || [...thumbnails.values()].includes("")) return;
    const next = [...strip.children].map((b) => b.dataset.id).find((id) => !thumbnails.has(id));
    if (next) { thumbnails.set(next, ""); try { model.send({ view, thumbnail: next }); } catch { /* no kernel */ } }
  }

  async function loadPicture() {
    const mine = model.get("picture");
    if (!mine?.byteLength) { picture = null; return draw(); }
    const jpeg = new DataView(mine.buffer ?? mine, mine.byteOffset ?? 0).getUint16(0) === 0xffd8;
    const loaded = await createImageBitmap(new Blob([mine], { type: jpeg ? "image/jpeg" : "image/png" }));
    if (mine === model.get("picture")) { picture = loaded; fit(); draw(); }
  }
  let decoding = Promise.resolve(); // labels are put in the order in which they came
  function inTurn(work) { decoding = decoding.then(work).catch((error) => cannotShow(error.message)).then(tell); }
  function loadMaps() {
    if (!window.DecompressionStream) return cannotShow("it has no DecompressionStream");
    const { serial, size, data } = model.get("maps");
    if (data && serial !== layer.serial) inTurn(async () => {
      layer.whole(serial, size, await inflated(data)); repaint();
      if (serial < model.get("state").serial) model.send({ view, whole: true }); // this view came later
    });
  }
  function keepMaps() { // the model's labels are those that came last as a whole; a notebook may save it
    clearTimeout(packing);
    packing = setTimeout(async () => {
      const { serial, size } = layer, data = await deflated(layer.packed());
      if (serial === layer.serial && !removed) model.set("maps", { serial, size, data: new DataView(data.buffer) });
    }, 1000);
  }
  function cannotShow(why) {
    layer.clear(); unreadable = `This browser cannot show the labels (${why}). Do not draw here; use a newer browser.`; tell(); draw();
  }
  function hear(content, buffers) {
    const data = buffers?.[0];
    if (content.patch) inTurn(async () => {
      const { serial, box } = content.patch;
      if (serial <= layer.serial) return; // the whole that came meanwhile has it
      if (serial !== layer.serial + 1) return void model.send({ view, whole: true });
      layer.put(box, await inflated(data)); layer.serial = serial;
      layer.paint(box, colours ?? palette()); draw(); keepMaps();
    });
    if (content.thumbnail) {
      thumbnails.set(content.thumbnail, data?.byteLength ? URL.createObjectURL(new Blob([data], { type: "image/jpeg" })) : " ");
      showStrip();
    }
    const { view: asker, n, box } = content.preview ?? {};
    const of = asked;
    if (asker === view) inflated(data).then((bytes) => {
      if (of !== clicked() || !segmenting()) return; // other clicks by now, another image, or Esc
      preview = { box, bytes, clicked: of, empty: !bytes.some((b) => b & 128) };
      showPreview();
      if (preview.empty) say(EMPTY);
      root.dataset.preview = n; pick(); draw();
    });
  }
  function showPreview() { Object.assign(preview, previewPicture(preview.box, preview.bytes, tint(), finer(state.size)), { tint: `${tint()}` }); }
  function palette() { // by object: its colour, or 0 where it is not shown
    colours = new Uint32Array(65536);
    for (let key = 256; key < 65536; key++) {
      const k = key >> 8;
      if ((k === 255 || state.labels[k]) && !hidden.has(k) && !hiddenObjects.has(key)) colours[key] = rgba(byObject && k !== 255 ? OBJECTS[key & 255] : colour(k));
    }
    return colours;
  }
  const OBJECTS = Array.from({ length: 256 }, (_, k) => objectColour(k));
  function repaint() {
    if (layer.objects) layer.paint([0, layer.size[0], 0, layer.size[1]], palette());
    draw();
  }

  // -- drawing
  function layout() { // the canvas takes its room; what is in the middle stays there
    const high = document.fullscreenElement === root ? window.innerHeight - 190 : 0.62 * Math.min(window.innerHeight, window.screen.availHeight);
    const [h, w] = state.size, scale = Math.min((stage.clientWidth || 560) / w, Math.max(280, high) / h);
    const [width, height] = [w, h].map((side) => Math.max(48, Math.round(side * scale)));
    const [across, down] = [width, height].map((side) => Math.round(side * (window.devicePixelRatio || 1))), factor = across / canvas.width;
    const middle = [(canvas.width / 2 - panX) / zoom, (canvas.height / 2 - panY) / zoom];
    if (across === canvas.width && down === canvas.height && canvas.style.width === `${width}px`) return;
    canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
    canvas.width = across; canvas.height = down;
    zoom *= factor; panX = across / 2 - middle[0] * zoom; panY = down / 2 - middle[1] * zoom;
    draw();
  }
  function fit() { // the whole image
    layout();
    const [h, w] = state.size;
    zoom = Math.min(canvas.width / w, canvas.height / h);
    panX = (canvas.width - w * zoom) / 2; panY = (canvas.height - h * zoom) / 2;
  }
  function fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else root.requestFullscreen?.().catch(() => say("This page does not allow full screen."));
  }

  function draw() {
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = zoom < 1; // single pixels are seen when zoomed in, and none is lost when zoomed out
    pen.imageSmoothingQuality = "medium";
    pen.setTransform(zoom, 0, 0, zoom, panX, panY);
    if (picture) pen.drawImage(picture, 0, 0);
    if (shown && layer.objects && layer.size[0] === state.size[0] && opacity) {
      for (const [face, alpha] of [[layer.areas, opacity], [layer.edges, Math.min(1, opacity + 0.3)]]) { pen.globalAlpha = alpha; pen.drawImage(face, 0, 0, state.size[1], state.size[0]); }
      pen.globalAlpha = 1;
    }
    const ink = `rgb(${tool === "erase" ? [255, 255, 255] : tint()})`;
    const spot = cross ?? pointer;
    if (drag?.kind === "brush") {
      pen.strokeStyle = ink; pen.globalAlpha = 0.6; brushed(drag.points, radius); pen.globalAlpha = 1;
    }
    for (const { command } of outbox) if (command.image === state.id) unacknowledged(command);
    if (preview) pen.drawImage(preview.canvas, ...preview.at);
    if (points.length) { outlined(spot ? [...points, spot] : points, false, ink); points.forEach((p, i) => knob(p, i === 0)); }
    if (drag?.kind === "box") boxed([...drag.from, ...drag.to]);
    if (seg.box) boxed(seg.box);
    for (const [x, y, on] of seg.points) sign([x, y], on);
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
  function unacknowledged({ stroke: s }) { // drawn here, not yet known there
    if (!s) return;
    pen.globalAlpha = 0.6; pen.strokeStyle = pen.fillStyle = `rgb(${s.label && s.mode !== "subtract" ? colour(s.label) : [255, 255, 255]})`;
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
  function boxed([x0, y0, x1, y1]) { outlined([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], true, "#fff"); }
  function knob([x, y], first) {
    const r = (first ? 6 : 4) / zoom;
    pen.fillStyle = "#fff"; pen.strokeStyle = "#000"; pen.lineWidth = 1 / zoom;
    pen.beginPath(); pen.rect(x - r, y - r, 2 * r, 2 * r); pen.fill(); pen.stroke();
  }
  function sign([x, y], on) { // a click: + on the object, − beside it
    const r = (7 * (window.devicePixelRatio || 1)) / zoom;
    pen.beginPath(); pen.arc(x, y, r, 0, 7); pen.fillStyle = on ? "#00734f" : "#b03a00"; pen.fill();
    pen.strokeStyle = "#fff"; pen.lineWidth = 2 / zoom; pen.stroke();
    pen.beginPath(); pen.moveTo(x - r / 2, y); pen.lineTo(x + r / 2, y);
    if (on) { pen.moveTo(x, y - r / 2); pen.lineTo(x, y + r / 2); }
    pen.stroke();
  }

  // -- what the annotator does
  const pointAt = (e) => {
    const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
    return [((e.clientX - box.left) * ratio - panX) / zoom, ((e.clientY - box.top) * ratio - panY) / zoom].map((v) => Math.round(v * 100) / 100);
  };
  const inside = ([x, y]) => x >= 0 && y >= 0 && x < state.size[1] && y < state.size[0];
  const near = (a, b, reach = 9) => Math.hypot(a[0] - b[0], a[1] - b[1]) * zoom < reach * (window.devicePixelRatio || 1);
  const clicked = () => JSON.stringify([state.id, segmenter, seg.points, seg.box]); // what a preview is of
  const segmenting = () => seg.points.length > 0 || seg.box !== null;

  function choose(name) { if (name === "segment" && !state.segmenters.length) return; tool = name; drag = editing = null; pick(); draw(); }
  function undoStep() { if (points.length || segmenting()) dropLast(); else send({ do: "undo" }, 1); }
  function dropLast() {
    if (points.length) points.pop();
    else if (segmenting()) { if (seg.points.length) seg.points.pop(); else seg.box = null; ask(); }
    pick(); draw();
  }
  function newObject() { instance = Math.min(255, Math.max(0, ...state.objects.map(([, i]) => i)) + 1); pick(); }
  function toggleSkip() { // from what was asked last, which Python may not have answered yet
    const asked = outbox.map((o) => o.command).filter((c) => c.do === "skip" && c.image === state.id).pop();
    send({ do: "skip", skipped: !(asked ?? state).skipped }, 1);
  }
  function proposal() { if (!propose.disabled) send({ do: "propose", instance }, 1); }
  function finish() {
    if (points.length || segmenting()) return say(`${points.length ? "A polygon" : "A preview"} is not finished: Enter keeps it, Esc drops it.`);
    if (!state.status && !outbox.some((o) => o.command.image === state.id && !SHOWS.includes(o.command.do))) return say("Nothing is drawn here: draw the object, or skip the image (x).");
    if (!state.skipped) send({ do: "done", done: true }, 1);
    openNext(".s");
  }
  function openNext(wanted) { // the next image of this status, around the end
    const order = [...items.keys()].map((k) => (k + state.index + 1) % items.length).slice(0, -1);
    const next = order.find((k) => wanted.includes(state.statuses[k]));
    if (next === undefined) say(wanted === "." ? "Every other image has labels or is skipped." : "Every other image is done or skipped.");
    else open(items[next][0]);
  }
  function close() {
    if (tool === "segment" || !points.length) return acceptPreview();
    if (points.length > 2) stroke({ op: "polygon", rings: [points], ...inMode() });
    points = []; pick(); draw();
  }

  function ask() { // for the preview of the clicks so far
    if (!segmenting()) { preview = null; pick(); return draw(); }
    if (outbox.some((o) => o.command.do === "preview")) { behind = true; return; } // the latest clicks only, when it has answered
    asked = clicked();
    send({ do: "preview", points: seg.points, segmenter, ...(seg.box ? { box: seg.box } : {}) });
    pick();
  }
  function acceptPreview() {
    if (!segmenting()) return;
    if (preview?.clicked !== clicked()) return say("The preview is not there yet: look at it, then press Enter.");
    if (preview.empty) return say(EMPTY);
    send({ do: "segment", points: seg.points, segmenter, label, instance, ...(seg.box ? { box: seg.box } : {}), ...inMode() });
    preview.n = sent;
    seg = { points: [], box: null, beside: false }; behind = false; pick(); draw();
  }
  function segmentAt(at, on) {
    if (!inside(at)) return;
    if (preview?.n) preview = null;
    seg.points.push([...at, on ? 1 : 0]); ask();
  }

  function press(at, other = false) { // a click, by mouse or by Space; other: with Shift or the right button
    clicks += 1;
    if (tool === "polygon") {
      if (points.length > 2 && near(at, points[0])) return close();
      points.push(at); pick();
    } else if (tool === "brush" || tool === "erase") drag = { kind: "brush", points: [at] };
    else if (tool === "segment") drag = { kind: "box", from: at, to: at, on: other === seg.beside };
    else if (tool === "edit") edit(at);
    else if (inside(at)) drag = { kind: "tap", at };
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
    if (!inside(at) || !layer.objects) return;
    const key = layer.at(at);
    if (key < 256 || key >> 8 === 255) return;
    drag = { kind: "ask", target: { label: key >> 8, instance: key & 255 } };
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
    if (rings.length) send({ do: "stroke", stroke: { op: "polygon", rings, replace: true, ...target, ...(mode === "protect" ? { mode } : {}) } });
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
    const ended = drag;
    if (ended?.kind !== "ask") drag = null;
    if (ended?.kind === "brush") { // with others protected, the eraser takes away from the chosen object alone
      const erased = mode ? { mode: "subtract" } : { label: 0 };
      stroke({ op: "brush", points: ended.points, radius, ...(tool === "erase" ? erased : inMode()) });
    }
    if (ended?.kind === "tap") {
      if (tool === "fill") stroke({ op: "fill", point: ended.at, ...inMode() });
      else send({ do: "superpixel", point: ended.at, label, instance, ...inMode() });
    }
    if (ended?.kind === "box") {
      const [x, y] = [0, 1].map((k) => [ended.from[k], ended.to[k]].map((v) => Math.min(state.size[1 - k], Math.max(0, v))).sort((a, b) => a - b));
      if (near(ended.from, ended.to, 6)) segmentAt(ended.from, ended.on);
      else if (x[1] - x[0] < 1 || y[1] - y[0] < 1) say("Drag a box around the object: press at one corner, let go at the opposite one.");
      else { clicks += 1; if (preview?.n) preview = null; seg.box = [x[0], y[0], x[1], y[1]]; ask(); }
    }
    if (ended?.moved) reshaped();
    draw();
  }

  let pan = null, space = null; // space: pressed, and whether it was used to pan
  const fingers = new Map(); // of a touch screen: pointer -> where it is
  function panBy(from, e) {
    const ratio = canvas.width / canvas.getBoundingClientRect().width;
    panX += (e.clientX - from[0]) * ratio; panY += (e.clientY - from[1]) * ratio;
  }
  function pinched(e) { // two fingers: their distance zooms, their middle pans
    const [a, b] = [...fingers.values()], before = Math.hypot(a[0] - b[0], a[1] - b[1]), middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    const [c, d] = [...fingers.values()], at = { clientX: (c[0] + d[0]) / 2, clientY: (c[1] + d[1]) / 2 };
    panBy(middle, at); magnify(Math.hypot(c[0] - d[0], c[1] - d[1]) / Math.max(1, before), pointAt(at));
  }
  canvas.addEventListener("pointerdown", (e) => {
    focus(); canvas.setPointerCapture(e.pointerId); cross = null;
    if (e.pointerType === "touch") {
      fingers.set(e.pointerId, [e.clientX, e.clientY]);
      if (fingers.size === 2) { drag = null; if (tool === "polygon") dropLast(); return draw(); } // the first finger meant no click
      if (fingers.size > 2) return;
    }
    if (e.button === 1 || (space && e.button === 0)) { e.preventDefault(); pan = [e.clientX, e.clientY]; if (space) space.used = true; }
    else if (e.button === 2 && tool === "segment") press(pointAt(e), true);
    else if (e.button === 2) dropCorner(pointAt(e));
    else if (e.button === 0) press(pointAt(e), e.shiftKey);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (fingers.size > 1) { if (fingers.has(e.pointerId)) pinched(e); return; }
    pointer = pointAt(e);
    if (pan) { panBy(pan, e); pan = [e.clientX, e.clientY]; }
    move(pointer);
  });
  canvas.addEventListener("pointerup", (e) => { const several = fingers.size > 1; fingers.delete(e.pointerId); if (pan) pan = null; else if (!several) release(); });
  canvas.addEventListener("pointercancel", (e) => { fingers.delete(e.pointerId); pan = drag = null; draw(); });
  canvas.addEventListener("pointerleave", () => { pointer = null; draw(); });
  canvas.addEventListener("dblclick", () => { if (tool === "polygon") { points.pop(); close(); } });
  canvas.addEventListener("contextmenu", (e) => { e.preventDefault(); e.stopPropagation(); });
  canvas.addEventListener("wheel", (e) => {
    if (!root.contains(document.activeElement)) return; // else the page scrolls on
    e.preventDefault();
    magnify(Math.exp(-e.deltaY / 400), pointAt(e));
  }, { passive: false });
  function magnify(factor, [x, y]) {
    const least = Math.min(canvas.width / state.size[1], canvas.height / state.size[0]) / 2, wanted = Math.min(Math.max(zoom * factor, least), Math.max(least * 80, 24));
    panX += x * (zoom - wanted); panY += y * (zoom - wanted); zoom = wanted;
    draw();
  }

  const centre = () => cross ?? pointer ?? [state.size[1] / 2, state.size[0] / 2];
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const ACTIONS = {
    z: undoStep, y: () => send({ do: "redo" }, 1), i: newObject, x: toggleSkip, m: proposal, d: finish, n: () => openNext("."),
    l: () => state.model && send({ do: "learn" }), q: () => state.learnt && send({ do: "queue" }),
    ".": () => send({ do: "next" }), ",": () => send({ do: "previous" }),
    c: () => { mode = MODES[(MODES.findIndex(([m]) => m === mode) + 1) % MODES.length][0]; pick(); draw(); },
    h: () => { shown = !shown; draw(); }, "?": () => { help.hidden = !help.hidden; },
    "/": () => !finder.hidden && finder.focus(),
    "[": () => resize(1 / 1.25), "]": () => resize(1.25), r: () => { fit(); draw(); },
    "+": () => magnify(1.25, centre()), "=": () => magnify(1.25, centre()), "-": () => magnify(0.8, centre()),
    Enter: close, Escape: () => { points = []; seg = { points: [], box: null, beside: false }; preview = null; behind = false; pick(); drag = editing = null; help.hidden = true; draw(); },
    Backspace: dropLast, Delete: () => dropCorner(centre()), 0: () => { label = 255; pick(); },
  };
  function resize(factor, typed = false) {
    radius = Math.round(100 * Math.min(largest(), Math.max(0.5, radius * factor))) / 100;
    size.querySelector("input").value = Math.log2(radius);
    if (!typed) number.value = radius;
    draw();
  }
  root.addEventListener("keydown", (e) => {
    const tag = e.target.tagName;
    if (e.altKey || tag === "SELECT" || (tag === "INPUT" && (!["range", "checkbox"].includes(e.target.type) || e.key in ARROWS || e.key === " "))) return; // a field's own
    if (tag === "BUTTON" && (e.key === " " || e.key === "Enter")) return;
    let key = keyOf(e);
    if (e.ctrlKey || e.metaKey) {
      if (key === "s") { send({ do: "save" }); say("Every finished stroke is saved as you draw."); e.preventDefault(); e.stopPropagation(); }
      if (!"zy".includes(key)) return;
    }
    if (key === "z" && e.shiftKey) key = "y";
    const named = TOOLS.find(([, letter]) => letter === key);
    if (named) choose(named[0]);
    else if (key === " ") { space ??= { used: false, shift: e.shiftKey }; }
    else if (key in ARROWS) {
      const step = e.shiftKey ? 10 : 1, limit = [state.size[1], state.size[0]], from = centre();
      cross = ARROWS[key].map((d, k) => Math.min(limit[k] - 0.5, Math.max(0.5, Math.floor(from[k]) + 0.5 + d * step)));
      move(cross);
    } else if (key >= "1" && key <= "9") { if (state.labels[key]) { label = Number(key); pick(); draw(); } }
    else if (Object.hasOwn(ACTIONS, key)) ACTIONS[key]();
    else return;
    e.preventDefault(); e.stopPropagation();
  });
  root.addEventListener("keyup", (e) => {
    if (e.key !== " " || !space) return;
    const { used, shift } = space;
    space = null;
    if (used) return;
    cross ??= centre();
    if (drag && drag.kind !== "ask") release();
    else { press([...cross], shift); if (drag?.kind === "tap") release(); }
  });
  root.addEventListener("focusout", () => { space = null; });

  const events = [["change:state", refresh], ["change:picture", loadPicture], ["change:maps", loadMaps], ["msg:custom", hear], ["comm_live_update", watchKernel]];
  events.forEach(([name, action]) => model.on(name, action));
  kernelThen?.statusChanged?.connect(watchKernel);
  model.widget_manager?.get_model?.(state.widget).then((m) => { python = m; watchKernel(); }, () => {});
  const watch = new ResizeObserver(layout);
  watch.observe(stage);
  window.addEventListener("resize", layout); // the window's height, and the pixels' size
  refresh(); fit(); loadPicture(); loadMaps(); sendAgain();
  return () => {
    removed = true; watch.disconnect(); window.removeEventListener("resize", layout); clearTimeout(timer);
    events.forEach(([name, action]) => model.off(name, action)); kernelThen?.statusChanged?.disconnect(watchKernel);
    for (const address of thumbnails.values()) if (address.trim()) URL.revokeObjectURL(address);
  };
}
export default { render };
