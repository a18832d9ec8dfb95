//! The operators weakseg brings itself: WGSL kernels, their CPU twins, and their gradients.
//!
//! Each operator is one shader in `shaders/`, one launcher here, and one twin in [`cpu`], all of the same name.
//! The trait [`Kernels`] is where burn picks between them by the device that a tensor lives on.

pub mod cpu;
mod cross_attention;
mod cross_attention_product;
mod depthwise_conv;
mod lattice;
mod launch;
mod mean_field;
mod neighbourhood;
mod pair_affinity;
mod pointwise_conv;
mod random_walk;
mod sources;
#[cfg(test)]
mod tests;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Autodiff, Flex, backend_extension};

pub use cpu::mean_field::Compatibility;
pub use cross_attention::cross_attention;
pub use depthwise_conv::{Window, depthwise_conv};
pub use lattice::Lattice;
pub use mean_field::mean_field;
pub use neighbourhood::offsets;
pub use pair_affinity::{Distance, pair_affinity};
pub use pointwise_conv::pointwise_conv;
pub use random_walk::{Walk, random_walk};
pub use sources::{Source, sources};

/// What a backend has to provide beyond burn's own operations. Call the tensor functions of this module instead:
/// they check shapes and say what the arguments mean.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait Kernels: burn::backend::Backend {
    /// Features `[B, D, H, W]` → affinities `[B, K, H, W]`; see [`pair_affinity`].
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self>;

    /// Features `[B, D, H, W]` and, for every pair, the derivative of the loss by its L1 distance times the scale
    /// `[B, K, H, W]` → the gradient of the features `[B, D, H, W]`.
    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self>;

    /// `steps` times scores ← normaliser · (W scores): pair weights `[B, K, H, W]`, scores `[B, C, H, W]`,
    /// normaliser `[B, 1, H, W]` (not zero); the weight of a pixel with itself is 1. Only the scores get a gradient.
    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self>;

    /// Bytes of the largest buffer that can lie beside a tensor.
    fn largest_buffer(beside: FloatTensor<Self>) -> usize;

    /// Query `[B, D, N]`, key `[B, D, M]`, value `[B, V, M]` → attended values `[B, V, N]`, see [`cross_attention`], and
    /// `[B, 2, N]` without gradient: each query's largest logit, and its sum of exponentials beyond that.
    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Inputs and outputs of [`Kernels::cross_attention`] and the gradient of the attended values `[B, V, N]` → the
    /// gradients of query, key and value.
    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Features `[D, N]` → their lattice; see [`Lattice::new`]. `slots`: how many the hash table has at first, a power of
    /// two, on backends where it has a fixed size.
    fn lattice(features: FloatTensor<Self>, slots: Option<usize>) -> anyhow::Result<Lattice>;

    /// Values `[C, N]` → filtered `[C, N]`; see [`Lattice::filter`]. `reversed`: the transpose of the filter.
    fn lattice_filter(
        values: FloatTensor<Self>,
        lattice: Lattice,
        reversed: bool,
    ) -> FloatTensor<Self>;

    /// Unary `[C, N]` → posterior `[C, N]`; see [`mean_field`](mean_field::mean_field).
    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self>;

    /// Input `[B, C, H, W]`, kernel `[C, 1, k, k]`, bias `[C]` → `[B, C, h, w]`; see [`depthwise_conv`].
    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self>;

    /// Input, kernel and output of [`Kernels::depthwise_conv`] and the gradient of the output → the gradients of input,
    /// kernel and bias.
    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Input `[B, C, H, W]`, kernel `[O, C, 1, 1]`, bias `[O]` → `[B, O, H, W]`; see [`pointwise_conv`].
    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self>;

    /// Input, kernel and output of [`Kernels::pointwise_conv`] and the gradient of the output → the gradients of input,
    /// kernel and bias.
    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Kernels for CubeBackend {
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self> {
        pair_affinity::launch_forward(features, radius, scale)
    }

    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self> {
        pair_affinity::launch_backward(features, slope, radius)
    }

    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self> {
        random_walk::launch(weights, scores, normaliser, radius, steps)
    }

    fn largest_buffer(beside: FloatTensor<Self>) -> usize {
        let memory = &beside.client.properties().memory;
        usize::try_from(memory.max_page_size).unwrap_or(usize::MAX)
    }

    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        cross_attention::launch_forward(query, key, value)
    }

    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let saved = [query, key, value, attended, statistics];
        cross_attention::launch_backward(saved, gradient)
    }

    fn lattice(features: FloatTensor<Self>, slots: Option<usize>) -> anyhow::Result<Lattice> {
        lattice::build(features, slots)
    }

    fn lattice_filter(
        values: FloatTensor<Self>,
        lattice: Lattice,
        reversed: bool,
    ) -> FloatTensor<Self> {
        lattice::filter(values, &lattice, reversed)
    }

    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        mean_field::launch(unary, &kernels, iterations)
    }

    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        depthwise_conv::launch_forward(input, kernel, bias, &window, ceiling)
    }

    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let saved = [input, kernel, output];
        depthwise_conv::launch_backward(saved, gradient, &window, ceiling)
    }

    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        pointwise_conv::on_device(input, kernel, bias, ceiling)
    }

    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        pointwise_conv::backward_on_device([input, kernel, output], gradient, ceiling)
    }
}

