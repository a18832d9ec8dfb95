// Logits of a part of the keys and queries, key · query, or in the backward pass the weights that they were made into.
// One workgroup for each tile of [keys, queries].
@group(0) @binding(0) var<storage, read_write> key: array<f32>;        // [B, D, M]
@group(0) @binding(1) var<storage, read_write> query: array<f32>;      // [B, D, N]
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>; // [B, 2, N], read in the backward pass
@group(0) @binding(3) var<storage, read_write> slab: array<f32>;       // [images, keys, queries] of the part
@group(0) @binding(4) var<storage, read_write> info: array<u32>;       // N, M, D, the part (see read_info), backward

const LEFT_BY_DEPTH = false;
const RIGHT_BY_DEPTH = false;

{{ product }}

fn left_at(depth: u32, row: u32) -> f32 {
    if depth >= channels || row >= part_keys { return 0.0; }
    return key[(image * channels + depth) * keys + first_key + row];
}

fn right_at(depth: u32, column: u32) -> f32 {
    if depth >= channels || column >= part_queries { return 0.0; }
    return query[(image * channels + depth) * queries + first_query + column];
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
                var entry = sums[i][c];
                if info[8] == 1u {
                    let largest = 2u * image * queries + first_query + at;
                    entry = exp(entry - statistics[largest]) / statistics[largest + queries];
                }
                slab[slab_index(row, at)] = entry;
            }
        }
    }
}
