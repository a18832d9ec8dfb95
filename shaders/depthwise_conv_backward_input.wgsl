// Gradient of a depthwise convolution's input: what every window that saw a pixel says of it, where its output was not
// clamped. One invocation for each entry of [B, C, H, W].
@group(0) @binding(0) var<storage, read_write> kernel: array<f32>;   // [C, 1, k, k]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;        // [B, C, h, w]
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // [B, C, h, w]
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>;      // [B, C, H, W]
// invocations, C, H, W, h, w, k, stride, dilation, rows and columns of padding before, bits of the ceiling
@group(0) @binding(4) var<storage, read_write> info: array<u32>;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let in_hw = info[2] * info[3];
    let out_h = i32(info[4]);
    let out_w = i32(info[5]);
    let k = info[6];
    let stride = i32(info[7]);
    let ceiling = bitcast<f32>(info[11]);
    let plane = i / in_hw;
    let channel = plane % info[1];
    let pixel = i % in_hw;
    let row = i32(pixel / info[3] + info[9]);
    let column = i32(pixel % info[3] + info[10]);
    let start = plane * info[4] * info[5];
    var sum = 0.0;
    for (var ky = 0u; ky < k; ky++) {
        let below = row - i32(ky * info[8]);
        if below < 0 || below % stride != 0 || below / stride >= out_h { continue; }
        for (var kx = 0u; kx < k; kx++) {
            let right = column - i32(kx * info[8]);
            if right < 0 || right % stride != 0 || right / stride >= out_w { continue; }
            let j = start + u32(below / stride * out_w + right / stride);
            let passes = ceiling < 0.0 || (y[j] > 0.0 && y[j] < ceiling);
            sum += select(0.0, kernel[(channel * k + ky) * k + kx] * gradient[j], passes);
        }
    }
    d_x[i] = sum;
}
