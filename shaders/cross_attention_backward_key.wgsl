// Adds what a part of the queries gives to the gradient of the keys, query times the gradient of the logits, or to that
// of the values, gradient of the output times weight. One workgroup for each tile of [D or V, keys].
@group(0) @binding(0) var<storage, read_write> source: array<f32>;   // [B, D or V, N]
@group(0) @binding(1) var<storage, read_write> slab: array<f32>;     // [images, keys, queries] of the part
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // [B, D or V, M]
@group(0) @binding(3) var<storage, read_write> info: array<u32>;     // N, M, D or V, the part (see read_info)

const LEFT_BY_DEPTH = true;
const RIGHT_BY_DEPTH = true;

{{ product }}

fn left_at(depth: u32, row: u32) -> f32 {
    if depth >= part_queries || row >= channels { return 0.0; }
    return source[(image * channels + row) * queries + first_query + depth];
}

fn right_at(depth: u32, column: u32) -> f32 {
    if depth >= part_queries || column >= part_keys { return 0.0; }
    return slab[slab_index(column, depth)];
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    read_info(tile.z);
    product(tile, lane, part_queries);
    for (var i = 0u; i < VECTORS; i++) {
        let row = row_of(tile.y, lane, i);
        let column = column_of(tile.x, lane, i);
        for (var c = 0u; c < 4u; c++) {
            let at = column + c;
            if row < channels && at < part_keys {
                let to = (image * channels + row) * keys + first_key + at;
                var entry = sums[i][c];
                if first_query > 0u { entry += gradient[to]; }
                gradient[to] = entry;
            }
        }
    }
}
