//! Caffe's trained networks (`.caffemodel`): a protobuf message with layers (`layer`, or `layers` before 2014) that hold
//! blobs. Only the fields that describe blobs are declared; others, such as layers' settings, are passed over.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use prost::Message;

use super::tensor::{Entry, elements};
use crate::dtype::Dtype;

/// `NetParameter`. Layers and values are left as bytes, slices of the mapped file, so that nothing large is copied.
#[derive(Clone, PartialEq, Message)]
struct Network {
    #[prost(string, tag = "1")]
    name: String,
    /// `layers`, V1.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    old_layers: Vec<Bytes>,
    /// `layer`, V2.
    #[prost(bytes = "bytes", repeated, tag = "100")]
    layers: Vec<Bytes>,
}

/// `V1LayerParameter`
#[derive(Clone, PartialEq, Message)]
struct OldLayer {
    #[prost(string, tag = "4")]
    name: String,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    blobs: Vec<Bytes>,
}

/// `LayerParameter`
#[derive(Clone, PartialEq, Message)]
struct Layer {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    blobs: Vec<Bytes>,
}

/// `BlobProto`
#[derive(Clone, PartialEq, Message)]
struct Blob {
    #[prost(int32, optional, tag = "1")]
    num: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    channels: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    height: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    width: Option<i32>,
    /// Packed float32.
    #[prost(bytes = "bytes", tag = "5")]
    data: Bytes,
    #[prost(message, optional, tag = "7")]
    shape: Option<Shape>,
    /// Packed float64.
    #[prost(bytes = "bytes", tag = "8")]
    double_data: Bytes,
}

/// `BlobShape`
#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(int64, repeated, tag = "1")]
    dim: Vec<i64>,
}

/// Reads the network `file`; blob `i` of a layer is called `LAYER.i`. Values are not copied.
///
/// # Errors
/// One line where it is not such a message, has no weights, or is damaged.
pub fn entries(file: &Bytes, notes: &mut Vec<String>) -> Result<BTreeMap<String, Entry>> {
    const DAMAGED: &str = "it is truncated, damaged, or not a .caffemodel at all: get it again";
    let network = Network::decode(file.clone()).context(DAMAGED)?;
    if !network.old_layers.is_empty() {
        notes.push("its layers are of Caffe's first format (V1)".into());
    }
    let old = network.old_layers.into_iter().map(|bytes| {
        let layer = OldLayer::decode(bytes).context(DAMAGED)?;
        Ok((layer.name, layer.blobs))
    });
    let new = network.layers.into_iter().map(|bytes| {
        let layer = Layer::decode(bytes).context(DAMAGED)?;
        Ok((layer.name, layer.blobs))
    });
    let layers: Vec<(String, Vec<Bytes>)> = old.chain(new).collect::<Result<_>>()?;
    let mut entries = BTreeMap::new();
    for (layer, blobs) in layers {
        // The name goes into each blob's.
        ensure!(
            layer.len() <= 512 && blobs.len() <= 1000,
            "it has a layer with {} blobs and a name of {} bytes, which no network has: the file is damaged",
            blobs.len(),
            layer.len()
        );
        for (i, bytes) in blobs.into_iter().enumerate() {
            let name = format!("{layer}.{i}");
            let entry = Blob::decode(bytes).context(DAMAGED).and_then(Blob::entry);
            let entry = entry.with_context(|| format!("blob {name:?}"))?;
            if entries.insert(name, entry).is_some() {
                bail!("it has two layers called {layer:?}: the file is damaged");
            }
        }
    }
    ensure!(
        !entries.is_empty(),
        "it holds no weights: it is no .caffemodel, or that of a network which was never trained"
    );
    Ok(entries)
}

impl Blob {
    fn entry(self) -> Result<Entry> {
        let (dtype, data) = match (self.data.is_empty(), self.double_data.is_empty()) {
            (_, true) => (Dtype::F32, self.data),
            (true, false) => (Dtype::F64, self.double_data),
            (false, false) => bail!("it has values in two types: the file is damaged"),
        };
        let dims: Vec<i64> = match self.shape {
            Some(shape) => shape.dim,
            // The first format has fields for exactly four dimensions.
            None => [self.num, self.channels, self.height, self.width]
                .into_iter()
                .flatten()
                .map(i64::from)
                .collect(),
        };
        ensure!(
            dims.len() <= 32,
            "it has {} dimensions: the file is damaged",
            dims.len()
        );
        let shape: Vec<usize> = dims
            .iter()
            .map(|d| usize::try_from(*d))
            .collect::<Result<_, _>>()
            .context("it has a negative size: the file is damaged")?;
        ensure!(
            elements(&shape).and_then(|n| n.checked_mul(dtype.size())) == Some(data.len()),
            "its shape {shape:?} does not fit its {} bytes: the file is truncated or damaged, get it again",
            data.len()
        );
        Entry::new(dtype, shape, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(dims: &[i64], data: &[u8], double_data: &[u8]) -> Bytes {
        let shape = Shape { dim: dims.to_vec() };
        let blob = Blob {
            shape: Some(shape),
            data: Bytes::copy_from_slice(data),
            double_data: Bytes::copy_from_slice(double_data),
            ..Blob::default()
        };
        blob.encode_to_vec().into()
    }

    fn network(blobs: Vec<Bytes>) -> Bytes {
        let name = "fc".to_owned();
        let mut layer = Layer { name, blobs }.encode_to_vec();
        // A field that is not declared: number 130 of LayerParameter, a message of two bytes.
        layer.extend([0x92, 0x08, 2, 8, 1]);
        let layers = vec![layer.into()];
        let network = Network {
            layers,
            ..Network::default()
        };
        network.encode_to_vec().into()
    }

    #[test]
    fn doubles_and_undeclared_fields() {
        let double = blob(&[1], &[], &0.25f64.to_le_bytes());
        let file = network(vec![blob(&[1, 1], &2f32.to_le_bytes(), &[]), double]);
        let entries = entries(&file, &mut Vec::new()).unwrap();
        assert_eq!(entries["fc.0"].values().unwrap(), [2.0]);
        assert_eq!(entries["fc.0"].shape(), [1, 1]);
        assert_eq!(entries["fc.1"].values().unwrap(), [0.25]);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        for bad in [
            blob(&[2], &[0; 4], &[]),
            blob(&[-1], &[0; 4], &[]),
            blob(&[1], &[0; 4], &[0; 8]),
            blob(&[1 << 40, 1 << 40], &[0; 4], &[]),
        ] {
            let error = entries(&network(vec![bad]), &mut Vec::new()).unwrap_err();
            assert!(format!("{error:#}").contains("fc.0"), "{error:#}");
        }
        assert!(entries(&network(Vec::new()), &mut Vec::new()).is_err());
    }
}
