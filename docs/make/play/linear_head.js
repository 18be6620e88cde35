// A linear label head: logistic regression on the features of painted pixels, by Newton's method.

const RIDGE = 1e-3; // keeps weights finite where a line separates the pixels
const STEPS = 12;

// examples: [{features: Float32Array [F * P], labels: Uint8Array [P]}], labels 1 object, 2 background, 0 unknown.
// Both kinds weigh the same. Returns F + 1 weights, the last one the bias.
export function trainHead(examples, ridge = RIDGE) {
    const { rows, targets } = gather(examples);
    const size = rows[0].length;
    const shares = [targets.length - sum(targets), sum(targets)]; // of background, of object
    const importance = targets.map((target) => 0.5 / shares[target]);
    let weights = new Float64Array(size);
    for (let step = 0; step < STEPS; step++) {
        const gradient = new Float64Array(size);
        const curvature = Array.from({ length: size }, () => new Float64Array(size));
        for (let n = 0; n < rows.length; n++) {
            const row = rows[n];
            const p = sigmoid(dot(row, weights));
            const slope = importance[n] * (p - targets[n]);
            const bend = importance[n] * Math.max(p * (1 - p), 1e-9);
            for (let i = 0; i < size; i++) {
                gradient[i] += slope * row[i];
                const scaled = bend * row[i];
                const line = curvature[i];
                for (let j = 0; j <= i; j++) line[j] += scaled * row[j];
            }
        }
        for (let i = 0; i < size - 1; i++) { // the bias is free
            gradient[i] += ridge * weights[i];
            curvature[i][i] += ridge;
        }
        curvature[size - 1][size - 1] += 1e-9;
        const change = solve(curvature, gradient);
        weights = weights.map((w, i) => w - change[i]);
        if (Math.max(...change.map(Math.abs)) < 1e-6) break;
    }
    return weights;
}

// Probability of the object at every pixel, from features [F * P].
export function predict(features, weights) {
    const count = weights.length - 1;
    const area = features.length / count;
    const scores = new Float64Array(area).fill(weights[count]);
    for (let f = 0; f < count; f++) {
        for (let p = 0; p < area; p++) scores[p] += weights[f] * features[f * area + p];
    }
    return scores.map(sigmoid);
}

// Intersection over union of two masks, of what is not 0.
export function overlap(a, b) {
    let both = 0;
    let either = 0;
    for (let p = 0; p < a.length; p++) {
        both += +(a[p] > 0 && b[p] > 0);
        either += +(a[p] > 0 || b[p] > 0);
    }
    return either ? both / either : 1;
}

function gather(examples) {
    const rows = [];
    const targets = [];
    for (const { features, labels } of examples) {
        const area = labels.length;
        const count = features.length / area;
        for (let p = 0; p < area; p++) {
            if (!labels[p]) continue;
            const row = new Float64Array(count + 1).fill(1); // the last one is the bias
            for (let f = 0; f < count; f++) row[f] = features[f * area + p];
            rows.push(row);
            targets.push(labels[p] === 1 ? 1 : 0);
        }
    }
    if (!targets.includes(0) || !targets.includes(1)) {
        throw new Error("Paint some object and some background first.");
    }
    return { rows, targets };
}

// x of A x = b; A is symmetric and positive, its lower half given. Cholesky's way, in place.
function solve(A, b) {
    const n = b.length;
    for (let i = 0; i < n; i++) {
        for (let j = 0; j <= i; j++) {
            let rest = A[i][j];
            for (let k = 0; k < j; k++) rest -= A[i][k] * A[j][k];
            A[i][j] = i === j ? Math.sqrt(Math.max(rest, 1e-12)) : rest / A[j][j];
        }
    }
    const x = Float64Array.from(b);
    for (let i = 0; i < n; i++) {
        for (let k = 0; k < i; k++) x[i] -= A[i][k] * x[k];
        x[i] /= A[i][i];
    }
    for (let i = n - 1; i >= 0; i--) {
        for (let k = i + 1; k < n; k++) x[i] -= A[k][i] * x[k];
        x[i] /= A[i][i];
    }
    return x;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const sum = (values) => values.reduce((a, b) => a + b, 0);
function dot(a, b) {
    let total = 0;
    for (let i = 0; i < a.length; i++) total += a[i] * b[i];
    return total;
}
