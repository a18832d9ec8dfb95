// Weights of a part of the keys → the gradient of their logits: weight * (value · gradient - delta), in place.
// One workgroup for each tile of [keys, queries].
@group(0) @binding(0) var<storage, read_write> value: array<f32>;    // [B, V, M]
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>; // [B, V, N], of the output
@group(0) @binding(2) var<storage, read_write> delta: array<f32>;    // [B, N]
@group(0) @binding(3) var<storage, read_write> slab: array<f32>;     // [images, keys, queries] of the part
@group(0) @binding(4) var<storage, read_write> info: array<u32>;     // N, M, V, the part (see read_info)

const LEFT_BY_DEPTH = false;
const RIGHT_BY_DEPTH = false;

{{ product }}

fn left_at(depth: u32, row: u32) -> f32 {
    if depth >= channels || row >= part_keys { return 0.0; }
    return value[(image * channels + depth) * keys + first_key + row];
}

fn right_at(depth: u32, column: u32) -> f32 {
    if depth >= channels || column >= part_queries { return 0.0; }
    return gradient[(image * channels + depth) * queries + first_query + column];
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    read_info(tile.z);
    product(tile, lane, channels);
    for (var i = 0u; i < VECTORS; i++) {
        let row = row_of(tile.y, lane, i);
        let column = column_of(tile.x, lane, i);
        for (var c = 0u; c < 4u; c++) {
            let at = column + c;
            if row < part_keys && at < part_queries {
                slab[slab_index(row, at)] *= sums[i][c] - delta[image * queries + first_query + at];
            }
        }
    }
}