impl Kernels for Flex {
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self> {
        let features = features.to_contiguous();
        let [b, d, h, w] = launch::dims(features.layout().shape());
        let out = cpu::pair_affinity::forward(features.storage(), [b, d, h, w], radius, scale);
        launch::flex_tensor(out, [b, offsets(radius).len(), h, w])
    }

    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self> {
        let (features, slope) = (features.to_contiguous(), slope.to_contiguous());
        let shape = launch::dims(features.layout().shape());
        let out = cpu::pair_affinity::backward(features.storage(), slope.storage(), shape, radius);
        launch::flex_tensor(out, shape)
    }

    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self> {
        let (weights, normaliser) = (weights.to_contiguous(), normaliser.to_contiguous());
        let mut scores = scores.to_contiguous();
        let shape = launch::dims(scores.layout().shape());
        cpu::random_walk::walk(
            weights.storage(),
            scores.storage_mut(),
            normaliser.storage(),
            shape,
            radius,
            steps,
        );
        scores
    }

    fn largest_buffer(_: FloatTensor<Self>) -> usize {
        usize::MAX
    }

    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [query, key, value] = [query, key, value].map(|x| x.to_contiguous());
        let sizes = cross_attention::sizes(query.layout().shape(), value.layout().shape());
        let (attended, statistics) =
            cpu::cross_attention::forward(query.storage(), key.storage(), value.storage(), sizes);
        let [b, n] = [sizes.batch, sizes.queries];
        (
            launch::flex_tensor(attended, [b, sizes.channels, n]),
            launch::flex_tensor(statistics, [b, 2, n]),
        )
    }

    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [query, key, value, attended, statistics, gradient] =
            [query, key, value, attended, statistics, gradient].map(|x| x.to_contiguous());
        let sizes = cross_attention::sizes(query.layout().shape(), value.layout().shape());
        let saved = cpu::cross_attention::Backward {
            query: query.storage(),
            key: key.storage(),
            value: value.storage(),
            attended: attended.storage(),
            statistics: statistics.storage(),
            gradient: gradient.storage(),
        };
        let [d_query, d_key, d_value] = cpu::cross_attention::backward(&saved, sizes);
        let [b, d, v] = [sizes.batch, sizes.depth, sizes.channels];
        let [n, m] = [sizes.queries, sizes.keys];
        (
            launch::flex_tensor(d_query, [b, d, n]),
            launch::flex_tensor(d_key, [b, d, m]),
            launch::flex_tensor(d_value, [b, v, m]),
        )
    }

    fn lattice(features: FloatTensor<Self>, _: Option<usize>) -> anyhow::Result<Lattice> {
        let features = features.to_contiguous();
        let lattice =
            cpu::lattice::Lattice::build(features.storage(), features.layout().shape()[0])?;
        Ok(Lattice::from_cpu(lattice))
    }

    fn lattice_filter(
        values: FloatTensor<Self>,
        lattice: Lattice,
        reversed: bool,
    ) -> FloatTensor<Self> {
        let values = values.to_contiguous();
        let shape = values.layout().shape();
        let (c, n) = (shape[0], shape[1]);
        let (lattice, _) = lattice.cpu();
        launch::flex_tensor(lattice.filter(values.storage(), c, reversed), [c, n])
    }

    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        let unary = unary.to_contiguous();
        let shape = unary.layout().shape();
        let (c, n) = (shape[0], shape[1]);
        let kernels: Vec<_> = kernels
            .iter()
            .map(|(lattice, compatibility)| lattice.kernel(compatibility.clone()))
            .collect();
        let posterior = cpu::mean_field::mean_field(unary.storage(), c, &kernels, iterations);
        launch::flex_tensor(posterior, [c, n])
    }

    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let [input, kernel, bias] = [input, kernel, bias].map(|x| x.to_contiguous());
        let [b, c, _, _] = launch::dims(input.layout().shape());
        let [h, w] = window.output;
        let (input, kernel) = (input.storage(), kernel.storage());
        let out = cpu::depthwise_conv::forward(input, kernel, bias.storage(), &window, ceiling);
        launch::flex_tensor(out, [b, c, h, w])
    }

    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [input, kernel, output, gradient] =
            [input, kernel, output, gradient].map(|x| x.to_contiguous());
        let pass = cpu::depthwise_conv::Backward {
            input: input.storage(),
            kernel: kernel.storage(),
            output: output.storage(),
            gradient: gradient.storage(),
        };
        let [d_input, d_kernel, d_bias] = cpu::depthwise_conv::backward(&pass, &window, ceiling);
        let shape = launch::dims(input.layout().shape());
        let (c, k) = (shape[1], window.kernel);
        (
            launch::flex_tensor(d_input, shape),
            launch::flex_tensor(d_kernel, [c, 1, k, k]),
            launch::flex_tensor(d_bias, [c]),
        )
    }

    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let [input, kernel, bias] = [input, kernel, bias].map(|x| x.to_contiguous());
        let [b, c, h, w] = launch::dims(input.layout().shape());
        let o = kernel.layout().shape()[0];
        let out = cpu::pointwise_conv::forward(
            input.storage(),
            kernel.storage(),
            bias.storage(),
            [b, c, h * w],
            ceiling,
        );
        launch::flex_tensor(out, [b, o, h, w])
    }

    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [input, kernel, output, gradient] =
            [input, kernel, output, gradient].map(|x| x.to_contiguous());
        let [b, c, h, w] = launch::dims(input.layout().shape());
        let o = kernel.layout().shape()[0];
        let pass = cpu::depthwise_conv::Backward {
            input: input.storage(),
            kernel: kernel.storage(),
            output: output.storage(),
            gradient: gradient.storage(),
        };
        let [d_input, d_kernel, d_bias] =
            cpu::pointwise_conv::backward(&pass, [b, c, h * w], o, ceiling);
        (
            launch::flex_tensor(d_input, [b, c, h, w]),
            launch::flex_tensor(d_kernel, [o, c, 1, 1]),
            launch::flex_tensor(d_bias, [o]),
        )
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self> {
        pair_affinity::autodiff::<B, C>(features, radius, scale)
    }

    /// Second derivatives are not needed by any method: the gradient of a gradient is a constant.
    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self> {
        use burn::backend::AutodiffBackend;
        Self::from_inner(B::pair_affinity_backward(
            features.into_primitive(),
            slope.into_primitive(),
            radius,
        ))
    }

    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self> {
        random_walk::autodiff::<B, C>(weights, scores, normaliser, radius, steps)
    }

    fn largest_buffer(beside: FloatTensor<Self>) -> usize {
        B::largest_buffer(beside.into_primitive())
    }

    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::AutodiffBackend;
        let (attended, statistics) = cross_attention::autodiff::<B, C>(query, key, value);
        (attended, Self::from_inner(statistics))
    }

    /// Second derivatives are not needed by any method: the gradient of a gradient is a constant.
    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::AutodiffBackend;
        let (d_query, d_key, d_value) = B::cross_attention_backward(
            query.into_primitive(),
            key.into_primitive(),
            value.into_primitive(),
            attended.into_primitive(),
            statistics.into_primitive(),
            gradient.into_primitive(),
        );
        (
            Self::from_inner(d_query),
            Self::from_inner(d_key),
            Self::from_inner(d_value),
        )
    }

    fn lattice(features: FloatTensor<Self>, slots: Option<usize>) -> anyhow::Result<Lattice> {
        B::lattice(features.into_primitive(), slots)
    }

    fn lattice_filter(
        values: FloatTensor<Self>,
        lattice: Lattice,
        reversed: bool,
    ) -> FloatTensor<Self> {
        lattice::autodiff::<B, C>(values, lattice, reversed)
    }

    /// No method learns through the CRF: its posterior is a constant.
    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        use burn::backend::AutodiffBackend;
        Self::from_inner(B::mean_field(unary.into_primitive(), kernels, iterations))
    }

    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        depthwise_conv::autodiff::<B, C>(input, kernel, bias, window, ceiling)
    }

    /// Second derivatives are not needed by any method: the gradient of a gradient is a constant.
    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::AutodiffBackend;
        let (d_input, d_kernel, d_bias) = B::depthwise_conv_backward(
            input.into_primitive(),
            kernel.into_primitive(),
            output.into_primitive(),
            gradient.into_primitive(),
            window,
            ceiling,
        );
        (
            Self::from_inner(d_input),
            Self::from_inner(d_kernel),
            Self::from_inner(d_bias),
        )
    }

    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        pointwise_conv::autodiff::<B, C>(input, kernel, bias, ceiling)
    }

    /// Second derivatives are not needed by any method: the gradient of a gradient is a constant.
    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::AutodiffBackend;
        let (d_input, d_kernel, d_bias) = B::pointwise_conv_backward(
            input.into_primitive(),
            kernel.into_primitive(),
            output.into_primitive(),
            gradient.into_primitive(),
            ceiling,
        );
        (
            Self::from_inner(d_input),
            Self::from_inner(d_kernel),
            Self::from_inner(d_bias),
        )
    }
}
