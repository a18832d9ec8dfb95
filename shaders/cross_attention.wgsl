// Adds the values of a part of the keys, weighted, to what earlier parts gave, and divides by the sum of the weights
// after the last part. One workgroup for each tile of [V, queries].
@group(0) @binding(0) var<storage, read_write> value: array<f32>;      // [B, V, M]
@group(0) @binding(1) var<storage, read_write> slab: array<f32>;       // [images, keys, queries] of the part
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>; // [B, 2, N]: largest logit, sum of exponentials
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;      // [B, N], of what earlier parts gave
@group(0) @binding(4) var<storage, read_write> attended: array<f32>;   // [B, V, N]
@group(0) @binding(5) var<storage, read_write> info: array<u32>;       // N, M, V, the part (see read_info)

const LEFT_BY_DEPTH = true;
const RIGHT_BY_DEPTH = false;

{{ product }}

fn left_at(depth: u32, row: u32) -> f32 {
    if depth >= part_keys || row >= channels { return 0.0; }
    return value[(image * channels + row) * keys + first_key + depth];
}

fn right_at(depth: u32, column: u32) -> f32 {
    if depth >= part_keys || column >= part_queries { return 0.0; }
    return slab[slab_index(depth, column)];
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    read_info(tile.z);
    product(tile, lane, part_keys);
    for (var i = 0u; i < VECTORS; i++) {
        let row = row_of(tile.y, lane, i);
        let column = column_of(tile.x, lane, i);
        for (var c = 0u; c < 4u; c++) {
            let at = column + c;
            if row < channels && at < part_queries {
                let to = (image * channels + row) * queries + first_query + at;
                var entry = sums[i][c];
                if first_key > 0u {
                    entry += attended[to] * scale[image * queries + first_query + at];
                }
                if first_key + part_keys == keys {
                    entry /= statistics[(2u * image + 1u) * queries + first_query + at];
                }
                attended[to] = entry;
            }
        }
    }
}
