// The page: choose, drag, mix, and read what the head says at a pixel.
import { OUTPUTS, heat, loadModel, paint, pixels, tinted } from "./model.js";
import { teach } from "./teach.js";

const page = document.getElementById("play");
const part = (name) => document.getElementById(`play-${name}`);
const REACH = 3; // of the pad in both directions, in units of a latent's deviation
const WARM_RUNS = 20;
const REST = { x: 0, y: 0 };

const state = { pad: { ...REST }, pixel: null, shown: null, running: false, again: false };

function say(text) {
    part("state").textContent = text;
}

const number = (name) => Number(part(name).value);
const classOf = (name) => part(name).selectedIndex;

// The latent and the class weights that the controls stand for.
function chosen(model) {
    const truncation = number("truncation");
    const [seed, other] = [number("seed"), number("other-seed")];
    const mix = number("mix");
    const [first, second] = model.about.directions[classOf("class")];
    const [from, to] = [model.latentOf(seed, truncation), model.latentOf(other, truncation)];
    const latent = from.map(
        (z, k) => (1 - mix) * z + mix * to[k] + REACH * (state.pad.x * first[k] + state.pad.y * second[k]),
    );
    const [a, b] = [model.oneHot(classOf("class")), model.oneHot(classOf("other-class"))];
    return { latent, weights: a.map((w, k) => (1 - mix) * w + mix * b[k]), truncation };
}

// Draw what the controls say; while a run is on its way, only the last request waits.
async function draw(model) {
    if (state.running) {
        state.again = true;
        return;
    }
    state.running = true;
    do {
        state.again = false;
        const start = performance.now();
        const { latent, weights, truncation } = chosen(model);
        state.shown = await model.run(latent, weights, truncation, OUTPUTS);
        show(model);
        page.dataset.ms = (performance.now() - start).toFixed(1);
        page.dataset.drawn = Number(page.dataset.drawn || 0) + 1;
    } while (state.again);
    state.running = false;
}

function show(model) {
    const { image, mask, uncertainty } = state.shown;
    const bytes = pixels(image);
    paint(part("image"), bytes);
    paint(part("labels"), tinted(bytes, mask, model.about.colours, number("opacity")));
    paint(part("uncertainty"), heat(uncertainty, Math.log(model.about.members) / 4));
    const mean = uncertainty.reduce((a, b) => a + b, 0) / uncertainty.length;
    part("mean").textContent = `mean ${mean.toFixed(4)} nats`;
    read(model);
}

// Names of the labels of a class: what "part 1" is depends on it.
function labelNames(model, classId) {
    const parts = model.about.parts[model.about.classes[classId]] || [];
    return model.about.labels.map((label, k) => (k && parts[k - 1]) || label);
}

function read(model) {
    const side = model.about.side;
    if (!state.pixel) state.pixel = { x: side / 2, y: side / 2 };
    const place = state.pixel.y * side + state.pixel.x;
    const { probabilities, uncertainty } = state.shown;
    const area = side * side;
    const names = labelNames(model, classOf(number("mix") > 0.5 ? "other-class" : "class"));
    const known = number("mix") > 0.5 ? classOf("other-class") : classOf("class");
    const count = 1 + (model.about.parts[model.about.classes[known]] || []).length;
    const table = part("bars");
    table.replaceChildren(
        ...names.flatMap((name, label) => {
            const share = probabilities[label * area + place];
            if (label >= count && share < 0.005) return []; // no part of this class has this number
            const row = document.createElement("li");
            const [text, bar, value] = ["span", "span", "span"].map((tag) => document.createElement(tag));
            text.textContent = name;
            bar.className = "play-bar";
            bar.style.setProperty("--share", share);
            bar.style.setProperty("--colour", `rgb(${label ? model.about.colours[label] : [128, 128, 128]})`);
            value.textContent = `${(100 * share).toFixed(1)}%`;
            row.append(text, bar, value);
            return [row];
        }),
    );
    part("pixel").textContent =
        `Pixel ${state.pixel.x}, ${state.pixel.y}: uncertainty ${uncertainty[place].toFixed(4)} nats`;
    for (const mark of page.querySelectorAll(".play-mark")) {
        mark.style.left = `${(100 * (state.pixel.x + 0.5)) / side}%`;
        mark.style.top = `${(100 * (state.pixel.y + 0.5)) / side}%`;
    }
}

