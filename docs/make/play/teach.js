// Three samples to paint on, a linear head learnt from the paint, and three new samples that it labels.
import { paint, pixels, tinted } from "./model.js";
import { overlap, predict, trainHead } from "./linear_head.js";

const OBJECT = 1;
const BACKGROUND = 2;
const SHOWN = [[0, 0, 0], [230, 159, 0], [86, 180, 233]]; // of nothing, object, background
const FIRST_NEW = 100; // seed of the first sample that the head has not seen

export async function teach(model, page, part) {
    const side = model.about.side;
    const boards = [...page.querySelectorAll(".play-board")].map((canvas) => new Board(canvas, side, part));
    const answers = [...page.querySelectorAll(".play-answer")];
    const wanted = ["image", "mask", "features"];
    const sample = (seed) =>
        model.run(model.latentOf(seed, model.about.truncation), model.oneHot(part("taught").selectedIndex), model.about.truncation, wanted);
    let fresh = [];

    async function restart() {
        part("train").disabled = true;
        for (const [k, board] of boards.entries()) board.take(await sample(model.about.taught[k]));
        fresh = [];
        for (let k = 0; k < answers.length / 2; k++) fresh.push(await sample(FIRST_NEW + k));
        fresh.forEach((x, k) => {
            paint(answers[2 * k], pixels(x.image));
            paint(answers[2 * k + 1], tinted(pixels(x.image), x.mask.map(Boolean), SHOWN, 0.6));
        });
        part("verdict").textContent = "Paint a little of the object and of the background, then train.";
        part("train").disabled = false;
    }

    function train() {
        const start = performance.now();
        let weights;
        try {
            weights = trainHead(boards.map(({ features, labels }) => ({ features, labels })));
        } catch (error) {
            part("verdict").textContent = error.message;
            return;
        }
        const seconds = (performance.now() - start) / 1000;
        const scores = fresh.map((x, k) => {
            const mask = predict(x.features, weights).map((p) => +(p > 0.5));
            paint(answers[2 * k], tinted(pixels(x.image), mask, SHOWN, 0.6));
            return overlap(mask, x.mask);
        });
        const painted = boards.reduce((n, board) => n + board.labels.filter(Boolean).length, 0);
        const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
        part("verdict").textContent =
            `Learnt from ${painted} pixels in ${seconds.toFixed(1)} s. On samples it has not seen, your mask and ` +
            `the shipped head's overlap by ${(100 * mean).toFixed(0)}% (intersection over union).`;
        page.dataset.overlap = mean.toFixed(4);
    }

    part("taught").replaceChildren(...model.about.classes.map((name) => new Option(name)));
    part("taught").addEventListener("input", restart);
    part("train").addEventListener("click", train);
    part("clear").addEventListener("click", () => boards.forEach((board) => board.clear()));
    await restart();
    page.dataset.teach = "ready";
}

// A sample that one paints on, with a pointer or with arrow keys and the space bar.
class Board {
    constructor(canvas, side, part) {
        Object.assign(this, { canvas, side, part, cursor: { x: side / 2, y: side / 2 }, labels: new Uint8Array(side * side) });
        canvas.addEventListener("pointerdown", (event) => {
            canvas.setPointerCapture(event.pointerId);
            this.stroke(this.at(event), this.at(event));
        });
        canvas.addEventListener("pointermove", (event) => event.buttons && this.stroke(this.cursor, this.at(event)));
        canvas.addEventListener("keydown", (event) => this.key(event));
        for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.show());
    }

    take({ image, features }) {
        Object.assign(this, { bytes: pixels(image), features });
        this.clear();
    }

    clear() {
        this.labels.fill(0);
        this.show();
    }

    at(event) {
        const box = this.canvas.getBoundingClientRect();
        const inside = (share) => Math.max(0, Math.min(this.side - 1, Math.floor(share * this.side)));
        return { x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height) };
    }

    // Paint from one place to the next.
    stroke(from, to) {
        const label = this.part("background").checked ? BACKGROUND : this.part("object").checked ? OBJECT : 0;
        const radius = Number(this.part("brush").value);
        const steps = Math.max(1, Math.abs(to.x - from.x), Math.abs(to.y - from.y));
        for (let k = 0; k <= steps; k++) {
            const [x, y] = [from.x + ((to.x - from.x) * k) / steps, from.y + ((to.y - from.y) * k) / steps];
            this.dab(x, y, radius, label);
        }
        this.cursor = to;
        this.show();
    }

    dab(x, y, radius, label) {
        for (let row = Math.ceil(y - radius); row <= y + radius; row++) {
            for (let column = Math.ceil(x - radius); column <= x + radius; column++) {
                const inside = row >= 0 && column >= 0 && row < this.side && column < this.side;
                if (inside && Math.hypot(column - x, row - y) <= radius) this.labels[row * this.side + column] = label;
            }
        }
    }

    key(event) {
        const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!move && event.key !== " ") return;
        event.preventDefault();
        if (!move) return this.stroke(this.cursor, this.cursor);
        const inside = (value) => Math.max(0, Math.min(this.side - 1, value));
        this.cursor = { x: inside(this.cursor.x + move[0]), y: inside(this.cursor.y + move[1]) };
        this.show();
    }

    show() {
        const bytes = tinted(this.bytes, this.labels, SHOWN, 0.65);
        if (document.activeElement === this.canvas) {
            for (const [x, y] of [[-2, 0], [2, 0], [0, -2], [0, 2]]) { // where the space bar paints
                const place = 4 * ((this.cursor.y + y) * this.side + this.cursor.x + x);
                if (place >= 0 && place < bytes.length) bytes.set([255, 0, 0], place);
            }
        }
        paint(this.canvas, bytes);
    }
}
