// The model as functions: a latent of the library's seeds, and what the graph says of it.

const HERE = new URL(".", import.meta.url);

export async function loadModel() {
    const worker = new Worker(new URL("model_worker.js", HERE), { type: "module" });
    const waiting = new Map();
    let count = 0;
    const ready = new Promise((resolve, reject) => {
        worker.onerror = (event) => reject(new Error(event.message || "the worker did not start"));
        worker.onmessage = ({ data }) => {
            if (data.ready) return resolve();
            if (data.id === undefined) return reject(new Error(data.error));
            const { done, failed } = waiting.get(data.id);
            waiting.delete(data.id);
            if (data.error) failed(new Error(data.error));
            else done(data.values);
        };
    });
    const [about, table] = await Promise.all([
        fetch(new URL("play.json", HERE)).then((answer) => answer.json()),
        fetch(new URL("latents.bin", HERE)).then((answer) => answer.arrayBuffer()),
    ]);
    await ready;
    const latents = new Float32Array(table); // of seeds 0, 1, ..., at truncation 1

    // One image. latent: z_dim numbers; weights: one per class; outputs: names. Returns {name: array}.
    function run(latent, weights, truncation, outputs) {
        const inputs = {
            latent: [Float32Array.from(latent), [1, latent.length]],
            class_weights: [Float32Array.from(weights), [1, weights.length]],
            truncation: [Float32Array.of(truncation), [1]],
        };
        return new Promise((done, failed) => {
            waiting.set(++count, { done, failed });
            worker.postMessage({ id: count, inputs, outputs });
        });
    }

    const latentOf = (seed, truncation) =>
        latents.slice(seed * about.z_dim, (seed + 1) * about.z_dim).map((x) => x * truncation);
    const oneHot = (classId) => about.classes.map((_, k) => +(k === classId));
    return { about, run, latentOf, oneHot };
}

export const OUTPUTS = ["image", "mask", "uncertainty", "probabilities"];

// [-1, 1] [3, H, W] -> RGBA bytes, as the library rounds them.
export function pixels(image) {
    const area = image.length / 3;
    const bytes = new Uint8ClampedArray(4 * area).fill(255);
    for (let p = 0; p < area; p++) {
        for (let c = 0; c < 3; c++) bytes[4 * p + c] = (image[c * area + p] + 1) * 127.5; // rounds and clamps
    }
    return bytes;
}

export function tinted(bytes, mask, colours, alpha) {
    const result = Uint8ClampedArray.from(bytes);
    mask.forEach((label, p) => {
        if (!label) return;
        for (let c = 0; c < 3; c++) {
            result[4 * p + c] = (1 - alpha) * bytes[4 * p + c] + alpha * colours[label][c];
        }
    });
    return result;
}

// Uncertainty in nats -> black, red, yellow, white at `most`.
export function heat(values, most) {
    const bytes = new Uint8ClampedArray(4 * values.length).fill(255);
    values.forEach((value, p) => {
        const x = 3 * Math.min(1, value / most);
        for (let c = 0; c < 3; c++) bytes[4 * p + c] = 255 * Math.min(1, Math.max(0, x - c));
    });
    return bytes;
}

export function paint(canvas, bytes) {
    const { width, height } = canvas;
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(new ImageData(bytes, width, height), 0, 0);
}
