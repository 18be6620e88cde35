// Runs the exported graph off the page's thread. It answers {id, inputs, outputs} with the outputs' arrays.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // several need headers that a plain server does not send
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };

const file = fetch(new URL("model.onnx", import.meta.url)).then((answer) => {
    if (!answer.ok) throw new Error(`model.onnx: ${answer.status} ${answer.statusText}`);
    return answer.arrayBuffer(); // while the runtime starts
});
const settings = { executionProviders: ["wasm"], graphOptimizationLevel: "basic" }; // more takes longer to start
const session = file.then((bytes) => ort.InferenceSession.create(bytes, settings));

async function answer({ id, inputs, outputs }) {
    const feeds = {};
    for (const [name, [data, shape]] of Object.entries(inputs)) feeds[name] = new ort.Tensor("float32", data, shape);
    const start = performance.now();
    const results = await (await session).run(feeds, outputs);
    const values = Object.fromEntries(outputs.map((name) => [name, results[name].data]));
    const buffers = Object.values(values).map((x) => x.buffer);
    self.postMessage({ id, values, ms: performance.now() - start }, [...new Set(buffers)]);
}

let last = Promise.resolve(); // a session runs one request at a time
self.onmessage = ({ data }) => {
    last = last.then(() => answer(data)).catch((error) => self.postMessage({ id: data.id, error: String(error) }));
};
session.then(
    () => self.postMessage({ ready: true }),
    (error) => self.postMessage({ error: String(error) }),
);
