// The sum over channels of the output times its gradient, which is what the gradients of a query's weights average to.
// One invocation for each query.
@group(0) @binding(0) var<storage, read_write> attended: array<f32>; // [B, V, N]
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>; // [B, V, N]
@group(0) @binding(2) var<storage, read_write> delta: array<f32>;    // [B, N]
@group(0) @binding(3) var<storage, read_write> info: array<u32>;     // invocations, V, N

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let channels = info[1];
    let queries = info[2];
    var at = (i / queries) * channels * queries + i % queries;
    var sum = 0.0;
    for (var c = 0u; c < channels; c++) {
        sum += attended[at] * gradient[at];
        at += queries;
    }
    delta[i] = sum;
}
