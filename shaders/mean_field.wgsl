// One update of the mean field: posterior = softmax(-unary - compatibility of the messages) (Krähenbühl and Koltun
// 2011, Alg. 1); or, where energies are asked for, unary + compatibility of the messages in its place. One invocation
// for each pixel.
@group(0) @binding(0) var<storage, read_write> unary: array<f32>;         // [C, N]
@group(0) @binding(1) var<storage, read_write> messages: array<f32>;      // [K, C, N]
@group(0) @binding(2) var<storage, read_write> compatibility: array<f32>; // Potts weight, or [C, C], for each kernel
@group(0) @binding(3) var<storage, read_write> posterior: array<f32>;     // [C, N]
@group(0) @binding(4) var<storage, read_write> info: array<u32>;          // invocations = N, C, K, 1 for energies, then for each
                                                                          // kernel 2 * start of its compatibility + 1 if
                                                                          // it is a matrix

const BLOCK = {{ block }}u;

// Log of the posterior of label c but for a constant.
fn energy(c: u32, pixel: u32) -> f32 {
    let n = info[0];
    let channels = info[1];
    var sum = -unary[c * n + pixel];
    for (var k = 0u; k < info[2]; k++) {
        let start = info[4u + k] / 2u;
        let message = k * channels * n + pixel;
        if info[4u + k] % 2u == 0u {
            sum += compatibility[start] * messages[message + c * n];
        } else {
            for (var other = 0u; other < channels; other++) {
                sum -= compatibility[start + c * channels + other] * messages[message + other * n];
            }
        }
    }
    return sum;
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.x + id.y * {{ row }}u;
    let n = info[0];
    if pixel >= n { return; }
    let channels = info[1];
    if info[3] == 1u {
        for (var c = 0u; c < channels; c++) {
            posterior[c * n + pixel] = -energy(c, pixel);
        }
        return;
    }
    var largest = -3.4e38;
    var sum = 0.0;
    if channels <= BLOCK {
        // Few labels stay in registers.
        var values: array<f32, BLOCK>;
        for (var c = 0u; c < BLOCK; c++) {
            if c >= channels { break; }
            values[c] = energy(c, pixel);
            largest = max(largest, values[c]);
        }
        for (var c = 0u; c < BLOCK; c++) {
            if c >= channels { break; }
            values[c] = exp(values[c] - largest);
            sum += values[c];
        }
        for (var c = 0u; c < BLOCK; c++) {
            if c >= channels { break; }
            posterior[c * n + pixel] = values[c] / sum;
        }
        return;
    }
    for (var c = 0u; c < channels; c++) {
        let value = energy(c, pixel);
        posterior[c * n + pixel] = value;
        largest = max(largest, value);
    }
    for (var c = 0u; c < channels; c++) {
        let value = exp(posterior[c * n + pixel] - largest);
        posterior[c * n + pixel] = value;
        sum += value;
    }
    for (var c = 0u; c < channels; c++) {
        posterior[c * n + pixel] /= sum;
    }
}
