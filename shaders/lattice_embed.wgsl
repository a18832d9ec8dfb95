// The simplex of the permutohedral lattice that holds each pixel's features, and the barycentric weights in it (Adams
// et al. 2010, Sec. 3.1; constants of Krähenbühl and Koltun 2011). One invocation for each pixel. The very operations of
// the CPU twin, with constants from the host: other roundings of a feature move weights, which the mean field amplifies.
@group(0) @binding(0) var<storage, read_write> features: array<f32>;              // [D, N]
@group(0) @binding(1) var<storage, read_write> simplex: array<i32>;               // [D, N], see lattice_key.wgsl
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;               // [D + 1, N]
@group(0) @binding(3) var<storage, read_write> counters: array<atomic<u32>>;      // points, failures, bad features
@group(0) @binding(4) var<storage, read_write> info: array<u32>;                  // invocations = N

const D = {{ dimensions }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.x + id.y * {{ row }}u;
    let n = info[0];
    if pixel >= n { return; }
    let size = f32(D) + 1.0;
    let down = {{ down }};
    var scales = array<f32, {{ dimensions }}>({{ scales }});
    var elevated: array<f32, {{ vertices }}>;
    var sum = 0.0;
    var largest = 0.0;
    var is_finite = true;
    for (var j = D; j > 0u; j--) {
        let feature = features[(j - 1u) * n + pixel];
        // By its bits: a driver may take for granted that no comparison sees a NaN.
        is_finite = is_finite && (bitcast<u32>(feature) & 0x7F800000u) != 0x7F800000u;
        let scaled = feature * scales[j - 1u];
        elevated[j] = sum - f32(j) * scaled;
        sum += scaled;
        largest = max(largest, abs(scaled));
    }
    elevated[0] = sum;
    // Past 2^23 a float has no fraction left to interpolate with.
    if !is_finite || largest * size >= 8388608.0 {
        atomicAdd(&counters[2], 1u);
        return;
    }

    // The closest remainder-0 point, and by how many steps its coordinates miss the sum of zero.
    var greedy: array<i32, {{ vertices }}>;
    var misses = 0;
    for (var i = 0u; i <= D; i++) {
        let nearest = round(elevated[i] * down);
        greedy[i] = i32(nearest * size);
        misses += i32(nearest);
    }
    var rank: array<i32, {{ vertices }}>;
    for (var i = 0u; i < D; i++) {
        let distance = elevated[i] - f32(greedy[i]);
        for (var j = i + 1u; j <= D; j++) {
            if distance < elevated[j] - f32(greedy[j]) { rank[i]++; } else { rank[j]++; }
        }
    }
    for (var i = 0u; i <= D; i++) {
        rank[i] += misses;
        if rank[i] < 0 {
            rank[i] += i32(D) + 1;
            greedy[i] += i32(D) + 1;
        } else if rank[i] > i32(D) {
            rank[i] -= i32(D) + 1;
            greedy[i] -= i32(D) + 1;
        }
    }

    var barycentric: array<f32, {{ vertices }}>;
    for (var i = 0u; i <= D; i++) {
        let v = (elevated[i] - f32(greedy[i])) * down;
        barycentric[i32(D) - rank[i]] += v;
        // Vertex D + 1 is vertex 0 of the next cell.
        if rank[i] == 0 { barycentric[0] += 1.0 - v; } else { barycentric[i32(D) + 1 - rank[i]] -= v; }
    }
    for (var i = 0u; i <= D; i++) {
        weights[i * n + pixel] = barycentric[i];
    }
    for (var i = 0u; i < D; i++) {
        simplex[i * n + pixel] = greedy[i] * 16 + rank[i];
    }
}