function watchViews(model) {
    const side = model.about.side;
    const move = (x, y) => {
        const inside = (value) => Math.max(0, Math.min(side - 1, Math.floor(value)));
        state.pixel = { x: inside(x), y: inside(y) };
        read(model);
    };
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    for (const view of page.querySelectorAll(".play-view")) {
        view.addEventListener("pointerdown", (event) => {
            const box = view.getBoundingClientRect();
            move(((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side);
        });
        view.addEventListener("keydown", (event) => {
            if (!(event.key in steps)) return;
            event.preventDefault();
            const [x, y] = steps[event.key];
            move(state.pixel.x + x, state.pixel.y + y);
        });
    }
}

function watchPad(model) {
    const pad = part("pad");
    const set = (x, y) => {
        const inside = (value) => Math.max(-1, Math.min(1, value));
        state.pad = { x: inside(x), y: inside(y) };
        pad.style.setProperty("--x", state.pad.x);
        pad.style.setProperty("--y", state.pad.y);
        [part("first").value, part("second").value] = [state.pad.x, state.pad.y];
        draw(model);
    };
    const at = (event) => {
        const box = pad.getBoundingClientRect();
        set((2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height);
    };
    pad.addEventListener("pointerdown", (event) => {
        pad.setPointerCapture(event.pointerId);
        at(event);
    });
    pad.addEventListener("pointermove", (event) => event.buttons && at(event));
    for (const name of ["first", "second"]) {
        part(name).addEventListener("input", () => set(number("first"), number("second")));
    }
    part("rest").addEventListener("click", () => set(REST.x, REST.y));
}

function fill(model) {
    for (const [name, picked] of [["class", 0], ["other-class", 1]]) {
        part(name).replaceChildren(...model.about.classes.map((text) => new Option(text)));
        part(name).selectedIndex = picked;
    }
    part("truncation").value = model.about.truncation;
    for (const name of ["class", "seed", "truncation", "other-class", "other-seed", "mix"]) {
        part(name).addEventListener("input", () => {
            if (part(name).checkValidity() && part(name).value !== "") draw(model);
            if (part(`${name}-value`)) part(`${name}-value`).textContent = number(name).toFixed(2);
        });
    }
    part("opacity").addEventListener("input", () => state.shown && show(model));
    for (const name of ["seed", "other-seed"]) part(name).max = model.about.seeds - 1;
    part("next").addEventListener("click", () => {
        part("seed").value = (number("seed") + 1) % model.about.seeds;
        draw(model);
    });
    part("truncation-value").textContent = number("truncation").toFixed(2);
    for (const canvas of page.querySelectorAll("canvas")) canvas.width = canvas.height = model.about.side;
}

// A browser compiles code anew, and better, once it has run some time.
async function warmUp(model) {
    const { latent, weights, truncation } = chosen(model);
    for (let k = 0; k < WARM_RUNS; k++) await model.run(latent, weights, truncation, OUTPUTS);
    page.dataset.warm = "yes";
}

async function start() {
    try {
        const model = await loadModel();
        fill(model);
        await draw(model);
        page.dataset.first = performance.now().toFixed(0);
        page.dataset.state = "ready";
        say(`Ready. The generator and a head of ${model.about.members} members run on your machine.`);
        watchViews(model);
        watchPad(model);
        for (const control of page.querySelectorAll("[disabled]")) control.disabled = false;
        await teach(model, page, part);
        await warmUp(model);
    } catch (error) {
        page.dataset.state = "failed";
        say(`The model does not run in this browser: ${error.message}`);
    }
}

start();
