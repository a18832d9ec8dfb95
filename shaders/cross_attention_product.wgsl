// Part of every shader of cross attention that multiplies matrices: what is left of the product to the shader are its
// operands, left_at(depth, row) and right_at(depth, column), 0 outside, which of the two indices is contiguous in
// memory (LEFT_BY_DEPTH, RIGHT_BY_DEPTH), and what becomes of the sums.
//
// A workgroup of 8 x 8 invocations computes a square of entries, each invocation a square of BLOCK x BLOCK vectors of
// four, by which every value that it takes from workgroup memory goes into 4 BLOCK products.
const BLOCK = {{ block }}u;
const TILE = 32u * BLOCK;
// Vectors of four entries that an invocation computes.
const VECTORS = 4u * BLOCK * BLOCK;
// Summands that are in workgroup memory at a time, and vectors of each of them.
const DEPTH = {{ depth }}u;
const WIDTH = 8u * BLOCK;
// Between summands, so that neighbouring ones are in different memory banks.
const STRIDE = WIDTH + {{ padding }}u;

var<workgroup> left_tile: array<vec4<f32>, DEPTH * STRIDE>;
var<workgroup> right_tile: array<vec4<f32>, DEPTH * STRIDE>;
// What an invocation has summed up: vector i is in the row row_of(i), from the column column_of(i) on.
var<private> sums: array<vec4<f32>, VECTORS>;

// The part of queries and keys at hand: its first query and key, and the number of either; the image within the batch,
// and within the slab of logits [images, keys, queries].
var<private> queries: u32;
var<private> keys: u32;
var<private> channels: u32;
var<private> first_query: u32;
var<private> first_key: u32;
var<private> part_queries: u32;
var<private> part_keys: u32;
var<private> image: u32;
var<private> slab_image: u32;

fn read_info(z: u32) {
    queries = info[0];
    keys = info[1];
    channels = info[2];
    first_query = info[3];
    first_key = info[4];
    part_queries = info[5];
    part_keys = info[6];
    image = info[7] + z;
    slab_image = z;
}

fn slab_index(key_at: u32, query_at: u32) -> u32 {
    return (slab_image * part_keys + key_at) * part_queries + query_at;
}

fn row_of(tile: u32, lane: u32, i: u32) -> u32 {
    let row = i / BLOCK;
    return tile * TILE + (row / 4u) * 32u + (lane / 8u) * 4u + row % 4u;
}

fn column_of(tile: u32, lane: u32, i: u32) -> u32 {
    return tile * TILE + (i % BLOCK) * 32u + (lane % 8u) * 4u;
}

fn load_tiles(lane: u32, depth: u32, row: u32, column: u32) {
    for (var i = lane; i < DEPTH * WIDTH; i += 64u) {
        // Neighbouring invocations read neighbouring memory, whichever index that is.
        let across = vec2<u32>(i / WIDTH, i % WIDTH);
        let down = vec2<u32>(i % DEPTH, i / DEPTH);
        let l = select(across, down, LEFT_BY_DEPTH);
        let ld = depth + l.x;
        let lr = row + 4u * l.y;
        left_tile[l.x * STRIDE + l.y] =
            vec4<f32>(left_at(ld, lr), left_at(ld, lr + 1u), left_at(ld, lr + 2u), left_at(ld, lr + 3u));
        let r = select(across, down, RIGHT_BY_DEPTH);
        let rd = depth + r.x;
        let rc = column + 4u * r.y;
        right_tile[r.x * STRIDE + r.y] =
            vec4<f32>(right_at(rd, rc), right_at(rd, rc + 1u), right_at(rd, rc + 2u), right_at(rd, rc + 3u));
    }
}

// A value that a workgroup has read from a buffer, as one that is known to be the same for all its invocations: barriers
// may stand in no other loops. It goes through workgroup memory in halves, which are exact as floats.
fn uniformly(lane: u32, value: u32) -> u32 {
    if lane == 0u { left_tile[0] = vec4<f32>(f32(value >> 16u), f32(value & 0xFFFFu), 0.0, 0.0); }
    let halves = workgroupUniformLoad(&left_tile[0]);
    return (u32(halves.x) << 16u) | u32(halves.y);
}

// Sums over `depth` summands of left times right.
fn product(tile: vec3<u32>, lane: u32, depth: u32) {
    let summands = uniformly(lane, depth);
    // Named one by one: an array in a loop need not stay in registers.
    {{ declare }}
    let ty = lane / 8u;
    let tx = lane % 8u;
    for (var start = 0u; start < summands; start += DEPTH) {
        load_tiles(lane, start, tile.y * TILE, tile.x * TILE);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            {{ add }}
        }
        workgroupBarrier();
    }
    sums = array<vec4<f32>, VECTORS>({{ names }});
}
