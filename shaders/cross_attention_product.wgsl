// Part of every shader of cross attention that multiplies matrices: what is left of the product to the shader are its
// operands, left_at(depth, row) and right_at(depth, column), 0 outside, which of the two indices is contiguous in
// memory (LEFT_BY_DEPTH, RIGHT_BY_DEPTH), and what becomes of the sums.
//
// A workgroup of 64 invocations computes 64 x 64 entries, each invocation 8 x 8 of them in registers: every value that
// it takes from workgroup memory goes into 8 products.
const TILE = 64u;
// Summands that are in workgroup memory at a time.
const DEPTH = 16u;
// Vectors of one summand: 16, and one that keeps neighbouring summands out of each other's memory banks.
const STRIDE = 17u;
// Vectors of four entries that an invocation computes.
const VECTORS = 16u;

var<workgroup> left_tile: array<vec4<f32>, 272>;
var<workgroup> right_tile: array<vec4<f32>, 272>;
// What an invocation has summed up: vector i is in the row row_of(i), from the column column_of(i) on.
var<private> sums: array<vec4<f32>, 16>;

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
    return tile * TILE + (i / 8u) * 32u + (lane / 8u) * 4u + (i / 2u) % 4u;
}

fn column_of(tile: u32, lane: u32, i: u32) -> u32 {
    return tile * TILE + (i % 2u) * 32u + (lane % 8u) * 4u;
}

fn load_tiles(lane: u32, depth: u32, row: u32, column: u32) {
    for (var i = lane; i < DEPTH * DEPTH; i += 64u) {
        // Neighbouring invocations read neighbouring memory, whichever index that is.
        let across = vec2<u32>(i / 16u, i % 16u);
        let l = select(across, across.yx, LEFT_BY_DEPTH);
        let ld = depth + l.x;
        let lr = row + 4u * l.y;
        left_tile[l.x * STRIDE + l.y] =
            vec4<f32>(left_at(ld, lr), left_at(ld, lr + 1u), left_at(ld, lr + 2u), left_at(ld, lr + 3u));
        let r = select(across, across.yx, RIGHT_BY_DEPTH);
        let rd = depth + r.x;
        let rc = column + 4u * r.y;
        right_tile[r.x * STRIDE + r.y] =
            vec4<f32>(right_at(rd, rc), right_at(rd, rc + 1u), right_at(rd, rc + 2u), right_at(rd, rc + 3u));
    }
}

// Sums over `depth` summands of left times right.
fn product(tile: vec3<u32>, lane: u32, depth: u32) {
    // Named one by one: an array in a loop need not stay in registers.
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    var s8 = vec4<f32>();
    var s9 = vec4<f32>();
    var s10 = vec4<f32>();
    var s11 = vec4<f32>();
    var s12 = vec4<f32>();
    var s13 = vec4<f32>();
    var s14 = vec4<f32>();
    var s15 = vec4<f32>();
    let ty = lane / 8u;
    let tx = lane % 8u;
    for (var start = 0u; start < depth; start += DEPTH) {
        load_tiles(lane, start, tile.y * TILE, tile.x * TILE);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let a = left_tile[k * STRIDE + ty];
            let b = left_tile[k * STRIDE + 8u + ty];
            let c = right_tile[k * STRIDE + tx];
            let d = right_tile[k * STRIDE + 8u + tx];
            s0 += a.x * c;
            s1 += a.x * d;
            s2 += a.y * c;
            s3 += a.y * d;
            s4 += a.z * c;
            s5 += a.z * d;
            s6 += a.w * c;
            s7 += a.w * d;
            s8 += b.x * c;
            s9 += b.x * d;
            s10 += b.y * c;
            s11 += b.y * d;
            s12 += b.z * c;
            s13 += b.z * d;
            s14 += b.w * c;
            s15 += b.w * d;
        }
        workgroupBarrier();
    }
    sums = array<vec4<f32>, 16>(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
}
